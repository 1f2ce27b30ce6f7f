#include "cuda_impl/engine/score_coefficients.h"

#include <cmath>

#include "cuda_impl/engine/convert.h"
#include "golden/error.h"
#include "golden/methods.h"
#include "golden/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

using Values = std::vector<double>;

// The learned parameters of one layer's scores, rounded to S.
template <class S>
class Parameters {
 public:
  Parameters(const golden::ModelConfig& config, const golden::WeightSource& source, int64_t layer)
      : config_(config), source_(source), layer_(layer) {}

  Values operator()(const std::string& name, int64_t count) const {
    Values values(static_cast<std::size_t>(count));
    source_.read(golden::layer_weight(config_, layer_, "self_attn.score." + name), values);
    for (double& value : values) value = widen(narrow<S>(value));
    return values;
  }
  double scalar(const std::string& name) const { return (*this)(name, 1)[0]; }

 private:
  const golden::ModelConfig& config_;
  const golden::WeightSource& source_;
  int64_t layer_;
};

template <class F>
Values each(const Values& x, const F& f) {
  Values y;
  for (const double value : x) y.push_back(f(value));
  return y;
}

Values softmax(const Values& z) {
  double total = 0;
  for (const double value : z) total += std::exp(value);
  return each(z, [=](double value) { return std::exp(value) / total; });
}

// c_{l,i} of methods 5.1 to 5.8, i = 0 .. l.
template <class S>
Values scalar_coefficients(const golden::ModelConfig& config, int64_t layer,
                           const Parameters<S>& parameter) {
  const int64_t count = layer + 1;
  const double Dh = static_cast<double>(config.head_dim), root = std::sqrt(Dh);
  const double m = static_cast<double>(count);
  const std::string& id = config.method;
  const std::string form = golden::form_of(config);
  const auto all = [&](double c) { return Values(static_cast<std::size_t>(count), c); };

  if (id == "5.1") return all(1 / root);
  if (id == "5.2") return all(1 / std::sqrt(Dh * m));
  if (id == "5.3") return all(1 / (m * root));
  if (id == "5.4") {
    return all(1 / (std::pow(Dh, parameter.scalar("a")) * std::pow(m, parameter.scalar("b"))));
  }
  if (id == "5.8") return all(1 / std::pow(Dh, parameter.scalar("a")));
  if (id == "5.5" && form == "softmax") {
    return each(softmax(parameter("z", count)), [=](double share) { return m * share / root; });
  }
  if (id == "5.5" && form == "exp") {
    return each(parameter("alpha", count), [=](double a) { return 1 / (std::exp(a) * root); });
  }
  if (id == "5.5") {
    return each(parameter("a", count), [=](double a) { return 1 / (a * root); });
  }
  const Values a = form == "log" ? each(parameter("u", count), [](double u) { return std::exp(u); })
                                 : parameter("a", count);
  if (id == "5.7") return each(a, [](double divisor) { return 1 / divisor; });
  ASSAY_CHECK(id == "5.6", id);
  const Values b = parameter("b", count);
  Values c;
  for (std::size_t i = 0; i < a.size(); ++i) c.push_back(1 / (a[i] * std::pow(Dh, b[i])));
  return c;
}

}  // namespace

template <class S>
ScoreCoefficients<S>::ScoreCoefficients(const golden::ModelConfig& config,
                                        const golden::WeightSource& weights)
    : has_offset_(config.method == "C-base") {
  using golden::Family;
  const Family family = golden::find_method(config.method).family;
  const std::string& id = config.method;
  const int64_t P = golden::score_positions_of(config);
  const double root = std::sqrt(static_cast<double>(config.head_dim));
  const auto factor = [=](double w) { return std::exp(w) / root; };
  std::vector<A> all;
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    const Parameters<S> parameter(config, weights, l);
    const int64_t m = l + 1;
    Table table{.first = all.size(), .strides = {.layer = 1}};
    Values values{1 / root};
    if (family == Family::score_accumulation) {
      values = scalar_coefficients(config, l, parameter);
    } else if (id == "5.1A") {
      table.strides = {.layer = P * P, .query = P, .key = 1};
      values = each(parameter("w", m * P * P), factor);
    } else if (id == "5.1B" || id == "5.1C") {
      table.strides = {.layer = P, .query = id == "5.1C", .key = id == "5.1B"};
      values = each(parameter("w", m * P), factor);
    } else if (id == "C-base") {
      table.strides = {.query = 1};
      values = each(parameter("w", P), [=](double w) { return (std::exp(w) + 1) / root; });
      table.offset = table.first + values.size();
      const Values c = parameter("c", P);
      values.insert(values.end(), c.begin(), c.end());
    }
    for (const double value : values) all.push_back(static_cast<A>(value));
    tables_.push_back(table);
  }
  memory_ = simt::Buffer<A>(all);
}

template <class S>
Coefficients<accum_t<S>> ScoreCoefficients<S>::of(int64_t layer) const {
  const Table& table = tables_[static_cast<std::size_t>(layer)];
  Coefficients<A> result = table.strides;
  result.data = memory_.get() + table.first;
  return result;
}

template <class S>
const accum_t<S>* ScoreCoefficients<S>::offset_of(int64_t layer) const {
  return has_offset_ ? memory_.get() + tables_[static_cast<std::size_t>(layer)].offset : nullptr;
}

#define ASSAY_INSTANTIATE(S) template class ScoreCoefficients<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
