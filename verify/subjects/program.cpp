#include "verify/subjects/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::verify {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMostLine = std::size_t{1} << 20;
constexpr int kNotStarted = 127;  // exit code of a child that found no program, as shells have it

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw InputError(std::string("a program cannot be started: ") + std::strerror(errno));
    }
  }
  int reading() const { return ends[0]; }
  int writing() const { return ends[1]; }
  std::array<int, 2> ends{};
};

// What the child does between fork and exec: nothing that takes a lock or memory.
[[noreturn]] void become(char* const* words, int in, int out, int log) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGBUS}) ::signal(number, SIG_DFL);
  ::execvp(words[0], words);
  ::_exit(kNotStarted);
}

std::string status_text(int status) {
  if (WIFSIGNALED(status)) return fmt::format("ended by {}", strsignal(WTERMSIG(status)));
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
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

Program::Program(std::vector<std::string> words, std::string log_path)
    : name_(words.at(0)), log_path_(std::move(log_path)) {
  const Pipe to, from;
  const int log = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  process_ = log < 0 ? -1 : ::fork();
  if (process_ == 0) become(arguments.data(), to.reading(), from.writing(), log);
  const int failure = errno;
  ::close(to.reading());
  ::close(from.writing());
  if (log >= 0) ::close(log);
  input_ = to.writing();
  output_ = from.reading();
  if (process_ > 0) {
    ::setpgid(process_, process_);  // whoever of the two comes first
    return;
  }
  ::close(input_);
  ::close(output_);
  throw InputError(fmt::format("exec: {}: cannot be started: {}", name_, std::strerror(failure)));
}

Program::~Program() { end(milliseconds(0)); }

void Program::end(milliseconds patience) {
  if (input_ >= 0) ::close(input_);
  input_ = -1;
  has_ended(patience);
  if (process_ > 0) ::kill(-process_, SIGKILL);  // with all that it started
  if (process_ > 0 && !ended_) {
    while (::waitpid(process_, &status_, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
  }
  if (output_ >= 0) ::close(output_);
  output_ = -1;
}

bool Program::has_ended(milliseconds patience) {
  const auto until = Clock::now() + patience;
  while (!ended_) {
    ended_ = ::waitpid(process_, &status_, WNOHANG) == process_;
    if (ended_ || Clock::now() >= until) break;
    ::usleep(1000);
  }
  return ended_;
}

std::string Program::last_words() const {
  constexpr std::streamoff kMost = 2000;
  std::ifstream log(log_path_, std::ios::binary | std::ios::ate);
  if (!log) return "";
  const std::streamoff size = log.tellg();
  log.seekg(std::max<std::streamoff>(0, size - kMost));
  std::string text((std::istreambuf_iterator<char>(log)), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const std::size_t line = text.size() > 400 ? text.find('\n', text.size() - 400) : 0;
  return golden::printable(line == 0 || line == std::string::npos ? text : text.substr(line + 1));
}

void Program::fail(const std::string& what) {
  std::string text = fmt::format("{}: {}", name_, what);
  if (has_ended(milliseconds(100))) text += ": " + status_text(status_);
  const std::string words = last_words();
  if (ended_ && WIFEXITED(status_) && WEXITSTATUS(status_) == kNotStarted && words.empty()) {
    throw InputError(fmt::format("exec: {}: no such program", name_));
  }
  if (!words.empty()) text += "; its last words: " + words;
  throw SubjectFailure(text);
}

void Program::send(const std::string& line) {
  const std::string text = line + "\n";
  for (std::size_t done = 0; done < text.size();) {
    struct sigaction ignored {
    }, before{};
    ignored.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignored, &before);
    const ssize_t written = ::write(input_, text.data() + done, text.size() - done);
    const int failure = errno;
    ::sigaction(SIGPIPE, &before, nullptr);
    if (written < 0 && failure == EINTR) continue;
    if (written < 0) fail("it reads no more");
    done += static_cast<std::size_t>(written);
  }
}

std::string Program::receive(milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  for (;;) {
    if (const std::size_t end = pending_.find('\n'); end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    if (pending_.size() > kMostLine) fail("a line of more than 1 MB");
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    if (left.count() <= 0) {
      fail(fmt::format("no answer within {} s (--timeout)", timeout.count() / 1000.0));
    }
    pollfd ready{output_, POLLIN, 0};
    const int polled = ::poll(&ready, 1, static_cast<int>(left.count()));
    if (polled < 0 && errno != EINTR) fail("its output cannot be read");
    if (polled <= 0) continue;
    std::array<char, 65536> piece;
    const ssize_t got = ::read(output_, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail("it closed its output");
    pending_.append(piece.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace assay::verify
