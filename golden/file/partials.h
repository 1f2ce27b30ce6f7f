// Temporary files beside outputs: made exclusively, and gone when the process ends, by a signal
// too. What SIGKILL leaves, the next run of the same output removes.
#pragma once

#include <string>

namespace assay::golden {

// Makes the empty file "<path>.partial-<pid>" and returns its name. It is this call's own: neither
// a file that is there nor what a symbolic link leads to is opened; a number follows where the name
// is taken. Leftovers of runs that are dead are removed. `shown` names the output in messages.
std::string make_partial(const std::string& path, const std::string& shown);

// The file has another name by now, or is gone.
void forget_partial(const std::string& name);

// What else such a signal ends first, by a function that may neither allocate nor wait for a lock.
// One for the whole process.
void before_ending_by_signal(void (*end)());

// For main: SIGINT, SIGTERM and SIGHUP remove the temporary files and end the process as they do.
// SIGBUS, which a mapped file raises that another process truncates, ends it with a message and
// exit code 2. A signal that is ignored stays ignored.
void end_cleanly_on_signals();

}  // namespace assay::golden
