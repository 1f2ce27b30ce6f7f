// Laws in which the next token is uniform over a range, or one certain token:
//
//   p(x) = (1 - a) / n  for x in first .. first + n - 1,  and a more for the target
//
// uniform and canaries: a = 0. Copy: n random tokens, then the same again (a = 1 - noise there).
// Induction: the target is what followed the last token when it was last seen (Olsson et al.,
// "In-context Learning and Induction Heads", 2022, the pattern [A][B] .. [A] -> [B]).
#include <cmath>
#include <vector>

#include "datasets/known/makers.h"

namespace assay::datasets {
namespace {

struct Spike {
  double a = 0;
  int32_t target = 0;
  int32_t first = 0;
  int64_t n = 1;

  bool in_range(int32_t token) const { return token >= first && token < first + n; }
  double probability(int32_t token) const {
    if (!in_range(token)) return 0;
    return (1 - a) / static_cast<double>(n) + (token == target ? a : 0);
  }
  int32_t quantile(double u) const {
    if (u < a) return target;
    const auto at = static_cast<int64_t>((u - a) / (1 - a) * static_cast<double>(n));
    return first + static_cast<int32_t>(std::min(at, n - 1));
  }
  Surprise surprise() const {
    const double others = static_cast<double>(n - 1), rest = (1 - a) / static_cast<double>(n);
    const double hit = rest + a, l = -std::log(hit), r = rest > 0 ? -std::log(rest) : 0;
    const double mean = hit * l + others * rest * r;
    return {mean, std::max(0.0, hit * l * l + others * rest * r * r - mean * mean)};
  }
};

class SpikedPredictor : public Predictor {
 public:
  double probability(int32_t token) const override { return spike_.probability(token); }
  int32_t quantile(double u) const override { return spike_.quantile(u); }
  Surprise surprise() const override { return spike_.surprise(); }

 protected:
  Spike spike_;
};

class RangePredictor : public SpikedPredictor {
 public:
  RangePredictor(int32_t first, int64_t n) { spike_ = {0, first, first, n}; }
  void observe(int32_t) override {}
};

class RangeLaw : public Law {
 public:
  RangeLaw(int64_t vocab, int64_t first, int64_t n) : vocab_(vocab), first_(first), n_(n) {}
  int64_t vocab_size() const override { return vocab_; }
  std::unique_ptr<Predictor> begin() const override {
    return std::make_unique<RangePredictor>(static_cast<int32_t>(first_), n_);
  }
  std::optional<double> entropy_rate() const override { return std::log(static_cast<double>(n_)); }
  std::optional<int64_t> memory() const override { return 0; }
  std::optional<double> constant_surprise() const override { return entropy_rate(); }

 private:
  int64_t vocab_, first_, n_;
};

class CopyPredictor : public SpikedPredictor {
 public:
  CopyPredictor(int64_t vocab, std::size_t length, double noise) : length_(length), noise_(noise) {
    spike_.n = vocab;
  }
  void observe(int32_t token) override {
    if (at_ < length_) {
      block_.push_back(token);
    }
    if (++at_ == 2 * length_) {
      at_ = 0;
      block_.clear();
    }
    const bool copies = at_ >= length_;
    spike_.a = copies ? 1 - noise_ : 0;
    if (copies) spike_.target = block_[at_ - length_];
  }

 private:
  std::size_t length_, at_ = 0;
  double noise_;
  std::vector<int32_t> block_;
};

class CopyLaw : public Law {
 public:
  CopyLaw(int64_t vocab, int64_t length, double noise)
      : vocab_(vocab), length_(length), noise_(noise) {}
  int64_t vocab_size() const override { return vocab_; }
  std::unique_ptr<Predictor> begin() const override {
    return std::make_unique<CopyPredictor>(vocab_, static_cast<std::size_t>(length_), noise_);
  }
  std::optional<double> entropy_rate() const override {
    return (std::log(static_cast<double>(vocab_)) +
            Spike{1 - noise_, 0, 0, vocab_}.surprise().mean) /
           2;
  }
  std::optional<int64_t> memory() const override { return std::nullopt; }  // the phase

 private:
  int64_t vocab_, length_;
  double noise_;
};

class InductionPredictor : public SpikedPredictor {
 public:
  InductionPredictor(int64_t vocab, double repeat)
      : repeat_(repeat), follower_(static_cast<std::size_t>(vocab), -1) {
    spike_.n = vocab;
  }
  void observe(int32_t token) override {
    spike_.a = 0;
    const bool known = token >= 0 && static_cast<std::size_t>(token) < follower_.size();
    if (last_ >= 0 && known) follower_[static_cast<std::size_t>(last_)] = token;
    last_ = known ? token : -1;
    if (!known || follower_[static_cast<std::size_t>(token)] < 0) return;
    spike_.a = repeat_;
    spike_.target = follower_[static_cast<std::size_t>(token)];
  }

 private:
  double repeat_;
  std::vector<int32_t> follower_;
  int32_t last_ = -1;
};

class InductionLaw : public Law {
 public:
  InductionLaw(int64_t vocab, double repeat) : vocab_(vocab), repeat_(repeat) {}
  int64_t vocab_size() const override { return vocab_; }
  std::unique_ptr<Predictor> begin() const override {
    return std::make_unique<InductionPredictor>(vocab_, repeat_);
  }
  // Once every token has been seen.
  std::optional<double> entropy_rate() const override {
    return Spike{repeat_, 0, 0, vocab_}.surprise().mean;
  }
  std::optional<int64_t> memory() const override { return std::nullopt; }

 private:
  int64_t vocab_;
  double repeat_;
};

}  // namespace

std::unique_ptr<Law> make_uniform(Settings& settings) {
  const int64_t vocab = settings.whole("vocab", 256, 2, kMostVocabulary);
  return std::make_unique<RangeLaw>(vocab, 0, vocab);
}

std::unique_ptr<Law> make_canaries(Settings& settings) {
  const int64_t vocab = settings.whole("vocab", 50257, 2, kMostVocabulary);
  const int64_t subset = settings.whole("subset", std::min<int64_t>(256, vocab), 2, vocab);
  const int64_t first = settings.whole("first", 0, 0, vocab - subset);
  return std::make_unique<RangeLaw>(vocab, first, subset);
}

std::unique_ptr<Law> make_copy(Settings& settings) {
  const int64_t vocab = settings.whole("vocab", 64, 2, kMostVocabulary);
  const int64_t length = settings.whole("length", 16, 1, int64_t{1} << 20);
  return std::make_unique<CopyLaw>(vocab, length, settings.number("noise", 0, 0, 1));
}

std::unique_ptr<Law> make_induction(Settings& settings) {
  const int64_t vocab = settings.whole("vocab", 64, 2, kMostVocabulary);
  return std::make_unique<InductionLaw>(vocab, settings.number("repeat", 0.9, 0, 1));
}

}  // namespace assay::datasets
