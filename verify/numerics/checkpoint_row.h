// What the views found out about one checkpoint.
#pragma once

#include <cstdint>
#include <string>

#include "golden/contract/tensor.h"
#include "verify/numerics/ledger.h"
#include "verify/statistics/compare.h"
#include "verify/verdict.h"

namespace assay::verify {

// One checkpoint, a line of the report. Ratios are the largest |error| / bound: above 1 is outside.
struct CheckpointRow {
  std::string name;
  golden::Shape shape;
  std::string axes;                              // one letter per axis (golden/contract/names.h)
  golden::DType dtype = golden::DType::float64;  // due from the subject
  Status status = Status::inconclusive;
  Fault fault = Fault::none;
  bool compared = false;  // false: nothing usable was handed over, the figures below are 0
  bool local_compared = false;
  int64_t elements = 0;
  int64_t free_outside = 0;
  int64_t local_outside = 0;
  double free_ratio = 0;
  double local_ratio = 0;
  double slope_ratio = 0;     // of the excess of its slope (slope.h); 0 where none is judged
  double free_sigmas = 0;     // largest |error| / sigma, before z and the allowance
  double relative_bound = 0;  // rms of the free-running bound over golden_rms: what it can see
  double rms_error = 0;       // free-running, absolute
  double golden_rms = 0;
  std::string note;  // why it is untrusted, what the fault is

  // Of the comparison with the golden tensor, whose golden_rms is known.
  void set_free(const Comparison& seen) {
    compared = true;
    free_outside = seen.outside;
    free_ratio = seen.max_ratio;
    free_sigmas = seen.max_sigmas;
    relative_bound = golden_rms == 0 ? 0 : seen.rms_bound / golden_rms;
    rms_error = seen.rms_error;
  }
};

}  // namespace assay::verify
