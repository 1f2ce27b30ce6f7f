// Rows of tokens to train on, and the state of a trainer by name.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "golden/contract/error.h"
#include "golden/contract/weights.h"
#include "reference/methods/registry.h"
#include "reference/training/trainer.h"
#include "tests/reference/models.h"
#include "tests/reference/prob_transformer/variants.h"

namespace assay::reference::testing {

struct Rows {
  int64_t B = 0, T = 0;
  std::vector<int32_t> tokens, labels;
  std::vector<uint8_t> mask;

  Rows(const golden::ModelConfig& config, int64_t batch, int64_t positions, uint64_t seed)
      : B(batch),
        T(positions),
        tokens(golden::synthetic_tokens(config.vocab_size, batch, positions, seed)),
        labels(tokens),
        mask(tokens.size(), 1) {
    mask[0] = 0;  // a position of padding
    labels[0] = -100;
  }
  // Rows first .. first + count - 1.
  Rows some(int64_t first, int64_t count) const {
    Rows part = *this;
    part.B = count;
    const auto cut = [&](auto& all) {
      all.erase(all.begin() + (first + count) * T, all.end());
      all.erase(all.begin(), all.begin() + first * T);
    };
    cut(part.tokens);
    cut(part.labels);
    cut(part.mask);
    return part;
  }
  TrainingBatch view() const { return {B, T, tokens, mask, labels}; }
};

// Every method and block, and the Probabilistic Transformer with every option.
inline std::vector<golden::ModelConfig> every_model(int64_t layers = 3) {
  std::vector<golden::ModelConfig> all = every_method(layers);
  for (const Variant& variant : pt_all_variants()) all.push_back(variant.config);
  return all;
}

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

template <class Read>
Values values_of(const Trainer& trainer, const Read& read) {
  Values values;
  for (const golden::TensorInfo& info : trainer.weights()) {
    const std::span<const double> own = read(info.name);
    values[info.name].assign(own.begin(), own.end());
  }
  return values;
}

inline Values weights_of(const Trainer& trainer) {
  return values_of(trainer, [&](const std::string& name) { return trainer.weight(name); });
}

struct Moments {
  Values first, second;
  bool operator==(const Moments&) const = default;
};
inline Moments moments_of(const Trainer& trainer) {
  return {values_of(trainer, [&](const std::string& name) { return trainer.first_moment(name); }),
          values_of(trainer, [&](const std::string& name) { return trainer.second_moment(name); })};
}

}  // namespace assay::reference::testing
