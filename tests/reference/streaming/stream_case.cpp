#include "tests/reference/streaming/stream_case.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <random>

#include "golden/contract/error.h"
#include "golden/contract/weights.h"
#include "reference/methods/registry.h"
#include "tests/reference/models.h"
#include "tests/reference/prob_transformer/variants.h"

namespace assay::reference::testing {
namespace {

using Random = std::mt19937_64;

int64_t within(Random& random, int64_t least, int64_t most) {
  return least + static_cast<int64_t>(random() % static_cast<uint64_t>(most - least + 1));
}
bool one_in(Random& random, int64_t n) { return within(random, 1, n) == 1; }

// A window and what goes with it; methods with parameters per position keep theirs.
void draw_window(Random& random, ModelConfig& config) {
  if (config.method == "pt" || one_in(random, 5)) return;
  config.window = within(random, 1, 9);
  if (one_in(random, 2)) config.sink_tokens = within(random, 1, 4);
  if (config.num_hidden_layers > 1 && one_in(random, 6)) {
    config.full_layers = {within(random, 0, config.num_hidden_layers - 1)};
  }
  if (one_in(random, 3)) {
    config.window_kind = golden::WindowKind::dynamic;
    config.window_min = within(random, 1, config.window);
  }
}

void draw_options(Random& random, const ModelConfig& config, StreamOptions& options) {
  options.batch = within(random, 1, 3);
  options.chunk = within(random, 1, 8);
  options.padding =
      one_in(random, 2) ? StreamOptions::Padding::left : StreamOptions::Padding::right;
  const bool windowed = config.window > 0 && config.full_layers.empty();
  if (!windowed) {
    options.capacity = kMostPositions;
  } else if (one_in(random, 2)) {
    const int64_t least = config.window_kind == golden::WindowKind::dynamic ? 2 : 1;
    options.capacity = std::max({config.window, options.chunk, least}) + within(random, 0, 3);
  }
}

// Padding in front, in the middle, or nowhere.
std::vector<uint8_t> draw_mask(Random& random, int64_t positions) {
  std::vector<uint8_t> real(static_cast<std::size_t>(positions), 1);
  if (!one_in(random, 3)) return real;
  if (one_in(random, 2)) {
    std::fill_n(real.begin(), within(random, 0, positions - 1), uint8_t{0});
  } else {
    for (uint8_t& one : real) one = one_in(random, 4) ? 0 : 1;
  }
  return real;
}

class LogitsAlone final : public Observer {
 public:
  bool wants(const NodeData& node) override { return node.name == "logits"; }
  Array observe(const NodeData&, Array value) override {
    values.assign(value.values().begin(), value.values().end());
    return value;
  }
  std::vector<double> values;
};

}  // namespace

std::string StreamCase::title() const {
  std::vector<std::size_t> lengths;
  for (const auto& sequence : tokens) lengths.push_back(sequence.size());
  return fmt::format(
      "{}, {} layers, {} window {}, least {}, sinks {}, full layers [{}]; chunk {}, capacity {}, "
      "padding {}, lengths {}",
      reference::testing::title(config), config.num_hidden_layers,
      golden::window_kind_name(config.window_kind), config.window, config.window_min,
      config.sink_tokens, fmt::join(config.full_layers, ","), options.chunk, options.capacity,
      options.padding == StreamOptions::Padding::left ? "left" : "right", fmt::join(lengths, ","));
}

std::vector<ModelConfig> streamed_configs() {
  std::vector<ModelConfig> configs = every_method();
  ModelConfig scaled = ragged_config("5.1");
  scaled.rope_scaling = golden::RopeScaling{.factor = 8,
                                            .low_freq_factor = 1,
                                            .high_freq_factor = 4,
                                            .original_max_position_embeddings = 16};
  configs.push_back(scaled);
  for (const Variant& variant : pt_variants()) {
    ModelConfig config = variant.config;
    if (config.pt.message == PT::Message::full) config.pt.message = PT::Message::head;
    config.pt.causal_heads = true;
    configs.push_back(config);
  }
  return configs;
}

StreamCase stream_case(uint64_t seed, int64_t index) {
  static const std::vector<ModelConfig> configs = streamed_configs();
  Random random(seed * 1000003 + static_cast<uint64_t>(index));
  StreamCase one;
  // A step that no length of a list divides: a short campaign meets every kind.
  one.config = configs[static_cast<std::size_t>(index) * 37 % configs.size()];
  one.seed = seed * 7919 + static_cast<uint64_t>(index);
  if (one.config.method != "pt") one.config.num_hidden_layers = within(random, 1, 4);
  draw_window(random, one.config);
  draw_options(random, one.config, one.options);
  for (int64_t b = 0; b < one.options.batch; ++b) {
    const int64_t positions = within(random, 1, one_in(random, 3) ? 40 : 16);
    one.tokens.push_back(golden::synthetic_tokens(one.config.vocab_size, 1, positions, random()));
    one.real.push_back(draw_mask(random, positions));
  }
  return one;
}

std::vector<std::vector<double>> whole_passes(const StreamCase& one) {
  const Tensors weights = synthetic_weights(one.config, one.seed);
  std::vector<std::vector<double>> all;
  for (std::size_t b = 0; b < one.tokens.size(); ++b) {
    Inputs inputs{1, static_cast<int64_t>(one.tokens[b].size()), {}, {}, {}};
    inputs.tokens.assign(one.tokens[b].begin(), one.tokens[b].end());
    inputs.attention_mask.assign(one.real[b].begin(), one.real[b].end());
    inputs.labels.assign(one.tokens[b].size(), -100);
    LogitsAlone logits;
    evaluate(*build_model(one.config, 1, inputs.positions), bind_model(inputs, weights), logits);
    all.push_back(std::move(logits.values));
  }
  return all;
}

std::vector<std::vector<double>> streamed(const StreamCase& one, uint64_t cuts, bool again) {
  const golden::SyntheticWeights weights(one.config, one.seed);
  StreamedModel model(one.config, weights, one.options);
  Random random(cuts);
  const auto v = static_cast<std::size_t>(one.config.vocab_size);
  std::vector<std::vector<double>> all;
  for (const auto& sequence : one.tokens) all.emplace_back(sequence.size() * v);

  const auto piece = [&](std::size_t b) {
    const auto done = static_cast<std::size_t>(model.length(static_cast<int64_t>(b)));
    ASSAY_CHECK(done < one.tokens[b].size(), fmt::format("{} of {}", done, one.tokens[b].size()));
    const std::size_t rest = one.tokens[b].size() - done;
    const std::size_t n = std::min(rest, static_cast<std::size_t>(within(random, 1, 12)));
    return Piece{.sequence = static_cast<int64_t>(b),
                 .tokens = std::span(one.tokens[b]).subspan(done, n),
                 .logits = std::span(all[b]).subspan(done * v, n * v),
                 .real = std::span(one.real[b]).subspan(done, n)};
  };
  const auto run = [&](const std::vector<std::size_t>& sequences) {
    while (true) {
      std::vector<Piece> pieces;
      bool left = false;
      for (const std::size_t b : sequences) {
        if (model.length(static_cast<int64_t>(b)) == static_cast<int64_t>(one.tokens[b].size())) {
          continue;
        }
        left = true;
        if (!one_in(random, 3)) pieces.push_back(piece(b));
      }
      if (!left) return;
      std::shuffle(pieces.begin(), pieces.end(), random);
      if (!pieces.empty()) model.append(pieces);
    }
  };
  std::vector<std::size_t> sequences;
  for (std::size_t b = 0; b < one.tokens.size(); ++b) sequences.push_back(b);
  run(sequences);
  if (again) {
    model.reset(0);
    std::fill(all[0].begin(), all[0].end(), 0.0);
    run({0});
  }
  return all;
}

std::string difference(const StreamCase& one, const std::vector<std::vector<double>>& whole,
                       const std::vector<std::vector<double>>& stream) {
  const auto v = static_cast<std::size_t>(one.config.vocab_size);
  for (std::size_t b = 0; b < whole.size(); ++b) {
    ASSAY_CHECK(whole[b].size() == stream[b].size(), fmt::format("{}", whole[b].size()));
    for (std::size_t i = 0; i < whole[b].size(); ++i) {
      if (std::bit_cast<uint64_t>(whole[b][i]) == std::bit_cast<uint64_t>(stream[b][i])) continue;
      return fmt::format("sequence {}, position {}, word {}: whole pass {:.17g}, stream {:.17g}", b,
                         i / v, i % v, whole[b][i], stream[b][i]);
    }
  }
  return "";
}

}  // namespace assay::reference::testing
