#include "golden/contract/tensor.h"

#include <fmt/format.h>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::golden {

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) {
    if (extent < 0 || (extent > 0 && count > kMostElements / extent)) {
      throw InputError(fmt::format("shape {}: expected at most {} = 2^40 elements, got {}",
                                   shape_text(shape), kMostElements,
                                   extent < 0 ? "a negative extent" : "more"));
    }
    count *= extent;
  }
  return count;
}

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

std::string dtype_name(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return "float64";
    case DType::float32:
      return "float32";
    case DType::bfloat16:
      return "bfloat16";
    case DType::float16:
      return "float16";
    case DType::int32:
      return "int32";
    case DType::uint8:
      return "uint8";
  }
  throw InternalError("dtype_name: no such DType");
}

std::size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return 8;
    case DType::float32:
      return 4;
    case DType::bfloat16:
    case DType::float16:
      return 2;
    case DType::int32:
      return 4;
    case DType::uint8:
      return 1;
  }
  throw InternalError("dtype_bytes: no such DType");
}

}  // namespace assay::golden
