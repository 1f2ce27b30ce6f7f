#include "verify/subjects/keeper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "golden/contract/error.h"
#include "golden/file/partials.h"

namespace assay::verify {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr char kStart = 's', kKill = 'k';  // orders; the end of the connection is one, too
constexpr char kFailed = 'f', kEnded = 'e', kKilled = 'k';  // news
constexpr milliseconds kToKill{20'000};  // a driver may take its time over a process's memory

struct News {
  char kind = 0;
  int value = 0;
};

// Everything a keeper works with, made before it is forked: it takes no memory and no lock.
struct Charge {
  char* const* words;
  Keeper::Streams streams;
  const char* folder;
  int control;
};

void report(int control, char kind, int value) {
  const News news{kind, value};
  while (::send(control, &news, sizeof news, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void become(const Charge& charge) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(charge.streams.in, STDIN_FILENO);
  ::dup2(charge.streams.out, STDOUT_FILENO);
  ::dup2(charge.streams.log, STDERR_FILENO);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGBUS}) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvp(charge.words[0], charge.words);
  report(charge.control, kFailed, errno);
  ::_exit(127);
}

// The program runs, or its end has not been waited for: its number is nobody else's.
struct Started {
  int process = -1;
  bool told = false;  // how it ended
};

void tell_end(const Charge& charge, Started& program) {
  siginfo_t info{};
  if (program.process < 0 || program.told) return;
  if (::waitid(P_PID, static_cast<id_t>(program.process), &info, WEXITED | WNOHANG | WNOWAIT) !=
          0 ||
      info.si_pid == 0) {
    return;
  }
  program.told = true;
  const bool exited = info.si_code == CLD_EXITED;
  report(charge.control, kEnded, exited ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f);
}

// Kills each child; what a child leaves behind is a child in the next round.
void kill_children() {
  std::array<char, 4096> text{};
  const int file = ::open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  int number = 0;
  for (ssize_t got; (got = ::read(file, text.data(), text.size())) > 0;) {
    for (ssize_t i = 0; i < got; ++i) {
      const char c = text[static_cast<std::size_t>(i)];
      if (c >= '0' && c <= '9') {
        number = 10 * number + (c - '0');
      } else if (number > 0) {
        ::kill(number, SIGKILL);
        number = 0;
      }
    }
  }
  ::close(file);
}

void end_all(Started& program) {
  const auto until = Clock::now() + kToKill;
  if (program.process > 0) ::kill(-program.process, SIGKILL);  // all at once: none can fork again
  while (Clock::now() < until) {
    kill_children();
    int status = 0, reaped = 0;
    while ((reaped = ::waitpid(-1, &status, WNOHANG)) > 0) {
    }
    if (reaped < 0 && errno == ECHILD) break;
    ::usleep(500);
  }
  program = {};
}

// Closes all but these, 0, 1 and 2 too: a reader of Assay's output must see its end.
void close_others(std::array<int, 5> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned from = 0;
  for (const int number : kept) {
    if (number < 0) continue;
    const auto next = static_cast<unsigned>(number);
    if (next > from) ::syscall(SYS_close_range, from, next - 1, 0U);
    from = std::max(from, next + 1);
  }
  ::syscall(SYS_close_range, from, ~0U, 0U);
}

[[noreturn]] void keep(const Charge& charge) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t all, child;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::signal(SIGCHLD, SIG_DFL);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const int signals = ::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  const Keeper::Streams& streams = charge.streams;
  close_others({charge.control, signals, streams.in, streams.out, streams.log});
  Started program;
  for (;;) {
    std::array<pollfd, 2> ready{{{charge.control, POLLIN, 0}, {signals, POLLIN, 0}}};
    ::poll(ready.data(), ready.size(), -1);
    signalfd_siginfo ignored;
    while (::read(signals, &ignored, sizeof ignored) > 0) {
    }
    tell_end(charge, program);
    char order = 0;
    const ssize_t got = ::recv(charge.control, &order, 1, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got > 0 && order == kStart) {
      program = {::fork()};
      if (program.process == 0) become(charge);
      if (program.process < 0) report(charge.control, kFailed, errno);
      if (program.process > 0) ::setpgid(program.process, program.process);
      if (!streams.kept) {  // their ends are to be seen
        ::close(streams.in);
        ::close(streams.out);
      }
      continue;
    }
    end_all(program);
    if (got <= 0) break;
    report(charge.control, kKilled, 0);
  }
  remove_folder(charge.folder);
  ::_exit(0);
}

// Keepers that live, for a signal handler: it ends the connections and waits for the keepers, so
// that nothing is left when Assay is gone.
struct Living {
  std::atomic<int> process = 0;
  std::atomic<int> control = -1;
};
std::array<Living, 16> living;

void end_keepers() {
  for (const Living& keeper : living) {
    if (keeper.process > 0) ::shutdown(keeper.control, SHUT_RDWR);
  }
  for (const Living& keeper : living) {
    for (int i = 0; i < 5000 && keeper.process > 0; ++i) {
      if (::waitpid(keeper.process, nullptr, WNOHANG) != 0) break;
      ::usleep(1000);
    }
  }
}

void note_living(int process, int control) {
  golden::before_ending_by_signal(end_keepers);
  for (Living& keeper : living) {
    int none = 0;
    if (!keeper.process.compare_exchange_strong(none, -1)) continue;
    keeper.control = control;
    keeper.process = process;
    return;
  }
}

void forget_living(int process) {
  for (Living& keeper : living) {
    int own = process;
    keeper.process.compare_exchange_strong(own, 0);
  }
}

// Empties a folder; true if something was removed.
bool remove_once(int folder, int depth);

void remove_entry(int folder, const char* name, bool& any, int depth) {
  if (::unlinkat(folder, name, 0) == 0) {
    any = true;
    return;
  }
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int below = ::openat(folder, name, kFlags);
  if (below < 0 && errno == EACCES) {
    ::fchmodat(folder, name, 0700, 0);
    below = ::openat(folder, name, kFlags);
  }
  if (below < 0) return;
  ::fchmod(below, 0700);
  while (depth < 1000 && remove_once(below, depth + 1)) {
  }
  ::close(below);
  any = ::unlinkat(folder, name, AT_REMOVEDIR) == 0 || any;
}

bool remove_once(int folder, int depth) {
  struct Entry {  // linux_dirent64
    uint64_t number;
    int64_t offset;
    unsigned short bytes;
    unsigned char type;
    char name[1];
  };
  alignas(Entry) std::array<char, 2048> buffer;
  bool any = false;
  ::lseek(folder, 0, SEEK_SET);
  for (long got; (got = ::syscall(SYS_getdents64, folder, buffer.data(), buffer.size())) > 0;) {
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer.data() + at);
      at += entry->bytes;
      const char* name = entry->name;
      const bool dots = name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
      if (!dots) remove_entry(folder, name, any, depth);
    }
  }
  return any;
}

}  // namespace

