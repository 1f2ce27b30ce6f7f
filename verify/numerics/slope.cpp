#include "verify/numerics/slope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <unordered_map>

#include "reference/interpreters/error.h"
#include "verify/numerics/subgraph.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {
namespace {

using golden::Precision;
using reference::Array;
using reference::NodeData;

bool is_norm(const reference::Graph& graph, int id) {
  const std::vector<std::string> operations = operations_inside(graph, id);
  return operations.size() == 1 && (operations[0] == "rms_norm" || operations[0] == "layer_norm");
}

// Names of the checkpoints that are judged.
std::vector<std::string> judged_names(const Case& file, const golden::PrecisionSchedule& schedule,
                                      const LocalInputs& inputs, const Ledger& ledger) {
  std::vector<std::string> names;
  for (const Checkpoint& checkpoint : file.asked) {
    const Precision storage = schedule.storage_of(checkpoint.name);
    if (storage != Precision::bf16 && storage != Precision::fp16) continue;
    const int id = file.graph->find(checkpoint.name);
    if (ledger.find_values(checkpoint.name) == nullptr || !is_norm(*file.graph, id)) continue;
    if (!inputs.replaced(file.graph->node(file.graph->node(id).inputs[0]).name)) continue;
    names.push_back(checkpoint.name);
  }
  return names;
}

// The ways in which the roundings of a norm are made again.
enum class Chain { once, each_step, root_first, root_and_each_step };
constexpr std::array kChains{Chain::once, Chain::each_step, Chain::root_first,
                             Chain::root_and_each_step};

// A norm with its operands: x = quotient * gain + bias.
struct Norm {
  Array input, gain, bias;  // bias is absent in an RMSNorm
  Precision storage;

  double bias_at(int64_t d) const { return bias.absent() ? 0 : bias.data()[d]; }

  // What rounding the root does to the quotients of a row of an RMSNorm, as a factor.
  double root_factor(const double* x, const double* in) const {
    if (!bias.absent()) return 1;
    int64_t most = -1;
    for (int64_t d = 0; d < gain.size(); ++d) {
      const bool usable = gain.data()[d] != 0 && in[d] != 0;
      if (usable && (most < 0 || std::fabs(in[d]) > std::fabs(in[most]))) most = d;
    }
    if (most < 0) return 1;
    const double inverse_root = x[most] / gain.data()[most] / in[most];
    return golden::round_to(storage, inverse_root) / inverse_root;
  }

  double rounded(Chain chain, double x, int64_t d, double root) const {
    const double g = gain.data()[d], b = bias_at(d);
    const auto round = [&](double y) { return golden::round_to(storage, y); };
    const bool moved = chain == Chain::root_first || chain == Chain::root_and_each_step;
    const double product = (x - b) * (moved ? root : 1);
    if (chain == Chain::once || chain == Chain::root_first) return round(product + b);
    if (g == 0) return round(b);
    const double scaled = round(round(product / g) * g);
    return bias.absent() ? scaled : round(scaled + b);
  }
};

// Sums over elements whose roundings go the same way, squared.
class AlikeGroups {
 public:
  // x in units of `cell`, in column d.
  void add(int64_t d, double x, double cell, double term) {
    const auto place = static_cast<uint64_t>(std::llround(std::floor(x / cell)));
    sums_[(place * 0x9e3779b97f4a7c15) ^ static_cast<uint64_t>(d)] += term;
  }
  double variance() const {
    double sum = 0;
    for (const auto& [group, term] : sums_) sum += term * term;
    return sum;
  }

 private:
  std::unordered_map<uint64_t, double> sums_;
};

class SlopeObserver : public reference::ErrorObserver {
 public:
  SlopeObserver(const Case& file, const golden::PrecisionSchedule& schedule, double z,
                const LocalInputs& inputs, const Ledger& ledger,
                const std::vector<std::string>& names)
      : file_(file), schedule_(schedule), z_(z), inputs_(inputs), ledger_(ledger), names_(names) {}

