// Plain HDF5 files for other programs: named arrays, attributes of the root, nothing else.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "golden/file/element.h"

namespace assay::golden {

// Writes the arrays, whose types are F64, F32 or I32, one in memory at a time; the file has its
// name only when it is whole. Throws InputError as write_npz does.
void write_hdf5(const std::string& path, const std::vector<ExchangeTensor>& tensors,
                const std::map<std::string, std::string>& attributes, const FetchValues& fetch,
                bool force);

}  // namespace assay::golden
