#include "verify/gradients/gradient_views.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "reference/interpreters/gradient.h"
#include "reference/interpreters/gradient_error.h"
#include "verify/numerics/window_doubt.h"
#include "verify/statistics/chunks.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

constexpr char kNoBound[] =
    "error analysis has no finite bound here: errors grow beyond all numbers";

// What both views do with a gradient that was handed over.
class GradientView : public reference::GradientErrorObserver {
 public:
  GradientView(const Case& file, const golden::PrecisionSchedule& schedule,
               const Tolerance& tolerance, RowNoise* noise, HandedGradients& handed)
      : file_(file), schedule_(schedule), tolerance_(tolerance), noise_(noise), handed_(handed) {}

  bool wants(const NodeData&) override { return false; }
  void observe(const NodeData&, const Array&, const Array&) override {}
  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

  std::optional<Failure> first() { return std::move(first_); }

 protected:
  bool is_handed(const std::string& gradient) const {
    return handed_.find(gradient) != nullptr && handed_.ledger().find_values(gradient) != nullptr;
  }

  // Without a bound anything finite is right, and nothing is shown.
  Comparison compare(CheckpointRow& row, const Array& due, const Array& analysed) {
    const Array deviation = noise_ == nullptr ? analysed : noise_->widened(row.name, analysed);
    BoundRule rule = tolerance_.rule();
    rule.open = !all_finite_in(deviation.values());
    if (rule.open) row.note = kNoBound;
    const Array given = handed_.ledger().values(row.name);
    const Comparison seen = compare_chunks(due.values(), given.values(), deviation.values(), rule);
    if (seen.outside > 0 && (!first_ || handed_.comes_before(row.name, first_->name))) {
      first_ = Failure{row.name,
                       seen,
                       {due.values().begin(), due.values().end()},
                       {given.values().begin(), given.values().end()},
                       rule.of(deviation.values())};
    }
    return seen;
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const Tolerance& tolerance_;
  RowNoise* noise_;
  HandedGradients& handed_;
  std::optional<Failure> first_;
};

// Golden gradients of which the file has hashes alone, made as generate made them: error analysis
// adds in another order, so its values have other bits.
class MadeAgain : public reference::Observer, public reference::GradientObserver {
 public:
  MadeAgain(HandedGradients& handed, GoldenValues& golden) : handed_(handed), golden_(golden) {}

  bool any_missing() {
    return std::any_of(handed_.rows().begin(), handed_.rows().end(),
                       [&](const CheckpointRow& row) { return golden_.lacks(row.name); });
  }
  Array observe(const NodeData&, Array value) override { return value; }
  void observe_gradient(const NodeData& node, const Array& gradient) override {
    const std::string name = kGrad + node.name;
    if (handed_.find(name) != nullptr && golden_.lacks(name)) golden_.settle(name, gradient);
  }

 private:
  HandedGradients& handed_;
  GoldenValues& golden_;
};

class FreeGradients : public GradientView {
 public:
  FreeGradients(const Case& file, const golden::PrecisionSchedule& schedule,
                const Tolerance& tolerance, RowNoise* noise, const Ledger& tensors,
                HandedGradients& handed, GoldenValues& golden)
      : GradientView(file, schedule, tolerance, noise, handed),
        tensors_(tensors),
        golden_(golden) {}

  // Dynamic windows as in the free-running view of tensors.
  bool gives(const NodeData& node) override {
    return golden::is_window_size(node.name) && tensors_.find_values(node.name) != nullptr &&
           !tensors_.restrictions(node.name).any() && !golden_.lacks(node.name);
  }
  std::pair<Array, Array> given(const NodeData& node) override {
    Array golden = golden_.read(node.name);
    Array error = window_difference(golden, tensors_.values(node.name), tolerance_.reach());
    return {std::move(golden), std::move(error)};
  }

  void observe_gradient(const NodeData& node, const Array&, const Array& deviation) override {
    const std::string name = kGrad + node.name;
    if (is_handed(name)) compare_row(*handed_.find(name), golden_.read(name), deviation);
  }

 private:
  void compare_row(CheckpointRow& row, const Array& golden, const Array& deviation) {
    row.golden_rms = rms(golden.values());
    if (file_.undefined.predictions() > 0) {
      row.note = "not compared with golden: the loss counts predictions of queries that see no key";
      return;
    }
    const Comparison seen = compare(row, golden, deviation);
    row.set_free(seen);
    if (noise_ != nullptr || seen.nonfinite == 0) return;
    handed_.ledger().report(
        {Fault::nonfinite, row.name,
         fmt::format("{}: {} of {} elements are NaN or infinite where golden is not", row.name,
                     seen.nonfinite, seen.compared)});
  }

