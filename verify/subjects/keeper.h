// A process between Assay and a program that it starts. Whatever the program starts, and however
// far that goes (a group or session of its own, a parent that ended), stays below this process: it
// can be ended with all of it. When Assay is gone, by whatever signal, it ends the program and
// removes the program's private folder.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace assay::verify {

// How a program ended: by a wait status, or it never began.
struct ProgramEnd {
  int failure = 0;  // errno of exec; 0: it began
  int status = 0;
};

class Keeper {
 public:
  // What a program's standard streams are: descriptors of this process.
  struct Streams {
    int in = -1, out = -1, log = -1;
    bool kept = false;  // for further programs; else the first one has them alone
  };

  // Starts the keeper, no program yet; the folder is its to remove. Throws InputError where there
  // can be no process.
  Keeper(std::vector<std::string> words, const Streams& streams, std::string folder);
  // Ends the program, removes the folder.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  const std::string& folder() const { return folder_; }
  int process() const { return process_; }  // the keeper's: all of the program is below it
  int news() const { return control_; }     // readable when a program has ended, or the keeper

  // Starts the program; none may run.
  void start();
  // How it ended, waiting for at most so long for it.
  std::optional<ProgramEnd> ended(std::chrono::milliseconds patience);
  // Kills the program with all that it started, and waits until that is gone.
  void kill_all();

 private:
  void tell(char order);
  bool hear(std::chrono::milliseconds patience, char until);
  void lose();

  std::string folder_;
  int process_ = -1, control_ = -1;
  std::optional<ProgramEnd> end_;
  bool running_ = false;
};

// Makes a folder for this user alone below the temporary one. Throws InputError where none can be.
std::string make_private_folder();

// Removes a file or a folder with all below it, whatever modes it has; follows no symbolic link.
// Takes neither memory nor a lock.
void remove_folder(const char* path);

}  // namespace assay::verify
