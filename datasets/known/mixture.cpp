// A mixture: each sequence comes from one of several laws, and nothing says which.
//
//   (1)  p(x_t | x_<t) = sum_i w_i p_i(x_t | x_<t)
//   (2)  w'_i = w_i p_i(x_t | x_<t) / p(x_t | x_<t)                                (Bayes)
#include <cmath>

#include "datasets/known/dense.h"
#include "datasets/known/makers.h"

namespace assay::datasets {
namespace {

class MixtureLaw : public Law {
 public:
  explicit MixtureLaw(std::vector<MixturePart> parts) : parts_(std::move(parts)) {}

  int64_t vocab_size() const override {
    int64_t most = 0;
    for (const MixturePart& part : parts_) most = std::max(most, part.law->vocab_size());
    return most;
  }
  std::optional<int64_t> memory() const override { return std::nullopt; }
  std::unique_ptr<Predictor> begin() const override;
  // In the limit it shows which law it is.
  std::optional<double> entropy_rate() const override {
    double rate = 0;
    for (const MixturePart& part : parts_) {
      const std::optional<double> own = part.law->entropy_rate();
      if (!own) return std::nullopt;
      rate += part.weight * *own;
    }
    return rate;
  }
  const std::vector<MixturePart>& parts() const { return parts_; }

 private:
  std::vector<MixturePart> parts_;
};

class MixturePredictor : public Predictor {
 public:
  explicit MixturePredictor(const MixtureLaw& law)
      : p_(static_cast<std::size_t>(law.vocab_size())) {
    for (const MixturePart& part : law.parts()) {
      weights_.push_back(part.weight);
      parts_.push_back(part.law->begin());
    }
  }
  double probability(int32_t token) const override {
    double p = 0;  // (1)
    for (std::size_t i = 0; i < parts_.size(); ++i)
      p += weights_[i] * parts_[i]->probability(token);
    return p;
  }
  int32_t quantile(double u) const override { return dense_quantile(all(), u); }
  Surprise surprise() const override { return dense_surprise(all()); }
  void observe(int32_t token) override {
    const double p = probability(token);
    double sum = 0;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (p > 0) weights_[i] *= parts_[i]->probability(token) / p;  // (2)
      sum += weights_[i];
      parts_[i]->observe(token);
    }
    for (double& weight : weights_) weight /= sum;
  }

 private:
  std::span<const double> all() const {
    for (std::size_t v = 0; v < p_.size(); ++v) p_[v] = probability(static_cast<int32_t>(v));
    return p_;
  }

  std::vector<double> weights_;
  std::vector<std::unique_ptr<Predictor>> parts_;
  mutable std::vector<double> p_;
};

std::unique_ptr<Predictor> MixtureLaw::begin() const {
  return std::make_unique<MixturePredictor>(*this);
}

}  // namespace

std::unique_ptr<Law> make_mixture(std::vector<MixturePart> parts) {
  return std::make_unique<MixtureLaw>(std::move(parts));
}

}  // namespace assay::datasets
