// Markov chains of any order, and hidden ones.
//
// A row of probabilities is drawn from the law's seed and the name of its context: with r_v uniform
// in (0,1], element v of the row's stream (golden/contract/random.h),
//
//   (1)  p(v) = r_v^s / sum_w r_w^s,   s the setting `sharpness`, a whole number
//
// Markov chain of order k: the context is the k tokens before, and "none" where the sequence had
// not begun, so that the first tokens have probabilities, too.
//
// Hidden Markov model with states i: pi_i = 1/S, rows A_i over states, rows B_i over tokens;
//   (2)  p(x_t = v | x_<t) = sum_i f_i B_i(v),   f the state's law given x_<t
//   (3)  f'_j = sum_i f_i B_i(x_t) A_ij / p(x_t | x_<t)             (the forward filter)
// Source: Rabiner, "A Tutorial on Hidden Markov Models", 1989, equations 19 and 20.
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "datasets/known/dense.h"
#include "datasets/known/makers.h"
#include "golden/contract/random.h"

namespace assay::datasets {
namespace {

constexpr int64_t kMostRowElements = int64_t{1} << 22;  // 32 MB of rows

// (1)
std::vector<double> drawn_row(uint64_t seed, uint64_t stream, int64_t size, int64_t sharpness) {
  std::vector<uint32_t> words(static_cast<std::size_t>(size));
  golden::random_words(seed, stream, 0, words);
  std::vector<double> row(words.size());
  double sum = 0;
  for (std::size_t v = 0; v < words.size(); ++v) {
    const double r = (static_cast<double>(words[v]) + 1) / 4294967296.0;
    double power = 1;
    for (int64_t i = 0; i < sharpness; ++i) power *= r;
    row[v] = power;
    sum += power;
  }
  for (double& p : row) p /= sum;
  return row;
}

struct Row {
  std::vector<double> p;
  Surprise surprise;
};

class MarkovLaw : public Law {
 public:
  MarkovLaw(int64_t vocab, int64_t order, int64_t sharpness, uint64_t seed)
      : vocab_(vocab), order_(order), sharpness_(sharpness), seed_(seed) {}

  int64_t vocab_size() const override { return vocab_; }
  std::optional<int64_t> memory() const override { return order_; }
  std::unique_ptr<Predictor> begin() const override;
  std::optional<double> entropy_rate() const override;

  int64_t order() const { return order_; }
  // The rows are kept until they are many.
  std::shared_ptr<const Row> row(const std::vector<int32_t>& context) const {
    const auto found = rows_.find(context);
    if (found != rows_.end()) return found->second;
    if (static_cast<int64_t>(rows_.size() + 1) * vocab_ > kMostRowElements) rows_.clear();
    std::string name = "markov";
    for (const int32_t token : context) name += "/" + std::to_string(token);
    auto row = std::make_shared<Row>();
    row->p = drawn_row(seed_, golden::stream_id(name), vocab_, sharpness_);
    row->surprise = dense_surprise(row->p);
    rows_[context] = row;
    return row;
  }

 private:
  int64_t vocab_, order_, sharpness_;
  uint64_t seed_;
  mutable std::map<std::vector<int32_t>, std::shared_ptr<const Row>> rows_;
};

class MarkovPredictor : public Predictor {
 public:
  explicit MarkovPredictor(const MarkovLaw& law)
      : law_(law), context_(static_cast<std::size_t>(law.order()), -1), row_(law.row(context_)) {}
  double probability(int32_t token) const override { return dense_probability(row_->p, token); }
  int32_t quantile(double u) const override { return dense_quantile(row_->p, u); }
  Surprise surprise() const override { return row_->surprise; }
  void observe(int32_t token) override {
    if (context_.empty()) return;
    context_.erase(context_.begin());
    context_.push_back(token);
    row_ = law_.row(context_);
  }

