#include "reference/streaming/limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "reference/streaming/ring_cache.h"

namespace assay::reference {
namespace {

constexpr int64_t kMostCached = int64_t{1} << 40;

void check_streams(const golden::ModelConfig& config) {
  golden::validate(config, "config");
  if (config.method != "pt" || golden::prob_transformer_of(config).causal_heads) return;
  throw InputError(
      "stream: method pt with heads on both sides: a word hears from words that have not come yet: "
      "expected causal_heads");
}

}  // namespace

Reach reach_of(const golden::ModelConfig& config) {
  if (config.window == 0 || !config.full_layers.empty()) return {};
  const bool carries = config.window_kind == golden::WindowKind::dynamic;
  return {std::max<int64_t>(config.window, carries ? 2 : 1), config.sink_tokens};
}

Reach partial_reach_of(const golden::ModelConfig& config) {
  const bool fixed = config.window_kind == golden::WindowKind::fixed;
  if (config.full_layers.empty() || !fixed) return {};
  return {config.window, config.window == 0 ? 0 : config.sink_tokens};
}

Parameters parameters_of(const golden::ModelConfig& config) {
  Parameters least;
  const auto limit = [&](int64_t positions, const std::string& what) {
    if (positions < least.positions) least = {positions, what};
  };
  const bool pt = config.method == "pt";
  if (config.block == golden::BlockKind::gpt2 && !pt) {
    limit(config.max_position_embeddings, "max_position_embeddings, one learned position each");
  }
  if (golden::find_method(config.method).takes("score_positions")) {
    limit(golden::score_positions_of(config),
          "score_positions of method " + config.method + ", which learns a value for each");
  }
  return least;
}

StreamOptions settled(const golden::ModelConfig& config, StreamOptions options) {
  check_streams(config);
  const Reach reach = reach_of(config);
  const auto within = [](const char* what, int64_t value, int64_t least) {
    if (value >= least && value <= kMostCached) return;
    throw InputError(fmt::format("stream: {}: expected {} .. 2^40, got {}", what, least, value));
  };
  within("sequences", options.batch, 1);
  within("chunk", options.chunk, 1);
  if (options.capacity == 0 && reach.window == 0) {
    throw InputError(
        "stream: capacity: expected the longest sequence, for without a window in every layer the "
        "cache keeps every position, got none; give a capacity, or the config a window");
  }
  if (options.capacity == 0) options.capacity = std::max(reach.window, options.chunk);
  // A window of one position, and the one before it, from which extremes are carried on.
  if (options.capacity == config.window) options.capacity = std::max(config.window, reach.window);
  within("capacity", options.capacity, 1);
  if (options.capacity < reach.window) {
    throw InputError(fmt::format(
        "stream: capacity: expected at least the window, {} positions, got {}: a query would miss "
        "keys that it sees",
        reach.window, options.capacity));
  }
  const int64_t part = partial_reach_of(config).window;
  if (options.windowed == 0) options.windowed = part;
  if (options.windowed < part) {
    throw InputError(
        fmt::format("stream: windowed: expected at least the window, {} positions, got {}", part,
                    options.windowed));
  }
  if (options.capacity < options.chunk) {
    throw InputError(fmt::format(
        "stream: chunk: expected at most the capacity, {} positions, got {}: a chunk would evict "
        "its own keys; give shorter chunks or a larger capacity",
        options.capacity, options.chunk));
  }
  if (!options.cache) options.cache = make_ring_cache;
  return options;
}

}  // namespace assay::reference
