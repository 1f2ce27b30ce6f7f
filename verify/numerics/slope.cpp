#include "verify/numerics/slope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include "reference/interpreters/error.h"
#include "verify/numerics/subgraph.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {
namespace {

using golden::Precision;
using reference::Array;
using reference::NodeData;

// Of the unit roundoff: what roundings have in common that depend on what they round. Of a density
// that falls off like a normal one at its tail it is below a hundredth.
constexpr double kDependence = 1.0 / 32;

constexpr std::array<std::string_view, 2> kNorms{"rms_norm", "layer_norm"};
constexpr std::array<std::string_view, 6> kOthers{"linear", "split_heads", "add",
                                                  "swiglu", "gelu",        "gelu_tanh"};

template <class List>
bool holds(const List& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// Names of the checkpoints that are judged.
std::vector<std::string> judged_names(const Case& file, const golden::PrecisionSchedule& schedule,
                                      const LocalInputs& inputs, const Ledger& ledger) {
  std::vector<std::string> names;
  for (const Checkpoint& checkpoint : file.asked) {
    const int id = file.graph->find(checkpoint.name);
    const Precision storage = schedule.storage_of(checkpoint.name);
    if (storage != Precision::bf16 && storage != Precision::fp16) continue;
    if (ledger.find_values(checkpoint.name) == nullptr) continue;
    const std::vector<std::string> operations = operations_inside(*file.graph, id);
    const bool known =
        std::all_of(operations.begin(), operations.end(), [&](const std::string& name) {
          return holds(kNorms, name) || (!inputs.held_wider && holds(kOthers, name));
        });
    if (!known || !start_of(*file.graph, id, inputs.replaced).between.empty()) continue;
    names.push_back(checkpoint.name);
  }
  return names;
}

struct Sums {
  double error_along = 0, size_sq = 0;  // sum e x, sum x^2
  double variance = 0;                  // V
  double alike = 0;                     // sum w |x|
};

// The sums of one norm of error analysis.
class SlopeObserver : public reference::ErrorObserver {
 public:
  SlopeObserver(const Case& file, const golden::PrecisionSchedule& schedule,
                reference::ErrorNorm norm, const LocalInputs& inputs, const Ledger& ledger,
                std::map<std::string, Sums>& sums)
      : file_(file),
        schedule_(schedule),
        norm_(norm),
        inputs_(inputs),
        ledger_(ledger),
        sums_(sums) {}

  bool wants(const NodeData& node) override { return sums_.contains(node.name); }
  bool gives(const NodeData& node) override { return inputs_.replaced(node.name); }

  std::pair<Array, Array> given(const NodeData& node) override {
    Array value = inputs_.value(node.name);
    const bool moves = inputs_.held_wider && norm_ == reference::ErrorNorm::deviation;
    if (!moves) return {std::move(value), Array()};
    Array error = rounding_error(schedule_.storage_of(node.name), value);
    for (double& e : error.values()) e /= std::sqrt(3.0);  // uniform
    return {std::move(value), std::move(error)};
  }

  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

  void observe(const NodeData& node, const Array& value, const Array& error) override {
    Sums& sums = sums_.at(node.name);
    if (norm_ == reference::ErrorNorm::worst) {
      for (int64_t i = 0; i < value.size(); ++i) {
        sums.alike += error.data()[i] * std::fabs(value.data()[i]);
      }
      return;
    }
    add_rows(schedule_.storage_of(node.name), value, ledger_.values(node.name), error, sums);
  }

 private:
  void add_rows(Precision storage, const Array& value, const Array& candidate, const Array& error,
                Sums& sums) const {
    const double unit = golden::unit_roundoff(storage);
    const int64_t width = std::max<int64_t>(1, value.shape().empty() ? 1 : value.shape().back());
    std::map<std::string_view, std::pair<double, double>> rows;  // by their bytes: m, variance
    for (int64_t first = 0; first < value.size(); first += width) {
      double variance = 0, alike = 0;
      for (int64_t i = first; i < first + width; ++i) {
        const double x = value.data()[i];
        const double deviation = std::hypot(error.data()[i], unit * x / std::sqrt(3.0));
        sums.error_along += (candidate.data()[i] - golden::round_to(storage, x)) * x;
        sums.size_sq += x * x;
        sums.alike += kDependence * unit * x * x;
        variance += deviation * deviation * x * x;
        alike += deviation * std::fabs(x);
      }
      const std::string_view bytes(reinterpret_cast<const char*>(value.data() + first),
                                   static_cast<std::size_t>(width) * sizeof(double));
      auto& [count, of_one] = rows[bytes];
      count += 1;
      of_one = inputs_.held_wider ? alike * alike : variance;
    }
    for (const auto& [bytes, row] : rows) sums.variance += row.first * row.first * row.second;
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  reference::ErrorNorm norm_;
  const LocalInputs& inputs_;
  const Ledger& ledger_;
  std::map<std::string, Sums>& sums_;
};

}  // namespace

double Slope::ratio() const { return excess == 0 ? 0 : std::fabs(excess) / bound; }

std::vector<Slope> slope_view(const Case& file, const golden::PrecisionSchedule& schedule,
                              double false_alarm_rate, const LocalInputs& inputs,
                              const Ledger& ledger) {
  const std::vector<std::string> names = judged_names(file, schedule, inputs, ledger);
  if (names.empty()) return {};
  const double z = two_sided_normal_quantile(false_alarm_rate / static_cast<double>(names.size()));
  std::map<std::string, Sums> sums;
  for (const std::string& name : names) sums[name] = {};

  SlopeObserver roundings(file, schedule, reference::ErrorNorm::deviation, inputs, ledger, sums);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule,
                                 reference::ErrorNorm::deviation, roundings, z);
  golden::PrecisionSchedule inside = schedule;
  inside.storage = schedule.accumulate;
  inside.eager = false;
  SlopeObserver alike(file, schedule, reference::ErrorNorm::worst, inputs, ledger, sums);
  reference::evaluate_with_error(*file.graph, file.bindings, inside, reference::ErrorNorm::worst,
                                 alike);

  std::vector<Slope> slopes;
  for (const std::string& name : names) {
    const Sums& sum = sums.at(name);
    if (!(sum.size_sq > 0) || !std::isfinite(sum.error_along)) continue;
    slopes.push_back({name, sum.error_along / sum.size_sq,
                      (sum.alike + z * std::sqrt(sum.variance)) / sum.size_sq});
  }
  return slopes;
}

}  // namespace assay::verify
