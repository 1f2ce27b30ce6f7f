// Compares a subject with a golden file, checkpoint by checkpoint, in two views.
//
// Free-running: the subject's own activations all the way, against the golden values. The bound is
//   a statistical one: z * allowance * sigma (tolerance.h).
// Local: each checkpoint recomputed by the reference from the very inputs that the subject used, so
//   that only the checkpoint's own error remains. The bound is the worst case, no statistics in it.
//   A subject that can be forced starts every checkpoint from the golden values rounded to its
//   storage type; of one that cannot (a dump) the reference starts from the subject's own tensors.
//   Those may be roundings of what it computed with: a checkpoint that is outside only if they are
//   not is untrusted.
#pragma once

#include <string>
#include <vector>

#include "golden/golden_file.h"
#include "verify/numerics/ledger.h"
#include "verify/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

struct NumericsOptions {
  std::string pattern = "";                // shell-style, of the checkpoints to compare; "" = all
  std::vector<std::string> left_out = {};  // patterns of checkpoints that are not judged
  double false_alarm_rate = 1e-6;          // of the whole free-running view
  bool diagnose = true;  // try the dictionary of known defects on the first divergence
  // What the user typed, without --only: "assay verify g.h5 --subject simt --precision bf16".
  std::string command = "assay verify";
};

// One checkpoint, a line of the report. Ratios are the largest |error| / bound: above 1 is outside.
struct CheckpointRow {
  std::string name;
  golden::Shape shape;
  std::string axes;                              // one letter per axis (golden/names.h)
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
  double free_sigmas = 0;     // largest |error| / sigma, before z and the allowance
  double relative_bound = 0;  // rms of the free-running bound over golden_rms: what it can see
  double rms_error = 0;       // free-running, absolute
  double golden_rms = 0;
  std::string note;  // why it is untrusted, what the fault is
};

struct NumericsResult {
  std::vector<CheckpointRow> rows;            // in execution order
  std::vector<Check> checks;                  // ledger, free-running view, local view
  std::string diverged;                       // name of the first divergence, "" if there is none
  std::vector<std::string> first_divergence;  // its block of lines, ready to print
  std::string diagnosis;    // "equals .. with .. replaced by softmax of ..", "" if nothing fits
  double z = 0;             // normal quantile of the false-alarm rate over all elements
  double allowance = 0;     // factor on z for roundings that are not independent
  double max_sigmas = 0;    // largest |error| / sigma of the run
  int64_t elements = 0;     // compared in the free-running view
  int64_t regenerated = 0;  // golden tensors made again because the file has only their hashes
};

NumericsResult verify_numerics(const golden::GoldenReader& golden, Subject& subject,
                               const NumericsOptions& options);

}  // namespace assay::verify
