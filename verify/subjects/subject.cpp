#include "verify/subjects/subject.h"

#include "golden/contract/error.h"

namespace assay::verify {

using golden::Precision;

golden::Tensor Subject::run_untapped(const Batch&, Result) {
  throw InternalError(describe() + ": has no run without taps");
}

void Subject::run_gradients(const Batch&, const Receive&) {
  throw InternalError(describe() + ": has no gradients");
}

void Subject::reset(int64_t, int64_t) { throw InternalError(describe() + ": has no cache"); }

void Subject::decode(const Batch&, const Receive&) {
  throw InternalError(describe() + ": has no cache");
}

void Subject::decode_rows(const Batch&, std::span<const int32_t>, const Receive&) {
  throw InternalError(describe() + ": has no cache of ragged rows");
}

golden::DType dtype_of(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return golden::DType::float64;
    case Precision::fp32:
    case Precision::tf32:  // stored in 32 bits
      return golden::DType::float32;
    case Precision::bf16:
      return golden::DType::bfloat16;
    case Precision::fp16:
      return golden::DType::float16;
  }
  throw InternalError("dtype_of: no such Precision");
}

}  // namespace assay::verify
