// The detectors for any decoder, beside those of verify/leakage that it shares.
#pragma once

#include <string>

#include "verify/decoders/common.h"
#include "verify/decoders/rounding.h"
#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

// What they have in common.
struct Decoder {
  Experiment& experiment;
  const Rounding& rounding;

  // The size of a difference that is not what running again brings.
  double beyond_noise(const Apart& at) const;
};

// Why a difference accuses nobody: for the details of a check.
std::string doubtful_text(const Rounding& rounding);

// repeat: runs on one batch agree bit for bit. Where they do not, what does not repeat is measured
// and allowed for from then on, unless it is the batch before that shows: that is a leak.
// `first` is the subject's very first run on the batch.
Check detect_rerun(const Decoder& decoder, const Recording& first);

// influence: every position is heard of, and what is handed over depends on the tokens.
Check detect_reach(const Decoder& decoder);

// order: the rows in another order, or fewer or more of them, are the same but for rounding.
Check detect_order(const Decoder& decoder);

// length: the first positions of a longer sequence are those of a shorter one but for rounding.
Check detect_length(const Decoder& decoder);

// padding: what stands at padded positions does not show at the others. For a subject that reads
// attention_mask.
Check detect_padding(const Decoder& decoder);

// decode: positions that are appended to a cache, one by one, in pieces or behind a prompt, are
// those of a whole run but for rounding. For a subject that decodes.
Check detect_decode(const Decoder& decoder);

}  // namespace assay::verify
