#include "golden/file/partials.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>

#include "golden/contract/error.h"
#include "golden/file/files.h"

namespace assay::golden {
namespace {

constexpr int kBadInput = 2;  // exit code

// Names for a signal handler, which may neither allocate nor wait. A name is whole before its slot
// is taken, and stays readable after it is free. More files at once than slots are not removed.
struct Slot {
  std::atomic<int> state = kFree;
  char name[PATH_MAX] = "";

  static constexpr int kFree = 0, kFilling = 1, kTaken = 2;
};
std::array<Slot, 64> slots;
std::atomic<void (*)()> end_others = nullptr;
std::atomic<bool> ending = false;  // by a signal: what is made from now on nobody would remove

void remember(const std::string& name) {
  if (name.size() >= sizeof(Slot::name)) return;
  for (Slot& slot : slots) {
    int expected = Slot::kFree;
    if (!slot.state.compare_exchange_strong(expected, Slot::kFilling)) continue;
    name.copy(slot.name, name.size());
    slot.name[name.size()] = '\0';
    slot.state = Slot::kTaken;
    return;
  }
}

void remove_all() {
  ending = true;
  if (void (*const end)() = end_others) end();
  for (const Slot& slot : slots) {
    if (slot.state == Slot::kTaken) ::unlink(slot.name);
  }
}

void end_by(int number) {
  remove_all();
  ::signal(number, SIG_DFL);
  ::raise(number);  // delivered when this handler returns
}

void end_of_a_mapped_file(int) {
  constexpr char kText[] = "assay: a file became shorter while it was read; copy it first\n";
  remove_all();
  if (::write(STDERR_FILENO, kText, sizeof kText - 1) < 0) _exit(kBadInput);
  _exit(kBadInput);
}

void handle(int number, void (*handler)(int)) {
  struct sigaction old {};
  if (sigaction(number, nullptr, &old) != 0 || old.sa_handler != SIG_DFL) return;
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

}  // namespace

std::string make_partial(const std::string& path, const std::string& shown) {
  for (const std::string& left : partial_files(path)) ::unlink(left.c_str());
  const std::string first = partial_prefix(path) + std::to_string(getpid());
  constexpr int kMostNames = 100;
  std::string name = first;
  for (int n = 1;; ++n) {
    remember(name);  // first: a signal may come before open() returns, and no name of ours is lost
    const int descriptor =
        ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (descriptor >= 0 && ending) ::unlink(name.c_str());
    if (descriptor >= 0 && ::close(descriptor) == 0) return name;
    const int failure = errno;
    if (descriptor < 0) forget_partial(name);
    if (descriptor < 0 && failure == EEXIST && n < kMostNames) {
      name = fmt::format("{}.{}", first, n);
      continue;
    }
    if (descriptor >= 0) {
      ::unlink(name.c_str());
      forget_partial(name);
    }
    throw InputError(
        fmt::format("{}: cannot be created: {}: {}", shown, name, std::strerror(failure)));
  }
}

void forget_partial(const std::string& name) {
  for (Slot& slot : slots) {
    if (slot.state == Slot::kTaken && name == slot.name) slot.state = Slot::kFree;
  }
}

void before_ending_by_signal(void (*end)()) { end_others = end; }

void end_cleanly_on_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) handle(number, end_by);
  handle(SIGBUS, end_of_a_mapped_file);
}

}  // namespace assay::golden
