// Brackets of K kinds, nested to a depth of at most D, never closed wrongly: token k opens kind k,
// token K + k closes it. At depth 0 the next opens, at depth D it closes; between, it opens with
// probability `open`, each kind alike.
//
// The depth d is a chain that steps up with u_d (u_0 = 1, u_D = 0, else `open`) and so
//   (1)  pi_d u_d = pi_{d+1} (1 - u_{d+1})                                   (detailed balance)
//   (2)  rate = sum_d pi_d (H(u_d) + u_d log K)
#include <cmath>
#include <vector>

#include "datasets/known/dense.h"
#include "datasets/known/makers.h"

namespace assay::datasets {
namespace {

class BracketsLaw : public Law {
 public:
  BracketsLaw(int64_t kinds, int64_t depth, double open)
      : kinds_(kinds), depth_(depth), open_(open) {}

  int64_t vocab_size() const override { return 2 * kinds_; }
  std::optional<int64_t> memory() const override { return std::nullopt; }
  std::unique_ptr<Predictor> begin() const override;
  std::optional<double> entropy_rate() const override {
    double weight = 1, sum = 0, rate = 0;
    for (int64_t d = 0; d <= depth_; ++d) {
      const double u = up(d), closes = 1 - u;
      const double choice =
          (u > 0 ? -u * std::log(u) : 0) + (closes > 0 ? -closes * std::log(closes) : 0);
      sum += weight;
      rate += weight * (choice + u * std::log(static_cast<double>(kinds_)));  // (2)
      if (d < depth_) weight *= u / (1 - up(d + 1));                          // (1)
    }
    return rate / sum;
  }

  int64_t kinds() const { return kinds_; }
  double up(int64_t depth) const { return depth == 0 ? 1 : depth >= depth_ ? 0 : open_; }

 private:
  int64_t kinds_, depth_;
  double open_;
};

class BracketsPredictor : public Predictor {
 public:
  explicit BracketsPredictor(const BracketsLaw& law) : law_(law) { predict(); }
  double probability(int32_t token) const override { return dense_probability(p_, token); }
  int32_t quantile(double u) const override { return dense_quantile(p_, u); }
  Surprise surprise() const override { return dense_surprise(p_); }
  void observe(int32_t token) override {
    if (probability(token) <= 0) return;  // not of this law
    if (token < law_.kinds()) {
      open_.push_back(token);
    } else {
      open_.pop_back();
    }
    predict();
  }

 private:
  void predict() {
    const auto kinds = static_cast<std::size_t>(law_.kinds());
    const double up = law_.up(static_cast<int64_t>(open_.size()));
    p_.assign(2 * kinds, 0.0);
    for (std::size_t k = 0; k < kinds; ++k) p_[k] = up / static_cast<double>(kinds);
    if (!open_.empty()) p_[kinds + static_cast<std::size_t>(open_.back())] = 1 - up;
  }

  const BracketsLaw& law_;
  std::vector<int32_t> open_;
  std::vector<double> p_;
};

std::unique_ptr<Predictor> BracketsLaw::begin() const {
  return std::make_unique<BracketsPredictor>(*this);
}

}  // namespace

std::unique_ptr<Law> make_brackets(Settings& settings) {
  const int64_t kinds = settings.whole("kinds", 4, 1, kMostVocabulary / 2);
  const int64_t depth = settings.whole("depth", 8, 1, 1 << 20);
  return std::make_unique<BracketsLaw>(kinds, depth, settings.number("open", 0.5, 0.01, 0.99));
}

}  // namespace assay::datasets
