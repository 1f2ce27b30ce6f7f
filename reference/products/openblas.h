// OpenBLAS, loaded when the `blas` engine first needs it. Internal.
//
// The program is not linked to it: its constructor starts threads that each map a buffer, waits for
// ever or raises a signal where there is no memory for them, and golden values need none of it.
#pragma once

#include <cblas.h>

namespace assay::reference {

struct OpenBlas {
  decltype(&cblas_dgemm) dgemm = nullptr;
  decltype(&openblas_get_corename) core_name = nullptr;
};

// Set to one thread. Throws std::runtime_error where the library is not installed, std::bad_alloc
// where memory is too limited (ulimit -v) for the buffers of all threads that may call it at once.
const OpenBlas& openblas();

}  // namespace assay::reference
