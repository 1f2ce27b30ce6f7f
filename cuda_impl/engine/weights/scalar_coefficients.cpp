#include "cuda_impl/engine/weights/scalar_coefficients.h"

#include <cmath>
#include <numeric>

#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

using Values = std::vector<double>;

template <class F>
Values each(const Values& x, const F& f) {
  Values y;
  for (const double value : x) y.push_back(f(value));
  return y;
}

double total(const Values& x) { return std::accumulate(x.begin(), x.end(), 0.0); }

Values softmax(const Values& z) {
  const Values powers = each(z, [](double value) { return std::exp(value); });
  return each(powers, [sum = total(powers)](double power) { return power / sum; });
}

// -c_i dc_i / x_i: of c_i proportional to 1 / x_i
Values of_divisor(const Values& c_dc, const Values& x) {
  Values dx;
  for (std::size_t i = 0; i < x.size(); ++i) dx.push_back(-c_dc[i] / x[i]);
  return dx;
}

}  // namespace

int64_t coefficient_count(const golden::ModelConfig& config, int64_t layer) {
  const int64_t m = layer + 1, P = golden::score_positions_of(config);
  if (config.method == "5.1A") return m * P * P;
  if (config.method == "5.1B" || config.method == "5.1C") return m * P;
  return config.method == "C-base" ? P : m;
}

Values scalar_coefficients(const golden::ModelConfig& config, int64_t layer,
                           const ScoreParameters& parameters) {
  const double Dh = static_cast<double>(config.head_dim), root = std::sqrt(Dh);
  const double m = static_cast<double>(layer + 1);
  const std::string& id = config.method;
  const auto learned = [&](const char* name) -> const Values& { return parameters.at(name); };
  const auto all = [&](double c) { return Values(static_cast<std::size_t>(layer + 1), c); };

  if (id == "5.1") return all(1 / root);
  if (id == "5.2") return all(1 / std::sqrt(Dh * m));
  if (id == "5.3") return all(1 / (m * root));
  if (id == "5.4") {
    return all(1 / (std::pow(Dh, learned("a")[0]) * std::pow(m, learned("b")[0])));
  }
  if (id == "5.8") return all(1 / std::pow(Dh, learned("a")[0]));
  if (parameters.contains("z")) {
    return each(softmax(learned("z")), [=](double share) { return m * share / root; });
  }
  if (parameters.contains("alpha")) {
    return each(learned("alpha"), [=](double a) { return 1 / (std::exp(a) * root); });
  }
  const Values a = parameters.contains("u")
                       ? each(learned("u"), [](double u) { return std::exp(u); })
                       : learned("a");
  if (id == "5.5") return each(a, [=](double divisor) { return 1 / (divisor * root); });
  if (id == "5.7") return each(a, [](double divisor) { return 1 / divisor; });
  ASSAY_CHECK(id == "5.6", id);
  const Values& b = learned("b");
  Values c;
  for (std::size_t i = 0; i < a.size(); ++i) c.push_back(1 / (a[i] * std::pow(Dh, b[i])));
  return c;
}

ScoreParameters scalar_coefficients_gradient(const golden::ModelConfig& config, int64_t layer,
                                             const ScoreParameters& parameters, const Values& dc) {
  const Values c = scalar_coefficients(config, layer, parameters);
  Values c_dc;  // d ln c_i
  for (std::size_t i = 0; i < c.size(); ++i) c_dc.push_back(c[i] * dc[i]);
  const double log_Dh = std::log(static_cast<double>(config.head_dim));
  const double log_m = std::log(static_cast<double>(layer + 1));
  const std::string& id = config.method;

  ScoreParameters gradient;
  for (const auto& [name, values] : parameters) {
    if (name == "alpha" || name == "u") {
      gradient[name] = each(c_dc, [](double x) { return -x; });
    } else if (name == "z") {
      const Values shares = softmax(values);
      for (std::size_t i = 0; i < shares.size(); ++i) {
        gradient[name].push_back(c_dc[i] - shares[i] * total(c_dc));
      }
    } else if (name == "a" && (id == "5.4" || id == "5.8")) {
      gradient[name] = {-log_Dh * total(c_dc)};
    } else if (name == "b" && id == "5.4") {
      gradient[name] = {-log_m * total(c_dc)};
    } else if (name == "a") {
      gradient[name] = of_divisor(c_dc, values);
    } else {
      ASSAY_CHECK(name == "b", name);
      gradient[name] = each(c_dc, [=](double x) { return -log_Dh * x; });
    }
  }
  return gradient;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