 private:
  const MarkovLaw& law_;
  std::vector<int32_t> context_;  // the last is the latest; -1 before the beginning
  std::shared_ptr<const Row> row_;
};

std::unique_ptr<Predictor> MarkovLaw::begin() const {
  return std::make_unique<MarkovPredictor>(*this);
}

// sum over contexts of the stationary probability x the row's entropy, where the table is small.
std::optional<double> MarkovLaw::entropy_rate() const {
  int64_t contexts = 1;
  for (int64_t i = 0; i < order_; ++i) {
    contexts *= vocab_;
    if (contexts * vocab_ > kMostRowElements) return std::nullopt;
  }
  std::vector<Row> table;  // of context number c: its tokens are the digits of c to the base V
  for (int64_t c = 0; c < contexts; ++c) {
    std::vector<int32_t> context(static_cast<std::size_t>(order_));
    int64_t digits = c;
    for (auto token = context.rbegin(); token != context.rend(); ++token, digits /= vocab_) {
      *token = static_cast<int32_t>(digits % vocab_);
    }
    table.push_back(*row(context));
  }
  std::vector<double> now(table.size(), 1.0 / static_cast<double>(contexts)), next(table.size());
  double rate = -1;
  for (int step = 0; step < 10000; ++step) {
    std::fill(next.begin(), next.end(), 0.0);
    double entropy = 0;
    for (int64_t c = 0; c < contexts; ++c) {
      const auto at = static_cast<std::size_t>(c);
      entropy += now[at] * table[at].surprise.mean;
      for (int64_t v = 0; v < vocab_; ++v) {
        next[static_cast<std::size_t>((c * vocab_ + v) % contexts)] +=
            now[at] * table[at].p[static_cast<std::size_t>(v)];
      }
    }
    double change = 0;
    for (std::size_t c = 0; c < now.size(); ++c) change += std::abs(next[c] - now[c]);
    now.swap(next);
    rate = entropy;
    if (change < 1e-13) break;
  }
  return rate;
}

class HiddenMarkovLaw : public Law {
 public:
  HiddenMarkovLaw(int64_t vocab, int64_t states, int64_t sharpness, uint64_t seed) : vocab_(vocab) {
    for (int64_t i = 0; i < states; ++i) {
      const auto stream = [&](const char* what) {
        return golden::stream_id("hidden/" + std::string(what) + "/" + std::to_string(i));
      };
      to_.push_back(drawn_row(seed, stream("state"), states, sharpness));
      emits_.push_back(drawn_row(seed, stream("token"), vocab, sharpness));
    }
  }
  int64_t vocab_size() const override { return vocab_; }
  std::optional<int64_t> memory() const override { return std::nullopt; }
  std::optional<double> entropy_rate() const override { return std::nullopt; }
  std::unique_ptr<Predictor> begin() const override;

  const std::vector<std::vector<double>>& to() const { return to_; }        // A [S,S]
  const std::vector<std::vector<double>>& emits() const { return emits_; }  // B [S,V]

 private:
  int64_t vocab_;
  std::vector<std::vector<double>> to_, emits_;
};

class ForwardFilter : public Predictor {
 public:
  explicit ForwardFilter(const HiddenMarkovLaw& law)
      : law_(law), f_(law.to().size(), 1.0 / static_cast<double>(law.to().size())) {
    predict();
  }
  double probability(int32_t token) const override { return dense_probability(p_, token); }
  int32_t quantile(double u) const override { return dense_quantile(p_, u); }
  Surprise surprise() const override { return dense_surprise(p_); }
  void observe(int32_t token) override {
    const double p = probability(token);
    if (p <= 0) return;  // not of this law: the state stays what it was
    std::vector<double> next(f_.size(), 0.0);
    for (std::size_t i = 0; i < f_.size(); ++i) {  // (3)
      const double now = f_[i] * law_.emits()[i][static_cast<std::size_t>(token)] / p;
      for (std::size_t j = 0; j < f_.size(); ++j) next[j] += now * law_.to()[i][j];
    }
    const double sum = std::accumulate(next.begin(), next.end(), 0.0);
    for (double& value : next) value /= sum;
    f_ = std::move(next);
    predict();
  }

 private:
  void predict() {  // (2)
    p_.assign(static_cast<std::size_t>(law_.vocab_size()), 0.0);
    for (std::size_t i = 0; i < f_.size(); ++i) {
      for (std::size_t v = 0; v < p_.size(); ++v) p_[v] += f_[i] * law_.emits()[i][v];
    }
  }

  const HiddenMarkovLaw& law_;
  std::vector<double> f_, p_;
};

std::unique_ptr<Predictor> HiddenMarkovLaw::begin() const {
  return std::make_unique<ForwardFilter>(*this);
}

}  // namespace

std::unique_ptr<Law> make_markov(Settings& settings) {
  const int64_t vocab = settings.whole("vocab", 64, 2, kMostVocabulary);
  const int64_t order = settings.whole("order", 1, 0, 64);
  const int64_t sharpness = settings.whole("sharpness", 4, 0, 64);
  const int64_t seed = settings.whole("seed", 1, 0, INT64_MAX);
  return std::make_unique<MarkovLaw>(vocab, order, sharpness, static_cast<uint64_t>(seed));
}

std::unique_ptr<Law> make_hidden_markov(Settings& settings) {
  const int64_t vocab = settings.whole("vocab", 64, 2, kMostVocabulary);
  const int64_t states =
      settings.whole("states", 8, 1, std::min<int64_t>(4096, kMostRowElements / vocab));
  const int64_t sharpness = settings.whole("sharpness", 8, 0, 64);
  const int64_t seed = settings.whole("seed", 1, 0, INT64_MAX);
  return std::make_unique<HiddenMarkovLaw>(vocab, states, sharpness, static_cast<uint64_t>(seed));
}

}  // namespace assay::datasets
