// A subject of two tensors whose logits a test chooses, and the detectors run on it.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "golden/contract/weights.h"
#include "verify/leakage/detectors.h"

namespace assay::verify::fake {

inline constexpr int64_t kB = 2, kT = 9;

inline golden::ModelConfig config() { return golden::preset("tiny"); }

// A subject of two tensors: embed[b,t,:] = token, logits[b,t,0] = f(batch, b, t, call).
class Fake : public Subject {
 public:
  using Logit = std::function<double(const Batch& batch, int64_t b, int64_t t, int call)>;
  explicit Fake(Logit logit) : logit_(std::move(logit)) {}

  std::string describe() const override { return "fake"; }
  Capabilities capabilities() const override { return {.can_run = true, .can_force = false}; }
  golden::PrecisionSchedule precision() const override { return {}; }
  golden::DType dtype_of(const std::string&) const override { return golden::DType::float64; }

  std::unique_ptr<Subject> another() const override {
    if (!can_be_made_again) return nullptr;
    return std::make_unique<Fake>(make_ ? make_() : logit_);
  }

  // A subject that keeps something: each instance has a function of its own.
  static Fake keeping(std::function<Logit()> make) {
    Fake fake(make());
    fake.make_ = std::move(make);
    return fake;
  }

  bool can_be_made_again = true;

  void run(const Batch& batch, const Forced&, const Receive& receive) override {
    ++calls_;
    const golden::ModelConfig c = config();
    golden::Tensor embed{{batch.batch, batch.positions, c.hidden_size}, {}};
    golden::Tensor logits{{batch.batch, batch.positions, c.vocab_size}, {}};
    for (int64_t b = 0; b < batch.batch; ++b) {
      for (int64_t t = 0; t < batch.positions; ++t) {
        const double token = batch.tokens[static_cast<std::size_t>(b * batch.positions + t)];
        embed.values.insert(embed.values.end(), static_cast<std::size_t>(c.hidden_size), token);
        logits.values.insert(logits.values.end(), static_cast<std::size_t>(c.vocab_size),
                             logit_(batch, b, t, calls_));
      }
    }
    receive({"embed", golden::DType::float64, embed});
    receive({"logits", golden::DType::float64, logits});
  }

 private:
  Logit logit_;
  std::function<Logit()> make_;
  int calls_ = 0;
};

inline Batch batch(int64_t rows = kB, int64_t positions = kT) {
  Batch result;
  result.batch = rows;
  result.positions = positions;
  result.tokens = golden::synthetic_tokens(config().vocab_size, rows, positions, 3);
  result.labels = result.tokens;
  result.attention_mask.assign(result.tokens.size(), 1);
  return result;
}

// 0 where the batch, which may be another than batch(), has no such token.
inline double token(const Batch& x, int64_t b, int64_t t) {
  if (b >= x.batch || t >= x.positions) return 0;
  return x.tokens[static_cast<std::size_t>(b * x.positions + t)];
}

// sum_{s<=t} token / (1+s): causal, every position counts.
inline double causal(const Batch& x, int64_t b, int64_t t) {
  double sum = 0;
  for (int64_t s = 0; s <= t; ++s) sum += token(x, b, s) / static_cast<double>(1 + s);
  return sum;
}

inline LeakResult detect(Fake::Logit logit, const Batch& on = batch()) {
  Fake subject(std::move(logit));
  return detect_leaks(subject, config(), on);
}

inline const Check& check(const LeakResult& result, const std::string& name) {
  for (const Check& c : result.checks) {
    if (c.name == name) return c;
  }
  throw std::runtime_error("no check named " + name);
}

}  // namespace assay::verify::fake
