// A subject on a batch, and the runs on changed batches that detectors compare with it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "verify/leakage/influence.h"
#include "verify/leakage/recording.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// Told the name of each detector before it runs.
using Begins = std::function<void(const char* detector)>;

struct LeakOptions {
  uint64_t seed = 1;  // of the replacement tokens
  int suffixes = 2;   // random suffixes per cut
  // Positions of the rows that the batch is the beginning of; 0: it is all of them. A leak between
  // positions that were left out does not show.
  int64_t all_positions = 0;
  // The logits [B,T,V] of the reference, in the subject's storage type: whether a change that does
  // not show should have. Empty: every dependence that the mask allows should show.
  std::function<golden::Tensor(const Batch& batch)> reference_logits = {};
  Begins begins = {};
};

// What is known of a subject before it runs.
struct Ground {
  int64_t vocab_size = 0;
  Layouts layouts;
  // 0 = embedding, l + 1 = layer l; of a tensor in the influence matrix. Empty: its place among
  // the tensors.
  std::function<int(const std::string& tensor)> stage = {};
  const golden::ModelConfig* config = nullptr;  // nullptr: any decoder
  Sameness sameness = {};
  // Bits of a row depend on the shape of the batch: a faint change may be another order of sums.
  bool shape_shows = false;
};

Ground model_ground(const golden::ModelConfig& config, const Batch& batch);

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
  Experiment(Subject& subject, const Ground& ground, const Batch& batch,
             const LeakOptions& options);

  const golden::ModelConfig& config() const { return *ground_.config; }
  const Ground& ground() const { return ground_; }
  const Batch& batch() const { return batch_; }
  const LeakOptions& options() const { return options_; }
  const Recording& base() const { return base_; }
  double coarsest_unit() const;  // unit roundoff of what the subject stores, reads and adds in
  int64_t runs() const { return runs_; }

  // Runs the subject on another batch and says what differs from the first run.
  std::vector<Difference> run(const Batch& batch);

  // Runs the subject on a batch of any shape and keeps what it hands over.
  Recording record(const Batch& batch);
  // The same of a subject made anew, whose first run this is; it may be nullptr, see
  // Subject::another().
  std::unique_ptr<Subject> fresh() const { return subject_.another(); }
  Recording record(Subject& subject, const Batch& batch);
  // Runs a subject on the batch of a recording and says what differs.
  std::vector<Difference> compare(const Recording& recording, Subject& subject, const Batch& batch);
  Subject& subject() { return subject_; }

  // From now on differences up to these, of each tensor, come of running again; a leak is noted
  // only if it shows again.
  void allow(std::vector<double> noise) { ground_.sameness.noise = std::move(noise); }
  // Tensors that were not there again, or had another shape.
  const std::set<std::string>& varying() const { return varying_; }
  bool is_noisy() const { return !ground_.sameness.noise.empty(); }

  // A batch with new tokens at positions [first, last) of every row but kept_row; every one of
  // them differs from the token that it replaces. `stream` names the draw.
  Batch with_tokens(const Batch& batch, int64_t first, int64_t last, const std::string& stream,
                    int64_t kept_row = -1) const;
  Batch with_tokens(int64_t first, int64_t last, const std::string& stream) const {
    return with_tokens(batch_, first, last, stream);
  }
  // The batch with another label wherever one counts.
  Batch with_labels(const std::string& stream) const;

  // Position t of a tensor changed, as `change` says, in a run on `shown`, in which tokens differ
  // from `from` on. Where that is later than t, it is a leak: the first tensor in order of
  // computation is kept, then a known s (`alone`: no other token differs) before -1, then the
  // lowest t, then the lowest s.
  void note(std::size_t tensor, int64_t t, int64_t from, bool alone, Change change,
            const Batch& shown);
  const std::optional<FirstLeak>& first_leak() const { return clear_; }
  // Of no more than rounding, where that may be all that it is.
  const std::optional<FirstLeak>& first_faint() const { return faint_; }
  // In a tensor whose positions may begin later than its indices: Layout::slack.
  const std::optional<FirstLeak>& first_shifted() const { return shifted_; }

  // Notes that position t changed with token s in this tensor, if none before it did.
  void note_influence(std::size_t tensor, int64_t t, int64_t s);
  const InfluenceMatrix& influence() const { return influence_; }

 private:
  int32_t other_token(int32_t token, uint32_t word) const;
  std::vector<uint32_t> words(const std::string& stream, std::size_t count) const;
  bool shows_again(const FirstLeak& leak, const Batch& shown);

  Subject& subject_;
  Ground ground_;
  const Batch& batch_;
  const LeakOptions& options_;
  Recording base_;
  int64_t runs_ = 1;
  InfluenceMatrix influence_;
  std::optional<FirstLeak> clear_, faint_, shifted_;
  std::set<std::string> varying_;
};

// Calls visit(t, change) for the changed positions of a tensor, over all rows of the batch.
template <class Visit>
void for_changed(const Difference& difference, int64_t positions, Visit&& visit) {
  for (std::size_t i = 0; i < difference.rows.size(); ++i) {
    const auto change = static_cast<Change>(difference.rows[i]);
    if (change != unchanged) visit(static_cast<int64_t>(i) % positions, change);
  }
}

}  // namespace assay::verify
