// Another program, spoken to by lines on its standard input and output, or started for each answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "verify/subjects/keeper.h"

namespace assay::verify {

// The subject failed, by what it did or did not do: the verdict's reason, and no bad input.
struct SubjectFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// "python3 model.py --name 'a b'" as a shell splits words: quotes and backslashes, and nothing is
// expanded. Throws InputError for a quote that is not closed and for no word at all.
std::vector<std::string> split_words(const std::string& command);

// "64 MB" in messages.
std::string bytes_text(uint64_t bytes);

struct ProgramLimits {
  std::chrono::milliseconds timeout{60'000};  // of an answer, and of what it takes to be asked
  uint64_t folder_bytes = 0;  // that its files may have; 0: 16 GiB, at most half of what is free
  uint64_t memory_bytes = 0;  // resident, of all its processes together; 0: no limit
};

// A program with a private folder, a keeper and limits. It ends with this object, with all that it
// started; the folder goes with it. Every way in which it fails is a SubjectFailure with how it
// ended and the last words of its standard error.
class Program {
 public:
  // Asked by lines, or started for each answer.
  enum class Mode { lines, once };

  // Makes the folder; starts nothing.
  Program(std::vector<std::string> words, const ProgramLimits& limits, Mode mode = Mode::lines);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const std::string& folder() const { return folder_; }
  // Beside it, for what is kept of its answers; the program is not told.
  const std::string& kept_folder() const { return kept_folder_; }
  // Of Mode::once: the files whose names follow the words.
  std::string request_file() const { return folder_ + "/request.json"; }
  std::string response_file() const { return folder_ + "/response.json"; }
  // Bytes in the folder that are not the program's doing.
  void own_bytes(uint64_t bytes) { own_bytes_ = bytes; }

  // One line each, within the limits. A line that is received has at most 1 MB.
  void start();
  void send(const std::string& line);
  std::string receive();
  // Starts it with the names of both files and waits until it has ended, with exit code 0; what it
  // left running is killed.
  void run_once();

  // Asks nothing and waits no longer than that before all of it is killed; not at all for one that
  // has failed.
  void end(std::chrono::milliseconds patience);

  // "python3: what: ended with exit code 3; its last words: ..".
  [[noreturn]] void fail(const std::string& what);

 private:
  using Time = std::chrono::steady_clock::time_point;

  bool wait(Time until, bool to_write, const char* late);
  void drain_log();
  bool drain_output();
  void check_limits();
  std::string last_words() const;

  const std::string name_;
  ProgramLimits limits_;
  std::string folder_, kept_folder_;
  std::unique_ptr<Keeper> keeper_;
  int input_ = -1, output_ = -1, log_ = -1;
  uint64_t own_bytes_ = 0;
  Time next_check_{};
  bool output_open_ = true, failed_ = false;
  std::string pending_;  // read and not yet asked for
  std::string said_;     // the end of its standard error
};

}  // namespace assay::verify
