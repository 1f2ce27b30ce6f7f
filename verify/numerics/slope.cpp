#include "verify/numerics/slope.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
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
    if (ledger.restrictions(checkpoint.name).any()) continue;
    if (!inputs.replaced(file.graph->node(file.graph->node(id).inputs[0]).name)) continue;
    names.push_back(checkpoint.name);
  }
  return names;
}

// The ways in which the roundings of a norm are made again.
enum class Chain { once, each_step, root_first, root_and_each_step };
constexpr std::array kChains{Chain::once, Chain::each_step, Chain::root_first,
                             Chain::root_and_each_step};

// A norm with its operands: x = c r gain + bias, c the input, in a LayerNorm less its mean.
struct Norm {
  Array input, gain, bias;  // bias is absent in an RMSNorm
  Precision storage;

  int64_t width() const { return gain.size(); }
  double bias_at(int64_t d) const { return bias.absent() ? 0 : bias.data()[d]; }

  // c of a row of the input.
  std::vector<double> centred(const double* in) const {
    std::vector<double> c(in, in + width());
    if (bias.absent()) return c;
    const double mean = std::accumulate(c.begin(), c.end(), 0.0) / static_cast<double>(width());
    for (double& value : c) value -= mean;
    return c;
  }

  // r, from the largest c; 0 where there is none.
  double inverse_root(const double* x, const std::vector<double>& c) const {
    int64_t most = -1;
    const auto size = [&](int64_t d) { return std::fabs(c[static_cast<std::size_t>(d)]); };
    for (int64_t d = 0; d < width(); ++d) {
      if (gain.data()[d] != 0 && size(d) > 0 && (most < 0 || size(d) > size(most))) most = d;
    }
    if (most < 0) return 0;
    return (x[most] - bias_at(most)) / gain.data()[most] / c[static_cast<std::size_t>(most)];
  }

  // root: what rounding r does to it, as a factor.
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

// 0 where `undefined` holds: such elements add nothing to a sum along x.
Array cleared(const std::function<bool(int64_t)>& undefined, const Array& values) {
  if (!undefined) return values;
  Array left = Array::copy_of(values.shape(), values.values());
  for (int64_t i = 0; i < left.size(); ++i) {
    if (undefined(i)) left.data()[i] = 0;
  }
  return left;
}

// Sums over elements whose roundings are alike, squared.
class AlikeGroups {
 public:
  // Of column d; alike are those with one `key`.
  void add(int64_t d, double key, double term) {
    sums_[(std::bit_cast<uint64_t>(key) * 0x9e3779b97f4a7c15) ^ static_cast<uint64_t>(d)] += term;
  }
  double sum() const {
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

  void observe(const NodeData& node, const Array& due, const Array& error) override {
    const auto undefined = file_.undefined.in(node);
    const Array x = cleared(undefined, due);
    const auto operand = [&](std::size_t i) { return file_.graph->node(node.inputs[i]); };
    const Norm norm{cleared(undefined, inputs_.value(operand(0).name)), file_.bindings(operand(1)),
                    node.inputs.size() > 2 ? file_.bindings(operand(2)) : Array(),
                    schedule_.storage_of(node.name)};
    const Array candidate = cleared(undefined, ledger_.values(node.name));
    double size_sq = 0;
    for (const double value : x.values()) size_sq += value * weighted(norm.storage, value);
    const double along = least_along(norm, x, candidate);
    if (!(size_sq > 0) || !std::isfinite(along)) return;
    found.push_back({node.name, along / size_sq, bound(norm, x, error) / size_sq});
  }

  std::vector<Slope> found;

 private:
  // x / s^2, with s the spacing at x: so every element counts alike.
  static double weighted(Precision storage, double x) {
    const double spacing = golden::spacing(storage, x);
    return x / spacing / spacing;
  }

  static double least_along(const Norm& norm, const Array& x, const Array& candidate) {
    std::array<double, kChains.size()> along{};
    for (int64_t first = 0; first < x.size(); first += norm.width()) {
      const double r = norm.inverse_root(x.data() + first, norm.centred(norm.input.data() + first));
      const double root = r == 0 ? 1 : golden::round_to(norm.storage, r) / r;
      for (int64_t d = 0; d < norm.width(); ++d) {
        const double value = x.data()[first + d], got = candidate.data()[first + d];
        const double direction = weighted(norm.storage, value);
        for (std::size_t k = 0; k < kChains.size(); ++k) {
          along[k] += (got - norm.rounded(kChains[k], value, d, root)) * direction;
        }
      }
    }
    return *std::min_element(along.begin(), along.end(),
                             [](double a, double b) { return std::fabs(a) < std::fabs(b); });
  }

  double bound(const Norm& norm, const Array& x, const Array& error) const {
    AlikeGroups own, of_inputs;
    double alike = 0;
    for (int64_t first = 0; first < x.size(); first += norm.width()) {
      const double* in = norm.input.data() + first;
      const std::vector<double> slopes = slopes_of_inputs(norm, x.data() + first, in);
      for (int64_t d = 0; d < norm.width(); ++d) {
        const double value = x.data()[first + d];
        const double size = std::fabs(weighted(norm.storage, value));
        const double spacing = golden::spacing(norm.storage, value);
        alike += error.data()[first + d] * size;
        own.add(d, std::floor(value / spacing * 4) * spacing, spacing * size);
        of_inputs.add(
            d, in[d],
            golden::spacing(norm.storage, in[d]) * std::fabs(slopes[static_cast<std::size_t>(d)]));
      }
    }
    return alike + z_ * std::sqrt(own.sum() / 3 + of_inputs.sum() / 12);
  }

  // d_j = d (sum_i v_i y_i) / d in_j with v held: p_j - mean(p) - c_j (sum p_i c_i) / (sum c_i^2),
  // p_i = v_i gain_i r; without the mean in an RMSNorm.
  static std::vector<double> slopes_of_inputs(const Norm& norm, const double* x, const double* in) {
    const std::vector<double> c = norm.centred(in);
    const double r = norm.inverse_root(x, c);
    std::vector<double> p(c.size());
    double sum = 0, along = 0, square = 0;
    for (std::size_t d = 0; d < p.size(); ++d) {
      p[d] = weighted(norm.storage, x[d]) * norm.gain.data()[d] * r;
      sum += p[d];
      along += p[d] * c[d];
      square += c[d] * c[d];
    }
    const double mean = norm.bias.absent() ? 0 : sum / static_cast<double>(p.size());
    for (std::size_t d = 0; d < p.size(); ++d) {
      p[d] -= mean + (square == 0 ? 0 : c[d] * along / square);
    }
    return p;
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
