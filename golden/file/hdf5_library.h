// The HDF5 library itself, for what wraps it: its silence and its words.
#pragma once

#include <string>

namespace assay::golden::hdf5 {

// Before any call: the library prints nothing, does nothing when the process ends, and is given the
// memory that it needs; else std::bad_alloc.
void enter_library();

// Throws InputError "file: object: what: HDF5 says: ..".
[[noreturn]] void fail(const std::string& file, const std::string& object, const std::string& what);

}  // namespace assay::golden::hdf5
