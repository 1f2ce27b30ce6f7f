// One run of a subject, kept, and what another run changed against it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "verify/leakage/layout.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// How much a position changed.
enum Change : uint8_t {
  unchanged = 0,
  faint = 1,  // by no more than roundings in another order may: Sameness::rounding
  clear = 2
};

// How one tensor differs from the recorded run.
struct Difference {
  std::size_t index = 0;  // of the tensor in the recording
  Change any = unchanged;
  std::vector<uint8_t> rows =
      {};                   // [B,T], of position t of row b a Change; empty without positions
  bool is_missing = false;  // Sameness::may_vary: there is nothing to compare
};

// When two runs count as the same. By default bit for bit, and every difference is clear.
struct Sameness {
  // Of each tensor: a difference up to this one shows nothing, for it comes of running again.
  std::vector<double> noise = {};
  // A difference up to this part of the largest value beside it is faint; 0: none is.
  double rounding = 0;
  // A tensor that is not there again, or has another shape, has no difference and says so. Else it
  // is an InputError.
  bool may_vary = false;
};

class Recording {
 public:
  Recording(Subject& subject, const Layouts& layouts, const Batch& batch);

  std::size_t tensors() const { return tensors_.size(); }
  const std::string& name(std::size_t index) const { return tensors_[index].name; }
  const Observed& tensor(std::size_t index) const { return tensors_[index]; }
  const Layout& layout(std::size_t index) const { return layouts_[index]; }
  int64_t batch() const { return batch_; }
  int64_t positions() const { return positions_; }
  int64_t elements() const;  // of all tensors with positions

  // What is known of the tensors' axes from now on.
  void lay_out(const Layouts& layouts);
  void drop(const std::function<bool(const std::string& name)>& is_dropped);

  // Runs the subject again and compares every tensor bit by bit, -0 and NaN payloads included.
  // Throws InputError if it hands over other tensors than the first time.
  std::vector<Difference> differences(Subject& subject, const Batch& batch,
                                      const Sameness& sameness = {}) const;
  // The same of a run that is kept, tensor by tensor of the same name.
  std::vector<Difference> differences(const Recording& other, const Sameness& sameness = {}) const;

 private:
  Difference compare(std::size_t index, const golden::Tensor& again,
                     const Sameness& sameness) const;
  void require_same(std::size_t index, const std::string& subject, const Observed& observed) const;

  int64_t batch_, positions_;
  std::vector<Observed> tensors_;
  std::vector<Layout> layouts_;
};

// The axes of a model's own tensors; of another tensor, or one of another rank, nothing is known.
Layouts model_layouts(const golden::ModelConfig& config, int64_t batch, int64_t positions);

// |a - b|, 0 for two NaN and for two equal infinities, else infinite where one is not finite.
double distance(double a, double b);

// Root of the mean square of those that are finite; 0 where none is.
double rms_of(std::span<const double> values);

}  // namespace assay::verify