  const Ledger& tensors_;
  GoldenValues& golden_;
};

// A worst case as a deviation: roundings are uniform.
Array as_deviation(Array worst) {
  for (double& x : worst.values()) x /= std::sqrt(3.0);
  return worst;
}

class LocalGradients : public GradientView {
 public:
  LocalGradients(const Case& file, const golden::PrecisionSchedule& schedule,
                 const Tolerance& tolerance, RowNoise* noise, const Ledger& tensors,
                 HandedGradients& handed)
      : GradientView(file, schedule, tolerance, noise, handed),
        inputs_(own_inputs(schedule, tensors)),
        own_gradients_(own_gradients(handed)) {}

  // What is handed over may be a rounding of what was computed with.
  bool gives(const NodeData& node) override { return inputs_.replaced(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    Array value = inputs_.value(node.name);
    Array error = as_deviation(rounding_error(schedule_.storage_of(node.name), value));
    return {std::move(value), std::move(error)};
  }

  bool gives_gradient(const NodeData& node) override { return own_gradients_(node.name); }
  std::pair<Array, Array> given_gradient(const NodeData& node) override {
    Array value = handed_.ledger().values(kGrad + node.name);
    Array error = as_deviation(rounding_error(schedule_.storage, value));
    return {std::move(value), std::move(error)};
  }

  void observe_gradient(const NodeData& node, const Array& gradient,
                        const Array& deviation) override {
    const std::string name = kGrad + node.name;
    if (!is_handed(name)) return;
    CheckpointRow& row = *handed_.find(name);
    const Comparison seen = compare(row, gradient, deviation);
    row.local_compared = true;
    row.local_outside = seen.outside;
    row.local_ratio = seen.max_ratio;
  }

 private:
  const LocalInputs inputs_;
  const GivenGradient own_gradients_;
};

// Of a weight that the loss does not depend on: 0 everywhere.
void compare_with_zero(const Case& file, HandedGradients& handed, std::optional<Failure>& first) {
  for (const Checkpoint& gradient : file.zero_gradients) {
    CheckpointRow* row = handed.find(gradient.name);
    if (row == nullptr || handed.ledger().find_values(gradient.name) == nullptr) continue;
    const Array given = handed.ledger().values(gradient.name);
    const Array due = Array::zeros(given.shape());
    const Comparison seen = compare_exactly(due.values(), given.values());
    row->compared = row->local_compared = true;
    row->free_outside = row->local_outside = seen.outside;
    row->free_ratio = row->local_ratio = seen.max_ratio;
    row->rms_error = seen.rms_error;
    if (first || seen.outside == 0) continue;
    first = Failure{gradient.name,
                    seen,
                    {due.values().begin(), due.values().end()},
                    {given.values().begin(), given.values().end()},
                    std::vector<double>(static_cast<std::size_t>(due.size()))};
  }
}

}  // namespace

GivenGradient own_gradients(const HandedGradients& handed) {
  return [&handed](const std::string& name) {
    const CompactTensor* own = handed.ledger().find_values(kGrad + name);
    return own != nullptr && own->readable();
  };
}

std::optional<Failure> free_gradients(const Case& file, const golden::PrecisionSchedule& schedule,
                                      const Tolerance& tolerance, RowNoise* noise,
                                      const Ledger& tensors, HandedGradients& handed,
                                      GoldenValues& golden) {
  const int loss = file.graph->find("loss");
  if (MadeAgain missing(handed, golden); missing.any_missing()) {
    reference::evaluate_with_gradient(*file.graph, file.bindings, loss, missing, missing);
  }
  FreeGradients view(file, schedule, tolerance, noise, tensors, handed, golden);
  reference::evaluate_gradient_with_error(*file.graph, file.bindings, loss, schedule, view,
                                          tolerance.reach());
  std::optional<Failure> first = view.first();
  compare_with_zero(file, handed, first);
  return first;
}

std::optional<Failure> local_gradients(const Case& file, const golden::PrecisionSchedule& schedule,
                                       const Tolerance& tolerance, RowNoise* noise,
                                       const Ledger& tensors, HandedGradients& handed) {
  LocalGradients view(file, schedule, tolerance, noise, tensors, handed);
  reference::evaluate_gradient_with_error(*file.graph, file.bindings, file.graph->find("loss"),
                                          schedule, view, tolerance.reach());
  return view.first();
}

}  // namespace assay::verify
