// Another program, spoken to by lines on its standard input and output.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace assay::verify {

// The subject failed, by what it did or did not do: the verdict's reason, and no bad input.
struct SubjectFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// "python3 model.py --name 'a b'" as a shell splits words: quotes and backslashes, and nothing is
// expanded. Throws InputError for a quote that is not closed and for no word at all.
std::vector<std::string> split_words(const std::string& command);

// A child process in a process group of its own, which ends with this object. Its standard error
// goes to a file; the last lines of that are part of every failure.
class Program {
 public:
  // Throws InputError where there is no such program.
  Program(std::vector<std::string> words, std::string log_path);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // One line each. Both throw SubjectFailure: for a program that is gone, and receive() for one
  // that says nothing in time, or a line longer than 1 MB.
  void send(const std::string& line);
  std::string receive(std::chrono::milliseconds timeout);

  // Asks nothing and waits no longer than that before the process group is killed.
  void end(std::chrono::milliseconds patience);

  // "exit code 3; its last words: ..", of a program that failed at `what`.
  [[noreturn]] void fail(const std::string& what);

 private:
  std::string last_words() const;
  // Whether it has ended, waiting for at most so long.
  bool has_ended(std::chrono::milliseconds patience);

  std::string name_, log_path_;
  int process_ = -1, input_ = -1, output_ = -1;
  int status_ = 0;
  bool ended_ = false;
  std::string pending_;  // read and not yet asked for
};

}  // namespace assay::verify