  bool wants(const NodeData& node) override {
    return std::find(names_.begin(), names_.end(), node.name) != names_.end();
  }
  bool gives(const NodeData& node) override { return inputs_.replaced(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    return {inputs_.value(node.name), Array()};
  }
  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

  void observe(const NodeData& node, const Array& x, const Array& error) override {
    const auto operand = [&](std::size_t i) { return file_.graph->node(node.inputs[i]); };
    const Norm norm{inputs_.value(operand(0).name), file_.bindings(operand(1)),
                    node.inputs.size() > 2 ? file_.bindings(operand(2)) : Array(),
                    schedule_.storage_of(node.name)};
    const Array candidate = ledger_.values(node.name);
    double size_sq = 0;
    for (const double value : x.values()) size_sq += value * value;
    const double along =
        inputs_.held_wider ? along_due(x, candidate) : least_along(norm, x, candidate);
    if (!(size_sq > 0) || !std::isfinite(along)) return;
    const double most =
        inputs_.held_wider ? bound_of_wider(norm.storage, x) : bound(norm.storage, x, error);
    found.push_back({node.name, along / size_sq, most / size_sq});
  }

  std::vector<Slope> found;

 private:
  static double along_due(const Array& x, const Array& candidate) {
    double along = 0;
    for (int64_t i = 0; i < x.size(); ++i) {
      along += (candidate.data()[i] - x.data()[i]) * x.data()[i];
    }
    return along;
  }

  static double least_along(const Norm& norm, const Array& x, const Array& candidate) {
    const int64_t width = norm.gain.size();
    std::array<double, kChains.size()> along{};
    for (int64_t first = 0; first < x.size(); first += width) {
      const double root = norm.root_factor(x.data() + first, norm.input.data() + first);
      for (int64_t d = 0; d < width; ++d) {
        const double value = x.data()[first + d], got = candidate.data()[first + d];
        for (std::size_t k = 0; k < kChains.size(); ++k) {
          along[k] += (got - norm.rounded(kChains[k], value, d, root)) * value;
        }
      }
    }
    return *std::min_element(along.begin(), along.end(),
                             [](double a, double b) { return std::fabs(a) < std::fabs(b); });
  }

  double bound(Precision storage, const Array& x, const Array& error) const {
    const int64_t width = x.shape().back();
    AlikeGroups groups;
    double alike = 0;
    for (int64_t i = 0; i < x.size(); ++i) {
      const double size = std::fabs(x.data()[i]), w = error.data()[i];
      const double spacing = golden::spacing(storage, x.data()[i]);
      alike += w * size;
      groups.add(i % width, x.data()[i], spacing / 4,
                 spacing * std::sqrt(std::min(1.0, 2 * w / spacing)) * size);
    }
    return alike + z_ * std::sqrt(groups.variance());
  }

  double bound_of_wider(Precision storage, const Array& x) const {
    const int64_t width = x.shape().back();
    const double unit = golden::unit_roundoff(storage);
    AlikeGroups groups;
    double alike = 0, of_rows = 0, of_row = 0;
    for (int64_t i = 0; i < x.size(); ++i) {
      const double term = unit * x.data()[i] * x.data()[i];
      alike += term / 2;
      groups.add(i % width, x.data()[i], golden::spacing(storage, x.data()[i]) / 4, term);
      of_row += term;
      if ((i + 1) % width != 0) continue;
      of_rows += of_row * of_row;
      of_row = 0;
    }
    return alike + z_ * std::sqrt(groups.variance() + of_rows);
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  double z_;
  const LocalInputs& inputs_;
  const Ledger& ledger_;
  const std::vector<std::string>& names_;
};

}  // namespace

double Slope::ratio() const { return excess == 0 ? 0 : std::fabs(excess) / bound; }

std::vector<Slope> slope_view(const Case& file, const golden::PrecisionSchedule& schedule,
                              double false_alarm_rate, const LocalInputs& inputs,
                              const Ledger& ledger) {
  const std::vector<std::string> names = judged_names(file, schedule, inputs, ledger);
  if (names.empty()) return {};
  const double z = two_sided_normal_quantile(false_alarm_rate / static_cast<double>(names.size()));
  golden::PrecisionSchedule inside = schedule;  // of what is not rounded to storage
  inside.storage = schedule.accumulate;
  inside.eager = false;
  SlopeObserver observer(file, schedule, z, inputs, ledger, names);
  reference::evaluate_with_error(*file.graph, file.bindings, inside, reference::ErrorNorm::worst,
                                 observer);
  return std::move(observer.found);
}

}  // namespace assay::verify
