#include "golden/suites/suite_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/precision.h"
#include "golden/contract/random.h"
#include "golden/suites/exact_weights.h"

namespace assay::golden {
namespace {

bool about(const std::string& name, std::initializer_list<const char*> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const char* part) { return name.find(part) != std::string::npos; });
}

// Powers of two, so that every value is still a bfloat16.
class LargeWeights : public WeightSource {
 public:
  LargeWeights(const ModelConfig& config, uint64_t seed) : drawn_(config, seed) {}
  void read(const std::string& name, std::span<double> out) const override {
    drawn_.read(name, out);
    static constexpr auto kEmbeddings = {"embed_tokens", "wte"};
    static constexpr auto kMatrices = {"o_proj",  "down_proj",     "gate_proj",
                                       "up_proj", "c_proj.weight", "c_fc.weight"};
    const double factor = about(name, kEmbeddings) ? 64 : about(name, kMatrices) ? 4 : 1;
    for (double& value : out) value *= factor;
  }

 private:
  SyntheticWeights drawn_;
};

class Float32Weights : public WeightSource {
 public:
  Float32Weights(const ModelConfig& config, uint64_t seed) : drawn_(config, seed), seed_(seed) {}
  void read(const std::string& name, std::span<double> out) const override {
    drawn_.read(name, out);
    std::vector<uint32_t> words(out.size());
    random_words(seed_, stream_id(name + "#float32"), 0, words);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double off = (words[i] + 0.5) * 0x1p-31 - 1.0;  // in (-1, 1)
      out[i] = round_to(Precision::fp32, out[i] * (1 + off / 64));
    }
  }

 private:
  SyntheticWeights drawn_;
  uint64_t seed_;
};

class PositiveWeights : public WeightSource {
 public:
  PositiveWeights(const ModelConfig& c, uint64_t seed)
      : drawn_(c, seed),
        before_v_((c.num_attention_heads + c.num_key_value_heads) * c.head_dim),
        c_attn_columns_(before_v_ + c.num_key_value_heads * c.head_dim) {}
  void read(const std::string& name, std::span<double> out) const override {
    drawn_.read(name, out);
    if (about(name, {"q_proj", "k_proj", "lm_head"})) return;
    const bool q_k_v = about(name, {"c_attn"});  // side by side: [D,N] or [N]
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto column = static_cast<int64_t>(i) % c_attn_columns_;
      if (!q_k_v || column >= before_v_) out[i] = std::fabs(out[i]);
    }
  }

 private:
  SyntheticWeights drawn_;
  int64_t before_v_, c_attn_columns_;
};

class RaisedWeights : public WeightSource {
 public:
  RaisedWeights(const ModelConfig& c, uint64_t seed) : drawn_(c, seed), c_(c) {
    if (c.method == "pt") {
      throw InputError("data raised: expected a method with scores of attention, got pt");
    }
    if (c.qk_norm) {
      throw InputError("data raised: expected a model whose q and k are not normed, got qk_norm");
    }
  }
  void read(const std::string& name, std::span<double> out) const override {
    drawn_.read(name, out);
    if (c_.block == BlockKind::gpt2) {
      read_gpt2(name, out);
    } else {
      read_llama(name, out);
    }
  }

 private:
  static constexpr double kStream = 64, kGain = 8, kWritten = 0.25, kWeight = 6, kBias = 32;

  void read_llama(const std::string& name, std::span<double> out) const {
    const auto D = static_cast<std::size_t>(c_.hidden_size);
    if (about(name, {"embed_tokens"})) {
      for (std::size_t i = 0; i < out.size(); i += D) out[i] = kStream;
    } else if (name.ends_with("norm.weight")) {
      for (double& gain : out) gain *= kGain;
      out[0] = 1;
    } else if (about(name, {"o_proj", "down_proj"})) {  // [D,..], [D]: nothing writes to channel 0
      for (double& weight : out) weight *= kWritten;
      std::fill_n(out.begin(), out.size() / D, 0.0);
    } else if (about(name, {"q_proj.weight", "k_proj.weight"})) {  // [H Dh,D]
      const auto Dh = static_cast<std::size_t>(c_.head_dim);
      for (std::size_t row = 0; row < out.size() / D; ++row) {
        const std::size_t channel = row % Dh;
        if (channel != Dh / 2 - 1 && channel != Dh - 1) continue;
        std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(row * D), D, 0.0);
        if (channel == Dh / 2 - 1) out[row * D] = kWeight;
      }
    }
  }

  void read_gpt2(const std::string& name, std::span<double> out) const {
    if (!about(name, {"c_attn"})) return;
    const int64_t q_k = (c_.num_attention_heads + c_.num_key_value_heads) * c_.head_dim;
    const int64_t columns = q_k + c_.num_key_value_heads * c_.head_dim;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const int64_t column = static_cast<int64_t>(i) % columns;
      if (column >= q_k || column % c_.head_dim != 0) continue;
      out[i] = name.ends_with("bias") ? kBias : 0;
    }
  }

  SyntheticWeights drawn_;
  ModelConfig c_;
};

std::unique_ptr<WeightSource> make_weights(const SuiteCase& c) {
  switch (c.settings.data) {
    case Data::drawn:
      return std::make_unique<SyntheticWeights>(c.config, c.settings.seed);
    case Data::exact:
      return std::make_unique<ExactWeights>(c.config, c.settings.seed);
    case Data::large:
      return std::make_unique<LargeWeights>(c.config, c.settings.seed);
    case Data::positive:
      return std::make_unique<PositiveWeights>(c.config, c.settings.seed);
    case Data::float32:
      return std::make_unique<Float32Weights>(c.config, c.settings.seed);
    case Data::raised:
      return std::make_unique<RaisedWeights>(c.config, c.settings.seed);
  }
  throw InternalError("make_weights: no such Data");
}

std::vector<uint8_t> mask_of(const SuiteCase& c) {
  std::vector<uint8_t> mask;
  for (std::size_t b = 0; b < static_cast<std::size_t>(c.batch); ++b) {
    for (int64_t t = 0; t < c.positions; ++t) {
      mask.push_back(t >= c.left_of(b) && t < c.positions - c.right_of(b) ? 1 : 0);
    }
  }
  return mask;
}

}  // namespace

CaseData case_data(const SuiteCase& c) {
  try {
    const Data data = c.settings.data;
    return {.tokens =
                data == Data::exact
                    ? exact_tokens(c.config.vocab_size, c.batch, c.positions, c.settings.seed)
                    : synthetic_tokens(c.config.vocab_size, c.batch, c.positions, c.settings.seed),
            .attention_mask = mask_of(c),
            .weights = make_weights(c),
            .drawn_from_seed = data == Data::drawn};
  } catch (const InputError& error) {
    throw InputError(fmt::format("case {}: {}", c.name, error.what()));
  }
}

}  // namespace assay::golden
