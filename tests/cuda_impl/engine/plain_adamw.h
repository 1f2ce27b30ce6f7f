// Training written a second time: AdamW in plain loops over doubles, with the gradients of a model
// that is made anew from the weights of every step.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "cuda_impl/engine/interface/trainer.h"
#include "golden/contract/names.h"
#include "models.h"

namespace assay::engine_test {

using Values = std::map<std::string, std::vector<double>>;

struct HeldWeights final : golden::WeightSource {
  Values values;
  explicit HeldWeights(Values held) : values(std::move(held)) {}
  void read(const std::string& name, std::span<double> out) const override {
    const std::vector<double>& held = values.at(name);
    if (held.size() != out.size()) throw InputError("weight " + name + ": another size");
    std::copy(held.begin(), held.end(), out.begin());
  }
};

inline cuda::ReceiveTensor into(Values& values) {
  return [&values](const std::string& name, golden::TensorView tensor) {
    values[name].assign(tensor.values.begin(), tensor.values.end());
  };
}

inline Values weights_of(const cuda::Trainer& trainer) {
  Values values;
  trainer.read_weights(into(values));
  return values;
}

struct Moments {
  Values first, second;
  bool operator==(const Moments&) const = default;
};
inline Moments moments_of(const cuda::Trainer& trainer) {
  Moments moments;
  trainer.read_moments(into(moments.first), into(moments.second));
  return moments;
}

inline double norm_of(const Values& all) {
  double squares = 0;
  for (const auto& [name, values] : all) {
    for (const double value : values) squares += value * value;
  }
  return std::sqrt(squares);
}

// g the gradient, shortened to max_norm; m and v the moments, which start at 0; step t counts from
// 1:
//   m = b1 m + (1 - b1) g         v = b2 v + (1 - b2) g^2
//   w = w - rate ( m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay w )
// with decay for matrices alone.
class PlainAdamw {
 public:
  PlainAdamw(const golden::ModelConfig& config, const golden::WeightSource& source,
             const cuda::TrainingOptions& options)
      : config_(config), options_(options) {
    for (const golden::TensorInfo& weight : golden::weight_list(config)) {
      std::vector<double>& values = weights[weight.name];
      values.resize(static_cast<std::size_t>(golden::element_count(weight.shape)));
      source.read(weight.name, values);
      moments.first[weight.name].resize(values.size());
      moments.second[weight.name].resize(values.size());
    }
  }

  cuda::StepReport step(const Tokens& tokens, double rate) {
    Values gradients;
    const double loss =
        cuda::make_host_model(config_, golden::Precision::fp64, HeldWeights(weights))
            ->gradients(tokens.view(), into(gradients));
    const double norm = norm_of(gradients);
    const bool clips = options_.max_norm > 0 && norm > options_.max_norm;
    ++steps_;
    for (const golden::TensorInfo& weight : golden::weight_list(config_)) {
      const double decay = weight.shape.size() >= 2 ? options_.weight_decay : 0;
      for (std::size_t i = 0; i < weights[weight.name].size(); ++i) {
        const double g = gradients.at(weight.name)[i] * (clips ? options_.max_norm / norm : 1);
        double &m = moments.first[weight.name][i], &v = moments.second[weight.name][i];
        m = options_.beta1 * m + (1 - options_.beta1) * g;
        v = options_.beta2 * v + (1 - options_.beta2) * g * g;
        const double m_hat = m / (1 - std::pow(options_.beta1, steps_));
        const double v_hat = v / (1 - std::pow(options_.beta2, steps_));
        double& w = weights[weight.name][i];
        w -= rate * (m_hat / (std::sqrt(v_hat) + options_.eps) + decay * w);
      }
    }
    return {.loss = loss, .gradient_norm = norm};
  }

  Values weights;
  Moments moments;

 private:
  golden::ModelConfig config_;
  cuda::TrainingOptions options_;
  int steps_ = 0;
};

}  // namespace assay::engine_test
