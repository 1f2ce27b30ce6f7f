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

int64_t coefficient_count(const golden::ModelConfig& config, const Method& method, int64_t layer) {
  const int64_t terms = method.score_terms(layer), P = golden::score_positions_of(config);
  switch (method.score_axes) {
    case ScoreAxes::none:
      return terms;
    case ScoreAxes::both:
      return terms * P * P;
    default:
      return terms * P;
  }
}

Values scalar_coefficients(const Method& method, int64_t head_dim, int64_t layer,
                           const ScoreParameters& parameters) {
  const double Dh = static_cast<double>(head_dim), root = std::sqrt(Dh);
  const double m = static_cast<double>(layer + 1);
  const auto learned = [&](const char* name) -> const Values& { return parameters.at(name); };
  const auto all = [&](double c) {
    return Values(static_cast<std::size_t>(method.score_terms(layer)), c);
  };
  const auto divisors = [&] {
    return parameters.contains("u") ? each(learned("u"), [](double u) { return std::exp(u); })
                                    : learned("a");
  };

  switch (method.score_form) {
    case ScoreForm::root:
      return all(1 / root);
    case ScoreForm::root_of_layers:
      return all(1 / std::sqrt(Dh * m));
    case ScoreForm::mean:
      return all(1 / (m * root));
    case ScoreForm::power:
      return all(1 / std::pow(Dh, learned("a")[0]));
    case ScoreForm::powers:
      return all(1 / (std::pow(Dh, learned("a")[0]) * std::pow(m, learned("b")[0])));
    case ScoreForm::divided_root:
      if (parameters.contains("z")) {
        return each(softmax(learned("z")), [=](double share) { return m * share / root; });
      }
      if (parameters.contains("alpha")) {
        return each(learned("alpha"), [=](double a) { return 1 / (std::exp(a) * root); });
      }
      return each(divisors(), [=](double divisor) { return 1 / (divisor * root); });
    case ScoreForm::divisor:
      return each(divisors(), [](double divisor) { return 1 / divisor; });
    case ScoreForm::divided_power: {
      const Values a = divisors();
      const Values& b = learned("b");
      Values c;
      for (std::size_t i = 0; i < a.size(); ++i) c.push_back(1 / (a[i] * std::pow(Dh, b[i])));
      return c;
    }
    case ScoreForm::exponential:
    case ScoreForm::exponential_plus_one:
      break;
  }
  throw InternalError("scalar_coefficients: those of the method depend on positions");
}

ScoreParameters scalar_coefficients_gradient(const Method& method, int64_t Dh, int64_t layer,
                                             const ScoreParameters& parameters, const Values& dc) {
  const Values c = scalar_coefficients(method, Dh, layer, parameters);
  Values c_dc;  // d ln c_i
  for (std::size_t i = 0; i < c.size(); ++i) c_dc.push_back(c[i] * dc[i]);
  const double log_Dh = std::log(static_cast<double>(Dh));
  const double log_m = std::log(static_cast<double>(layer + 1));
  const bool has_powers = method.score_form == ScoreForm::powers;  // of Dh and of m
  const bool has_power = method.score_form == ScoreForm::power;

  ScoreParameters gradient;
  for (const auto& [name, values] : parameters) {
    if (name == "alpha" || name == "u") {
      gradient[name] = each(c_dc, [](double x) { return -x; });
    } else if (name == "z") {
      const Values shares = softmax(values);
      for (std::size_t i = 0; i < shares.size(); ++i) {
        gradient[name].push_back(c_dc[i] - shares[i] * total(c_dc));
      }
    } else if (name == "a" && (has_powers || has_power)) {
      gradient[name] = {-log_Dh * total(c_dc)};
    } else if (name == "b" && has_powers) {
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
