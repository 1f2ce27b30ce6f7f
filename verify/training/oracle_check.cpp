#include "verify/training/oracle_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <vector>

namespace assay::verify::training {
namespace {

// Counts as they come, after contexts of 0 to 3 tokens. Each order leans on the one below it by
// `weight` counts, the lowest on half a count for each token (Krichevsky and Trofimov, 1981):
//   p_k(x) = (n(context, x) + weight p_{k-1}(x)) / (n(context) + weight)
class AdaptiveCoder {
 public:
  static constexpr std::size_t kOrders = 4;
  using Probabilities = std::array<double, kOrders>;  // by order

  AdaptiveCoder(int64_t vocab, double weight)
      : vocab_(static_cast<double>(vocab)), weight_(weight) {}

  void begin_row() { context_.clear(); }
  // Orders of which the row has too few tokens yet give what the one below gives.
  Probabilities probabilities(int32_t token) const {
    Probabilities p;
    p[0] = (count(singles_, static_cast<uint64_t>(token)) + 0.5) / (seen_ + 0.5 * vocab_);
    for (std::size_t order = 1; order < kOrders; ++order) {
      p[order] = p[order - 1];
      if (context_.size() < order) continue;
      const uint64_t key = key_of(order);
      p[order] = (count(pairs_, with(key, token)) + weight_ * p[order - 1]) /
                 (count(contexts_, key) + weight_);
    }
    return p;
  }
  void learn(int32_t token) {
    ++singles_[static_cast<uint64_t>(token)];
    ++seen_;
    for (std::size_t order = 1; order < kOrders && order <= context_.size(); ++order) {
      const uint64_t key = key_of(order);
      ++contexts_[key];
      ++pairs_[with(key, token)];
    }
    context_.push_back(token);
    if (context_.size() >= kOrders) context_.erase(context_.begin());
  }
  double entropy() const {
    double sum = 0;
    for (const auto& [token, n] : singles_) sum -= n / seen_ * std::log(n / seen_);
    return sum + (static_cast<double>(singles_.size()) - 1) / (2 * seen_);
  }

 private:
  using Counts = std::unordered_map<uint64_t, double>;
  static double count(const Counts& counts, uint64_t key) {
    const auto found = counts.find(key);
    return found == counts.end() ? 0 : found->second;
  }
  static uint64_t with(uint64_t key, int32_t token) {  // the finaliser of splitmix64
    uint64_t x = key + (static_cast<uint64_t>(token) + 1) * 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }
  uint64_t key_of(std::size_t order) const {
    uint64_t key = order;
    for (std::size_t i = context_.size() - order; i < context_.size(); ++i) {
      key = with(key, context_[i]);
    }
    return key;
  }

