#include "verify/subjects/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "verify/subjects/usage.h"

namespace assay::verify {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMostLine = std::size_t{1} << 20;
constexpr std::size_t kKeptWords = 4096;  // of standard error
constexpr uint64_t kUsualFolderBytes = uint64_t{16} << 30;
constexpr milliseconds kBetweenChecks{50};  // of what it uses

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw InputError(std::string("a program cannot be started: ") + std::strerror(errno));
    }
  }
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) ::close(end);
    }
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int reading() const { return ends[0]; }
  int writing() const { return ends[1]; }
  // An end that Assay keeps and never waits for.
  int keep(std::size_t end) {
    const int kept = std::exchange(ends[end], -1);
    ::fcntl(kept, F_SETFL, O_NONBLOCK);
    return kept;
  }
  std::array<int, 2> ends{};
};

void close_end(int& end) {
  if (end >= 0) ::close(end);
  end = -1;
}

std::string end_text(const ProgramEnd& end) {
  if (WIFSIGNALED(end.status)) return fmt::format("ended by {}", strsignal(WTERMSIG(end.status)));
  return fmt::format("ended with exit code {}", WEXITSTATUS(end.status));
}

std::string seconds_text(milliseconds time) { return fmt::format("{} s", time.count() / 1000.0); }

// write() to a program that may be gone: no signal, whatever thread it is.
ssize_t write_quietly(int to, const char* text, std::size_t bytes) {
  sigset_t broken, before;
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken, &before);
  const ssize_t written = ::write(to, text, bytes);
  const int failure = errno;
  if (written < 0 && failure == EPIPE && sigismember(&before, SIGPIPE) == 0) {
    const timespec at_once{};
    while (::sigtimedwait(&broken, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = failure;
  return written;
}

}  // namespace

std::vector<std::string> split_words(const std::string& command) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;  // of a word
  char quote = 0;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      if (inside) words.push_back(std::move(word));
      word.clear();
      inside = false;
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
      inside = true;
    } else if (c == quote) {
      quote = 0;
    } else {
      const bool escaped = c == '\\' && quote != '\'' && i + 1 < command.size();
      word += escaped ? command[++i] : c;
      inside = true;
    }
  }
  if (quote != 0) {
    throw InputError(fmt::format("exec:{}: a {} that is not closed", command, quote));
  }
  if (inside) words.push_back(std::move(word));
  if (words.empty()) throw InputError("exec: expected a command, got nothing");
  return words;
}

std::string bytes_text(uint64_t bytes) {
  constexpr uint64_t kMega = 1'000'000;
  return bytes < kMega ? fmt::format("{} bytes", bytes)
                       : fmt::format("{:.1f} MB", static_cast<double>(bytes) / kMega);
}

Program::Program(std::vector<std::string> words, const ProgramLimits& limits, Mode mode)
    : name_(words.at(0)), limits_(limits) {
  Pipe to, from, log;
  if (mode == Mode::once) {  // nothing to read; all that it says is its log
    close_end(to.ends[0]);
    to.ends[0] = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    close_end(from.ends[1]);
  }
  const int out = mode == Mode::once ? log.writing() : from.writing();
  const std::string whole = make_private_folder();
  folder_ = whole + "/run";
  kept_folder_ = whole + "/kept";
  if (mode == Mode::once) words.insert(words.end(), {request_file(), response_file()});
  keeper_ = std::make_unique<Keeper>(
      std::move(words), Keeper::Streams{to.reading(), out, log.writing(), mode == Mode::once},
      whole);
  for (const std::string& part : {folder_, kept_folder_}) {
    if (::mkdir(part.c_str(), 0700) == 0) continue;
    throw InputError(fmt::format("{}: cannot be made: {}; TMPDIR names another place", part,
                                 std::strerror(errno)));
  }
  log_ = log.keep(0);
  if (mode == Mode::lines) {
    input_ = to.keep(1);
    output_ = from.keep(0);
  }
  output_open_ = mode == Mode::lines;
  const uint64_t room = free_bytes(folder()) / 2;
  if (limits_.folder_bytes == 0) {
    limits_.folder_bytes = room == 0 ? kUsualFolderBytes : std::min(kUsualFolderBytes, room);
  }
}

Program::~Program() { end(milliseconds(0)); }

void Program::start() { keeper_->start(); }

void Program::end(milliseconds patience) {
  close_end(input_);
  if (keeper_ && output_ >= 0 && !failed_) {
    const auto until = Clock::now() + patience;
    while (!keeper_->ended(milliseconds(10)) && Clock::now() < until) {
      drain_log();
      drain_output();  // or it waits for a reader of its last words
    }
  }
  keeper_.reset();
  close_end(output_);
  close_end(log_);
}

// The last lines of its log, as one.
std::string Program::last_words() const {
  constexpr std::size_t kMost = 400;
  std::string text = said_;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.size() > kMost) {
    const std::size_t line = text.find('\n', text.size() - kMost);
    text = text.substr(line == std::string::npos ? text.size() - kMost : line + 1);
  }
  std::string words;
  for (const char c : text) words += c == '\n' ? " | " : std::string(1, c);
  return golden::one_line(words);
}

