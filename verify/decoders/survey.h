// What a decoder hands over, and where its positions are.
#pragma once

#include <string>
#include <vector>

#include "verify/decoders/axes.h"
#include "verify/decoders/chosen.h"
#include "verify/decoders/rounding.h"
#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

struct Survey {
  Recording first;  // the subject's very first run
  Layouts layouts;
  Rounding rounding;
  bool shape_shows = false;  // Ground::shape_shows
  Check check;               // "tensors": what is judged and what is not
  int64_t runs = 0;
};

// Runs the batch, other tokens in its place, fewer positions and more rows. A tensor whose shape
// the tokens choose is left out of the subject from then on.
Survey survey(Chosen& subject, const Batch& batch, int64_t vocab_size, const AxesOptions& options,
              const std::string& storage);

}  // namespace assay::verify
