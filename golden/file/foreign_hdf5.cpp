#include "golden/file/foreign_hdf5.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <new>

#include "golden/contract/error.h"
#include "golden/file/element.h"
#include "golden/file/files.h"
#include "golden/file/raw_file.h"

namespace assay::golden::hdf5 {
namespace {

constexpr int kSecondsToAnswer = 10;            // beside the time to read the data
constexpr uint64_t kBytesASecond = 10'000'000;  // a slow disk still reads as much
constexpr uint64_t kMemoryBytes = 1ull << 30;   // of the child beside what the data takes
constexpr uint64_t kMostCompression = 1100;     // deflate reaches 1032
constexpr uint64_t kMostAnswer = uint64_t{1} << 44;

enum class Question : char { datasets, info, read, attribute };
enum class Answer : char { good, bad_input, no_memory };

// Both sides are one program, so numbers go as they lie in memory.
struct Head {
  char kind;  // Question or Answer
  uint64_t bytes;
};

// The child's side of the socket: false if the other side is gone.
bool send_all(int socket, const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = ::send(socket, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
  return true;
}

using Clock = std::chrono::steady_clock;

enum class Got { all, end, late };

Got receive_all(int socket, void* data, std::size_t bytes, Clock::time_point until) {
  auto* at = static_cast<char*>(data);
  while (bytes > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0) return Got::late;
    pollfd ready{socket, POLLIN, 0};
    const int polled = ::poll(&ready, 1, static_cast<int>(left.count()));
    if (polled < 0 && errno != EINTR) return Got::end;
    if (polled <= 0) continue;
    const ssize_t received = ::recv(socket, at, bytes, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return Got::end;
    at += received;
    bytes -= static_cast<std::size_t>(received);
  }
  return Got::all;
}

// Answers as one run of bytes.
class Packer {
 public:
  void number(int64_t value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void text(const std::string& value) {
    number(static_cast<int64_t>(value.size()));
    bytes_ += value;
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// The child is ours, but what it holds came from the file: every length is checked.
class Unpacker {
 public:
  Unpacker(const std::string& bytes, const std::string& where) : bytes_(bytes), where_(where) {}
  int64_t number() {
    int64_t value = 0;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    const auto size = static_cast<uint64_t>(number());
    return {take(size), size};
  }
  const char* take(uint64_t size) {
    if (size > bytes_.size() - at_) throw InputError(where_ + ": its reader gave no whole answer");
    const char* begin = bytes_.data() + at_;
    at_ += size;
    return begin;
  }

 private:
  const std::string& bytes_;
  const std::string& where_;
  uint64_t at_ = 0;
};

std::string packed(const DatasetInfo& info) {
  Packer packer;
  packer.number(static_cast<int64_t>(info.dtype));
  packer.number(info.offset);
  packer.number(info.plain ? 1 : 0);
  packer.number(static_cast<int64_t>(info.shape.size()));
  for (const int64_t extent : info.shape) packer.number(extent);
  return packer.take();
}

DatasetInfo unpacked_info(Unpacker& unpacker) {
  DatasetInfo info;
  info.dtype = static_cast<DType>(unpacker.number());
  info.offset = unpacker.number();
  info.plain = unpacker.number() != 0;
  for (int64_t axes = unpacker.number(); axes > 0; --axes) info.shape.push_back(unpacker.number());
  return info;
}

void set_limit(int what, uint64_t value) {
  const rlimit limit{value, value};
  setrlimit(static_cast<__rlimit_resource>(what), &limit);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // they map terabytes
constexpr bool kLimitsMemory = false;
#else
constexpr bool kLimitsMemory = true;
#endif

// Of the address space that the child begins with.
uint64_t bytes_mapped() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void limit_child(uint64_t file_bytes) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGBUS, SIGSEGV}) ::signal(number, SIG_DFL);
  set_limit(RLIMIT_CORE, 0);
  set_limit(RLIMIT_CPU, 3 * kSecondsToAnswer + 8 * file_bytes / kBytesASecond);
  if (kLimitsMemory) set_limit(RLIMIT_AS, bytes_mapped() + kMemoryBytes + 16 * file_bytes);
}

std::string attribute_text(const File& file, const std::string& name) {
  if (!file.has_attribute(name)) return "";
  return name == "seed" ? std::to_string(file.integer_attribute(name)) : file.text_attribute(name);
}

// The values go straight from the tensor into the socket.
bool answer_with_tensor(int socket, const Tensor& tensor) {
  const Head head{static_cast<char>(Answer::good), tensor.values.size() * sizeof(double)};
  return send_all(socket, &head, sizeof head) && send_all(socket, tensor.values.data(), head.bytes);
}

bool answer(int socket, Answer kind, const std::string& text) {
  const Head head{static_cast<char>(kind), text.size()};
  return send_all(socket, &head, sizeof head) && send_all(socket, text.data(), text.size());
}

// One question after the other, until the parent is gone.
void serve(int socket, const std::string& path, unsigned seconds) {
  std::unique_ptr<File> file;
  for (;;) {
    Head head{};
    const auto for_ever = Clock::now() + std::chrono::hours(24 * 365);
    if (receive_all(socket, &head, sizeof head, for_ever) != Got::all) return;
    std::string name(head.bytes, '\0');
    if (receive_all(socket, name.data(), name.size(), for_ever) != Got::all) return;
    bool sent = false;
    ::alarm(seconds);  // ends the child where the parent is gone and cannot
    try {
      if (!file) file = std::make_unique<File>(File::open(path));
      Packer packer;
      switch (static_cast<Question>(head.kind)) {
        case Question::datasets:
          for (const std::string& dataset : file->datasets()) packer.text(dataset);
          sent = answer(socket, Answer::good, packer.take());
          break;
        case Question::info:
          sent = answer(socket, Answer::good, packed(file->info(name)));
          break;
        case Question::read:
          sent = answer_with_tensor(socket, file->read(name));
          break;
        case Question::attribute:
          sent = answer(socket, Answer::good, attribute_text(*file, name));
          break;
      }
    } catch (const std::bad_alloc&) {
      sent = answer(socket, Answer::no_memory, "");
    } catch (const std::exception& error) {
      sent = answer(socket, Answer::bad_input, error.what());
    }
    if (!sent) return;
    ::alarm(0);
  }
}

std::string signal_text(int status) {
  if (!WIFSIGNALED(status)) return fmt::format("ended with exit code {}", WEXITSTATUS(status));
  if (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGALRM) return "took too much time";
  return fmt::format("crashed ({})", strsignal(WTERMSIG(status)));
}

}  // namespace

struct ForeignFile::Child {
  explicit Child(const std::string& file_path);
  ~Child() { end(); }

  std::string path;
  uint64_t file_bytes = 0;
  mutable std::mutex mutex;
  pid_t pid = -1;
  int socket = -1;

  // Kills the child if it still runs; its wait status.
  int end() {
    int status = 0;
    if (socket >= 0) ::close(socket);
    if (pid > 0) {
      ::kill(pid, SIGKILL);
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
    }
    socket = -1;
    pid = -1;
    return status;
  }

  // The child is gone, or will not answer.
  [[noreturn]] void lost(const std::string& name, bool late) {
    int status = 0;
    bool ended = false;
    for (int i = 0; i < 100 && !late && !ended; ++i) {  // it may be ending just now
      ended = ::waitpid(pid, &status, WNOHANG) == pid;
      if (!ended) ::usleep(1000);
    }
    if (ended) pid = -1;
    end();
    throw InputError(fmt::format(
        "{}: {}the HDF5 library {} on it: the file is damaged, or made to do so; save it again, or "
        "as .safetensors or .npz",
        path, name.empty() ? "" : printable(name) + ": ",
        late ? "gave no answer in time" : signal_text(status)));
  }

  void ask(Question question, const std::string& name) {
    if (pid < 0) throw InputError(path + ": its reader ended before");
    const Head head{static_cast<char>(question), name.size()};
    if (!send_all(socket, &head, sizeof head) || !send_all(socket, name.data(), name.size())) {
      lost(name, false);
    }
  }

  void receive(void* out, std::size_t bytes, const std::string& name, Clock::time_point until) {
    const Got got = receive_all(socket, out, bytes, until);
    if (got != Got::all) lost(name, got == Got::late);
  }

  // Of a good answer the number of bytes that follow; else throws.
  uint64_t good_bytes(const std::string& name, Clock::time_point until) {
    Head head{};
    receive(&head, sizeof head, name, until);
    if (head.bytes > kMostAnswer) lost(name, false);
    if (static_cast<Answer>(head.kind) == Answer::good) return head.bytes;
    std::string text(head.bytes, '\0');
    receive(text.data(), text.size(), name, until);
    if (static_cast<Answer>(head.kind) == Answer::bad_input) throw InputError(text);
    throw InputError(fmt::format(
        "{}: {}: needs more memory than a file of {} bytes is given; save it without compression",
        path, printable(name), file_bytes));
  }

  std::string answer_to(Question question, const std::string& name) {
    const std::lock_guard lock(mutex);
    const auto until = Clock::now() + std::chrono::seconds(kSecondsToAnswer);
    ask(question, name);
    std::string text(good_bytes(name, until), '\0');
    receive(text.data(), text.size(), name, until);
    return text;
  }
};

ForeignFile::Child::Child(const std::string& file_path) : path(file_path) {
  require_readable_file(path, "an HDF5 file");
  file_bytes = RawFile(path, RawFile::Mode::read).size();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw InputError(fmt::format("{}: no reader can be made: {}", path, std::strerror(errno)));
  }
  pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    limit_child(file_bytes);
    serve(ends[1], path,
          static_cast<unsigned>(2 * kSecondsToAnswer + 8 * file_bytes / kBytesASecond));
    ::_exit(0);
  }
  const int failure = errno;
  ::close(ends[1]);
  socket = ends[0];
  if (pid > 0) return;
  end();
  throw InputError(fmt::format("{}: no reader can be made: {}", path, std::strerror(failure)));
}

ForeignFile::ForeignFile(const std::string& path) : child_(std::make_unique<Child>(path)) {}

ForeignFile::~ForeignFile() = default;

std::vector<std::string> ForeignFile::datasets() const {
  const std::string answer = child_->answer_to(Question::datasets, "");
  Unpacker unpacker(answer, child_->path);
  std::vector<std::string> names;
  for (uint64_t read = 0; read < answer.size();) {
    names.push_back(unpacker.text());
    read += sizeof(int64_t) + names.back().size();
  }
  return names;
}

DatasetInfo ForeignFile::info(const std::string& path) const {
  const std::string answer = child_->answer_to(Question::info, path);
  Unpacker unpacker(answer, child_->path);
  DatasetInfo info = unpacked_info(unpacker);
  const auto elements = static_cast<uint64_t>(element_count(info.shape));
  if (elements * dtype_bytes(info.dtype) / kMostCompression > child_->file_bytes) {
    throw InputError(fmt::format("{}: {}: declares {} elements, more than a file of {} bytes holds",
                                 child_->path, printable(path), elements, child_->file_bytes));
  }
  return info;
}

void ForeignFile::read(const std::string& path, std::span<double> out) const {
  const DatasetInfo description = info(path);
  if (element_count(description.shape) != static_cast<int64_t>(out.size())) {
    throw InputError(
        fmt::format("{}: {}: changed while it was read", child_->path, printable(path)));
  }
  if (description.plain) {
    return read_elements(RawFile(child_->path, RawFile::Mode::read),
                         static_cast<uint64_t>(description.offset), element_of(description.dtype),
                         out, fmt::format("{}: {}", child_->path, printable(path)));
  }
  const uint64_t bytes = out.size_bytes();
  const std::lock_guard lock(child_->mutex);
  const auto until = Clock::now() + std::chrono::seconds(kSecondsToAnswer + bytes / kBytesASecond);
  child_->ask(Question::read, path);
  if (child_->good_bytes(path, until) != bytes) child_->lost(path, false);
  child_->receive(out.data(), bytes, path, until);
}

std::string ForeignFile::attribute(const std::string& name) const {
  return child_->answer_to(Question::attribute, name);
}

}  // namespace assay::golden::hdf5