void Program::fail(const std::string& what) {
  failed_ = true;
  const std::optional<ProgramEnd> end = keeper_->ended(milliseconds(100));
  drain_log();
  if (end && end->failure != 0) {
    throw InputError(fmt::format(
        "exec: {}: {}", name_,
        end->failure == ENOENT ? "no such program"
                               : std::string("cannot be started: ") + std::strerror(end->failure)));
  }
  std::string text = fmt::format("{}: {}", name_, what);
  if (end) text += ": " + end_text(*end);
  const std::string words = last_words();
  if (!words.empty()) text += "; its last words: " + words;
  throw SubjectFailure(text);
}

// What was said earlier is not kept: no program fills the disk or the memory with its log.
void Program::drain_log() {
  std::array<char, 65536> piece;
  for (int pieces = 0; pieces < 64; ++pieces) {
    const ssize_t got = ::read(log_, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    said_.append(piece.data(), static_cast<std::size_t>(got));
    if (said_.size() > 2 * kKeptWords) said_.erase(0, said_.size() - kKeptWords);
  }
}

// Whether there was something. What nobody asks for stays in the pipe, beyond a line.
bool Program::drain_output() {
  std::array<char, 65536> piece;
  if (!output_open_ || pending_.size() > kMostLine) return false;
  const ssize_t got = ::read(output_, piece.data(), piece.size());
  if (got < 0) return false;
  output_open_ = got > 0;
  pending_.append(piece.data(), static_cast<std::size_t>(got));
  return true;
}

void Program::check_limits() {
  if (Clock::now() < next_check_) return;
  next_check_ = Clock::now() + kBetweenChecks;
  const FolderUse use = folder_use(folder());
  if (use.bytes > own_bytes_ && use.bytes - own_bytes_ > limits_.folder_bytes) {
    fail(fmt::format("its files have {}: expected at most {} (--max-response)",
                     bytes_text(use.bytes - own_bytes_), bytes_text(limits_.folder_bytes)));
  }
  if (use.entries >= kMostEntries) {
    fail(fmt::format("it made {} files: expected one an answer", kMostEntries));
  }
  if (limits_.memory_bytes == 0) return;
  const uint64_t resident = resident_below(keeper_->process());
  if (resident > limits_.memory_bytes) {
    fail(fmt::format("it uses {} of memory: expected at most {} (--memory)", bytes_text(resident),
                     bytes_text(limits_.memory_bytes)));
  }
}

// Until it says something, can be written to (to_write), or has ended; false where it has ended and
// said all. `late` is what is wrong when time is over.
bool Program::wait(Time until, bool to_write, const char* late) {
  for (;;) {
    check_limits();
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    if (left.count() <= 0) {
      fail(fmt::format("{} within {} (--timeout)", late, seconds_text(limits_.timeout)));
    }
    const bool listens = output_open_ && pending_.size() <= kMostLine;
    std::array<pollfd, 4> ready{{{log_, POLLIN, 0},
                                 {listens ? output_ : -1, POLLIN, 0},
                                 {to_write ? input_ : -1, POLLOUT, 0},
                                 {keeper_->news(), POLLIN, 0}}};
    ::poll(ready.data(), ready.size(), static_cast<int>(std::min(left, kBetweenChecks).count()));
    drain_log();
    if (ready[1].revents != 0 && drain_output()) return true;
    if (ready[2].revents != 0) return true;
    if (keeper_->ended(milliseconds(0))) return drain_output();
  }
}

void Program::send(const std::string& line) {
  const std::string text = line + "\n";
  const auto until = Clock::now() + limits_.timeout;
  next_check_ = Clock::now() + kBetweenChecks;
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written = write_quietly(input_, text.data() + done, text.size() - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      if (!wait(until, true, "it did not read a request")) fail("it reads no more");
    } else if (errno != EINTR) {
      fail("it reads no more");
    }
  }
}

std::string Program::receive() {
  const auto until = Clock::now() + limits_.timeout;
  next_check_ = Clock::now() + kBetweenChecks;
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = pending_.find('\n', searched);
    if (end != std::string::npos && end <= kMostLine) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      next_check_ = {};
      check_limits();  // of all that it wrote
      return line;
    }
    if (pending_.size() > kMostLine) fail("a line of more than 1 MB");
    searched = pending_.size();
    if (!output_open_) fail("it closed its output");
    if (!wait(until, false, "no answer")) fail("it closed its output");
  }
}

void Program::run_once() {
  keeper_->kill_all();  // what a run before has left that failed
  said_.clear();
  start();
  const auto until = Clock::now() + limits_.timeout;
  next_check_ = Clock::now() + kBetweenChecks;
  while (wait(until, false, "no answer")) {
  }
  drain_log();
  const std::optional<ProgramEnd> end = keeper_->ended(milliseconds(0));
  if (!end || end->failure != 0 || end->status != 0) fail("it failed");
  keeper_->kill_all();
  next_check_ = {};
  check_limits();
}

}  // namespace assay::verify
