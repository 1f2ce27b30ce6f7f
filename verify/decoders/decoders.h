// Leaks of any decoder, without a reference: nothing is known but how to ask it and how many tokens
// there are. Where its tensors have their positions is found by running batches of other shapes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "verify/decoders/axes.h"
#include "verify/leakage/detectors.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

struct DecoderOptions {
  uint64_t seed = 1;
  int suffixes = 2;  // random suffixes per cut
  AxesOptions axes = {};
  std::string ignored = {};  // pattern of tensors that nobody looks at
  std::string storage = {};  // that the program computes in, as it declares; "": by its values
  Begins begins = {};
};

// One check a detector, the first of them of the tensors themselves. The influence matrix counts
// tensors. Throws InputError for a program that hands over nothing, SubjectFailure for one that
// fails.
LeakResult judge_decoder(Subject& subject, int64_t vocab_size, const Batch& batch,
                         const DecoderOptions& options);

}  // namespace assay::verify
