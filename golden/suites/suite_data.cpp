#include "golden/suites/suite_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
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