std::string make_private_folder() {
  std::error_code failed;
  const std::filesystem::path place = std::filesystem::temp_directory_path(failed);
  if (failed) {
    const char* named = std::getenv("TMPDIR");
    throw InputError(fmt::format("TMPDIR={}: expected a folder for temporary files, got none: {}",
                                 named == nullptr ? "" : named, failed.message()));
  }
  std::string pattern = place / "assay-exec-XXXXXX";
  if (::mkdtemp(pattern.data()) != nullptr) return pattern;
  throw InputError(
      fmt::format("{}: no private folder can be made there: {}; TMPDIR names another place",
                  place.string(), std::strerror(errno)));
}

void remove_folder(const char* path) {
  bool any = false;
  remove_entry(AT_FDCWD, path, any, 0);
}

Keeper::Keeper(std::vector<std::string> words, const Streams& streams, std::string folder)
    : folder_(std::move(folder)) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    remove_folder(folder_.c_str());
    throw InputError(std::string("a program cannot be started: ") + std::strerror(errno));
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  process_ = ::fork();
  if (process_ == 0) keep({arguments.data(), streams, folder_.c_str(), ends[1]});
  const int failure = errno;
  ::close(ends[1]);
  control_ = ends[0];
  if (process_ > 0) {
    note_living(process_, control_);
    return;
  }
  ::close(control_);
  remove_folder(folder_.c_str());
  throw InputError(fmt::format("{}: cannot be started: {}", words.at(0), std::strerror(failure)));
}

Keeper::~Keeper() {
  if (control_ >= 0) ::shutdown(control_, SHUT_RDWR);
  while (process_ > 0 && ::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  forget_living(process_);
  if (control_ >= 0) ::close(control_);
  remove_folder(folder_.c_str());  // what a keeper that somebody killed has left
}

void Keeper::tell(char order) {
  while (::send(control_, &order, 1, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

// Takes what the keeper says, until it is `until` or time is over.
bool Keeper::hear(milliseconds patience, char until) {
  const auto end = Clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    pollfd ready{control_, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(std::max<long>(0, left.count()))) < 0) continue;
    News news;
    const ssize_t got =
        ready.revents == 0 ? -1 : ::recv(control_, &news, sizeof news, MSG_DONTWAIT);
    const bool lost = got == 0 || (got < 0 && errno != EINTR);
    if (ready.revents != 0 && lost) return lose(), true;
    if (got > 0 && news.kind == kFailed) end_ = ProgramEnd{news.value, 0};
    if (got > 0 && news.kind == kEnded && !end_) end_ = ProgramEnd{0, news.value};
    if (got > 0 && (news.kind == until || (until == kEnded && end_))) return true;
    if (got <= 0 && Clock::now() >= end) return false;
  }
}

// Somebody killed the keeper, and with it the program.
void Keeper::lose() {
  if (!end_) end_ = ProgramEnd{0, SIGKILL};
}

void Keeper::start() {
  end_.reset();
  running_ = true;
  tell(kStart);
}

std::optional<ProgramEnd> Keeper::ended(milliseconds patience) {
  if (!end_) hear(patience, kEnded);
  return end_;
}

void Keeper::kill_all() {
  if (!running_) return;
  tell(kKill);
  hear(kToKill + milliseconds(1000), kKilled);
  running_ = false;
}

}  // namespace assay::verify
