// The two ways something can go wrong: bad input, and a broken promise of our own.
#pragma once

#include <stdexcept>
#include <string>

namespace assay {

// Bad input: a file, an option, a shape that somebody else gave. The message has the form
// "where: what is wrong: expected X, got Y; next step". Exit code 2.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Good input that a subject has nothing for: a method without kernels, a precision it does not
// store. A run over many cases skips the case; otherwise it is bad input.
struct Unsupported : InputError {
  using InputError::InputError;
};

// Bad input of the judge's own that shows while a subject runs, such as a golden file that cannot
// be read any more: no fault of the subject.
struct UnreadableInput : InputError {
  using InputError::InputError;
};

// A broken invariant of Assay itself. Exit code 4.
struct InternalError : std::logic_error {
  using std::logic_error::logic_error;
};

[[noreturn]] void fail_check(const char* condition, const std::string& values, const char* file,
                             int line);

namespace golden {

// A name from somebody else's file as it may stand in a message: one line of at most 120 bytes,
// without control characters.
std::string printable(const std::string& text);

}  // namespace golden

}  // namespace assay

// On in every build; `values` is a string that shows what the condition compared.
#define ASSAY_CHECK(condition, values)                                               \
  do {                                                                               \
    if (!(condition)) ::assay::fail_check(#condition, (values), __FILE__, __LINE__); \
  } while (false)
