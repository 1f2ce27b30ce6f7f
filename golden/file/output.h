// Where the name of an output leads, and what an output must not be.
#pragma once

#include <string>
#include <vector>

namespace assay::golden {

struct OutputPlace {
  std::string path;      // with symbolic links resolved: the file that is made or replaced
  bool through = false;  // no regular file (a FIFO, /dev/null, a terminal): written through
  int descriptor = -1;   // of this process, behind /dev/stdout and /dev/fd/N; -1 otherwise
};

// A symbolic link keeps its place: what it names is the output. Throws InputError for a link that
// leads nowhere or in circles.
OutputPlace output_place(const std::string& path);

// Whether both names lead to one file; a name without a file is equal to itself alone.
bool same_file(const std::string& a, const std::string& b);

struct Output {
  std::string option;  // "--json"
  std::string path;    // "" writes nothing
};

// Throws InputError where an output is an input, by whatever name, or where two outputs are one
// regular file. An input that is a folder stands for the files of
// a checkpoint in it: config.json, *.safetensors, *.safetensors.index.json.
void require_apart(const std::vector<Output>& outputs, const std::vector<std::string>& inputs);

// Throws InputError for a file that exists, holds something, and does not begin with one of
// `beginnings`, unless force: what this program wrote is replaced, other people's files are not.
void require_own(const Output& output, const std::vector<std::string>& beginnings, bool force);

// Copies the file `from` to a place that is written through. `shown` names it in messages.
void write_through(const std::string& from, const OutputPlace& place, const std::string& shown);

}  // namespace assay::golden