  double vocab_, weight_, seen_ = 0;
  Counts singles_, contexts_, pairs_;
  std::vector<int32_t> context_;  // the last is the latest
};

// use(i, starts a row) for every counted token, up to a million.
template <class Use>
void each_token(const TokenSet& set, Use&& use) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  for (std::size_t i = 0; i < std::min(kMost, set.targets.size()); ++i) {
    if (!set.is_counted(i) || set.targets[i] < 0) continue;
    use(i, static_cast<int64_t>(i) % set.positions == 0 || !set.is_counted(i - 1));
  }
}

int64_t vocab_of(const TokenSet& set, const TokenSet* known) {
  int64_t vocab = 2;
  for (const int32_t token : set.targets) vocab = std::max(vocab, int64_t{token} + 1);
  if (known == nullptr) return vocab;
  for (const int32_t token : known->targets) vocab = std::max(vocab, int64_t{token} + 1);
  return vocab;
}

// Far more than rounding of a stored oracle could give.
std::string by_coder(const TokenSet& set, const TokenSet* known, int64_t vocab, double weight) {
  constexpr double kGain = 20;  // nats
  AdaptiveCoder coder(vocab, weight);
  const auto learn = [&](const TokenSet& from) {
    return [&](std::size_t i, bool starts) {
      if (starts) coder.begin_row();
      coder.learn(from.targets[i]);
    };
  };
  if (known != nullptr) each_token(*known, learn(*known));
  std::array<double, AdaptiveCoder::kOrders> sums{}, highest{};
  each_token(set, [&](std::size_t i, bool starts) {
    if (starts) coder.begin_row();
    const auto p = coder.probabilities(set.targets[i]);
    const double oracle = set.oracle[i] - set.oracle_resolution.slack(set.oracle[i]);
    for (std::size_t order = 0; order < p.size(); ++order) {
      sums[order] += oracle + std::log(p[order]);
      highest[order] = std::max(highest[order], sums[order]);
    }
    coder.learn(set.targets[i]);
  });
  const auto most = std::max_element(highest.begin(), highest.end());
  if (*most < kGain) return "";
  return fmt::format(
      "counting tokens after contexts of {} predicts them better than the oracle, "
      "by {:.0f} nats",
      most - highest.begin(), *most);
}

// Contexts that are seen often, and those of which many are seen seldom.
std::string by_coders(const TokenSet& set, const TokenSet* known) {
  const int64_t vocab = vocab_of(set, known);
  const std::string sharp = by_coder(set, known, vocab, 1);
  return !sharp.empty() ? sharp : by_coder(set, known, vocab, static_cast<double>(vocab) / 4);
}

std::string by_expectation(const TokenSet& set) {
  constexpr double kSigmas = 7;
  double sum = 0, expected = 0, variance = 0, tokens = 0;
  for (std::size_t i = 0; i < set.expected.size(); ++i) {
    if (!set.is_counted(i)) continue;
    sum += set.oracle[i];
    expected += set.expected[i].mean;
    variance += set.expected[i].variance;
    ++tokens;
  }
  if (tokens == 0 || variance < 1e-9 * tokens) return "";
  // The sum of few tokens has tails that no normal law has: the bound allows for one rare token.
  constexpr double kRare = 40;  // nats
  const double off = std::abs(sum - expected);
  if (off <= kSigmas * std::sqrt(variance) + kRare) return "";
  return fmt::format("-log p is {:.4f} a token on average, and of the oracle's own tokens {:.4f}",
                     sum / tokens, expected / tokens);
}

// Losses beside the oracle `shift` tokens on.
struct Together {
  double tokens = 0;
  double loss = 0, oracle = 0;  // means
  double loss_deviation = 0, oracle_deviation = 0;
  double correlation = 0;  // 0 where one of the two has a single value
};

Together together(const TokenSet& set, int64_t shift) {
  double n = 0, sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
  for (std::size_t i = 0; i < set.size(); ++i) {
    const int64_t t = static_cast<int64_t>(i) % set.positions + shift;
    if (t < 0 || t >= set.positions || !set.is_counted(i)) continue;
    const auto other = static_cast<std::size_t>(static_cast<int64_t>(i) + shift);
    const double x = set.losses[i], y = set.oracle[other];
    if (!set.is_counted(other) || !std::isfinite(x) || !std::isfinite(y)) continue;
    n += 1;
    sx += x;
    sy += y;
    sxx += x * x;
    syy += y * y;
    sxy += x * y;
  }
  Together both{.tokens = n};
  if (n < 32) return both;
  const double vx = sxx - sx * sx / n, vy = syy - sy * sy / n;
  both.loss = sx / n;
  both.oracle = sy / n;
  both.loss_deviation = std::sqrt(std::max(0.0, vx / n));
  both.oracle_deviation = std::sqrt(std::max(0.0, vy / n));
  if (vx < 1e-9 * n || vy < 1e-9 * n) return both;
  both.correlation = (sxy - sx * sy / n) / std::sqrt(vx * vy);
  return both;
}

// Losses of a model that knows the law are spread as the oracle is, and go with it: where they are
// spread so and do not go with it, they are of other tokens.
bool are_of_others(const Together& own) {
  constexpr double kTokens = 256, kUnrelated = 0.1, kAlike = 0.25, kSpread = 0.2;  // nats
  const auto alike = [](double a, double b) { return std::abs(a - b) < kAlike * b; };
  return own.tokens >= kTokens && std::abs(own.correlation) < kUnrelated &&
         own.oracle_deviation > kSpread && alike(own.loss_deviation, own.oracle_deviation) &&
         alike(own.loss, own.oracle);
}

}  // namespace

std::string oracle_problem(const TokenSet& set, const TokenSet* known) {
  if (set.oracle.empty()) return "";
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (!set.is_counted(i) || std::isfinite(set.oracle[i])) continue;
    return fmt::format("the token at row {}, position {} cannot be, by the oracle",
                       static_cast<int64_t>(i) / set.positions,
                       static_cast<int64_t>(i) % set.positions);
  }
  std::string expectation = by_expectation(set);
  if (!expectation.empty() || set.targets.empty()) return expectation;
  return by_coders(set, known);
}

std::string alignment_problem(const TokenSet& set) {
  constexpr double kClear = 0.5, kAhead = 0.3;
  if (set.oracle.empty() || set.positions < 4) return "";
  const Together at_its_own = together(set, 0);
  const double own = at_its_own.correlation;
  for (const int64_t shift : {-1, 1}) {
    const double other = together(set, shift).correlation;
    if (other < kClear || other < own + kAhead) continue;
    return fmt::format(
        "losses go with the oracle of the token {} (correlation {:.2f}, with their "
        "own {:.2f}): they are shifted by one against the tokens",
        shift < 0 ? "before" : "after", other, own);
  }
  if (!are_of_others(at_its_own)) return "";
  return fmt::format(
      "losses do not go with the oracle of their tokens (correlation {:.2f}), though they are "
      "spread as it is: rows may stand in another order than the tokens'",
      own);
}

TokenStatistics token_statistics(const TokenSet& set) {
  TokenStatistics found;
  if (set.targets.empty()) return found;
  AdaptiveCoder coder(vocab_of(set, nullptr), 1);
  double gain = 0;
  each_token(set, [&](std::size_t i, bool starts) {
    if (starts) coder.begin_row();
    const auto p = coder.probabilities(set.targets[i]);
    gain += std::log(p[1]) - std::log(p[0]);
    coder.learn(set.targets[i]);
    ++found.tokens;
  });
  if (found.tokens == 0) return found;
  found.unigram_entropy = coder.entropy();
  found.pair_gain = gain / static_cast<double>(found.tokens);
  return found;
}

}  // namespace assay::verify::training
