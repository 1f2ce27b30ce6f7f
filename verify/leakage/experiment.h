// A subject on a batch, and the runs on changed batches that detectors compare with it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "verify/leakage/influence.h"
#include "verify/leakage/recording.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

struct LeakOptions {
  uint64_t seed = 1;  // of the replacement tokens
  int suffixes = 2;   // random suffixes per cut
  // Positions of the rows that the batch is the beginning of; 0: it is all of them. A leak between
  // positions that were left out does not show.
  int64_t all_positions = 0;
  // The logits [B,T,V] of the reference, in the subject's storage type: whether a change that does
  // not show should have. Empty: every dependence that the mask allows should show.
  std::function<golden::Tensor(const Batch& batch)> reference_logits = {};
};

// A position that changed with tokens after it.
struct FirstLeak {
  std::size_t index = 0;  // of the tensor in order of computation
  std::string tensor;
  int64_t t = -1;  // its first position that sees ..
  int64_t s = -1;  // .. this later one; -1 when only several changed tokens together show it
};

class Experiment {
 public:
  // Runs the subject once on the batch. All arguments must outlive the experiment.
  Experiment(Subject& subject, const golden::ModelConfig& config, const Batch& batch,
             const LeakOptions& options);

  const golden::ModelConfig& config() const { return config_; }
  const Batch& batch() const { return batch_; }
  const LeakOptions& options() const { return options_; }
  const Recording& base() const { return base_; }
  double coarsest_unit() const;  // unit roundoff of what the subject stores, reads and adds in
  int64_t runs() const { return runs_; }

  // Runs the subject on another batch and says what differs from the first run, bit by bit.
  std::vector<Difference> run(const Batch& batch);

  // Runs the subject on a batch of any shape and keeps what it hands over.
  Recording record(const Batch& batch);
  // The same of a subject made anew, whose first run this is; it may be nullptr, see
  // Subject::another().
  std::unique_ptr<Subject> fresh() const { return subject_.another(); }
  Recording record(Subject& subject, const Batch& batch);
  // Runs a subject on the batch of a recording and says what differs, bit by bit.
  std::vector<Difference> compare(const Recording& recording, Subject& subject, const Batch& batch);
  Subject& subject() { return subject_; }

  // A batch with new tokens at positions [first, last) of every row but kept_row; every one of
  // them differs from the token that it replaces. `stream` names the draw.
  Batch with_tokens(const Batch& batch, int64_t first, int64_t last, const std::string& stream,
                    int64_t kept_row = -1) const;
  Batch with_tokens(int64_t first, int64_t last, const std::string& stream) const {
    return with_tokens(batch_, first, last, stream);
  }
  // The batch with another label wherever one counts.
  Batch with_labels(const std::string& stream) const;

  // Keeps the first tensor in order of computation, then a known s before -1, then the lowest t,
  // then the lowest s.
  void note_leak(std::size_t tensor, int64_t t, int64_t s);
  const std::optional<FirstLeak>& first_leak() const { return first_leak_; }

  // Notes that position t changed with token s in this tensor, if none before it did.
  void note_influence(std::size_t tensor, int64_t t, int64_t s);
  const InfluenceMatrix& influence() const { return influence_; }

 private:
  int32_t other_token(int32_t token, uint32_t word) const;
  std::vector<uint32_t> words(const std::string& stream, std::size_t count) const;

  Subject& subject_;
  const golden::ModelConfig& config_;
  const Batch& batch_;
  const LeakOptions& options_;
  Recording base_;
  int64_t runs_ = 1;
  InfluenceMatrix influence_;
  std::optional<FirstLeak> first_leak_;
};

// Calls visit(t) for the changed positions of a tensor, over all rows of the batch.
template <class Visit>
void for_changed(const Difference& difference, int64_t positions, Visit&& visit) {
  for (std::size_t i = 0; i < difference.rows.size(); ++i) {
    if (difference.rows[i] != 0) visit(static_cast<int64_t>(i) % positions);
  }
}

}  // namespace assay::verify
