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

#include <memory>
#include <string>
#include <vector>

#include "golden/file/golden_file.h"
#include "verify/judge/decoding.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/numerics/views.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

struct NumericsOptions {
  std::string pattern = "";                // shell-style, of the checkpoints to compare; "" = all
  std::vector<std::string> left_out = {};  // patterns of checkpoints that are not judged
  // Of a subject that hands over a part (Subject::gives_a_part): patterns of what it may not lack,
  // "all" for everything; whether what nobody declared is a fault.
  std::vector<std::string> required = {};
  bool strict = false;
  double false_alarm_rate = 1e-6;  // of the whole free-running view
  Decoding decoding = Decoding::where_it_can;
  bool modes = false;    // run the batch in other ways too (modes.h)
  bool diagnose = true;  // try the dictionary of known defects on the first divergence
  // What the user typed, without --only: "assay verify g.h5 --subject simt --precision bf16".
  std::string command = "assay verify";
  WatchFree watch = {};  // sees what the free-running view compares
};

struct NumericsResult {
  std::vector<CheckpointRow> rows;  // in execution order
  std::vector<Check>
      checks;            // ledger, free-running and local view; untapped, decode where they can be
  std::string diverged;  // name of the first divergence, "" if there is none
  std::vector<std::string> first_divergence;  // its block of lines, ready to print
  // What the subject handed over; the tensors of a dump are read through it, which lives longer.
  std::shared_ptr<const Ledger> ledger;
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
