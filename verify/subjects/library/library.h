// A shared library with the functions of assay_subject.h.
#pragma once

#include <string>

#include "verify/subjects/library/assay_subject.h"

namespace assay::verify {

// The functions of a library, which stays loaded as long as this lives.
class Library {
 public:
  // Throws InputError for what is no such library: not there, not loadable, a function missing,
  // compiled with another version of the interface.
  explicit Library(const std::string& path);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  decltype(&assay_subject_open) open = nullptr;
  decltype(&assay_subject_describe) describe = nullptr;
  decltype(&assay_subject_run) run = nullptr;
  decltype(&assay_subject_error) error = nullptr;
  decltype(&assay_subject_close) close = nullptr;

 private:
  void* handle_ = nullptr;
};

}  // namespace assay::verify
