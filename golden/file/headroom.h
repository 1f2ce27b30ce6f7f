// Address space that has to be left before something is begun that does not bear the want of it.
#pragma once

#include <cstddef>

namespace assay::golden {

// Throws std::bad_alloc where the process could not map that many more bytes (ulimit -v). A look,
// no reservation: other threads may take them, so ask for far more than is needed.
void require_headroom(std::size_t bytes);

}  // namespace assay::golden
