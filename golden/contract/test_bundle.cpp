#include "golden/contract/test_bundle.h"

#include <fmt/format.h>

namespace assay::golden::bundle {

std::string file_hash(std::string_view bytes) { return fmt::format("{:016x}", stream_id(bytes)); }

}  // namespace assay::golden::bundle
