// Want of memory, which is neither bad input nor a fault of a subject.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

namespace assay::cli {

// Exit code 4. A run over many cases goes on with the next.
struct NotEnoughMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Whether the exception says that memory or threads, which take memory, are used up.
bool is_want_of_memory(const std::exception& error);

// Before anything else: throws std::bad_alloc where there is less memory (ulimit -v) than libraries
// need to start, and keeps some back for the words of a failure.
void keep_memory_for_failures();

// The exit code. Where memory is limited (ulimit -v) the process ends here and at once: libraries
// that could not get their threads or buffers would wait for them for ever at the end.
int leave(int code);

// Of a process that may have no memory left: frees what was kept back.
// "this process held 812 MB of at most 1024 MB, 220 MB are free on this machine"
std::string memory_text();

}  // namespace assay::cli
