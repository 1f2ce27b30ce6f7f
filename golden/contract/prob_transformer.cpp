#include "golden/contract/prob_transformer.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "golden/contract/config.h"
#include "golden/contract/error.h"
#include "golden/contract/json_keys.h"
#include "golden/contract/names.h"

namespace assay::golden {
namespace {

using nlohmann::json;
using PT = ProbTransformer;

// The words of an option, in the order of its enumerators.
constexpr std::array kMessages{"full", "symmetric", "head"};
constexpr std::array kSchedules{"async", "sync"};
constexpr std::array kUpdates{"every_round", "in_turn"};
constexpr std::array kOutputs{"mlm", "causal"};
constexpr std::array kReads{"scores", "labels"};

template <class Words, class Enum>
std::string word_of(const Words& words, Enum value) {
  return words.at(static_cast<std::size_t>(value));
}

template <class Words, class Enum>
void read_word(const JsonKeys& keys, const char* key, const Words& words, Enum& value) {
  const std::string text = keys.text(key, word_of(words, value));
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (text == words[i]) {
      value = static_cast<Enum>(i);
      return;
    }
  }
  throw InputError(fmt::format("{}: {}: expected {}, got \"{}\"", keys.where(), key,
                               fmt::join(words, " or "), text));
}

[[noreturn]] void refuse(const std::string& where, const char* option, const std::string& reason) {
  throw InputError(fmt::format("{}: pt: {}: {}", where, option, reason));
}

void check_sizes(const PT& pt, const std::string& where) {
  const auto within = [&](const char* option, int64_t value, int64_t most, const char* shown) {
    if (value < 1 || value > most) {
      refuse(where, option, fmt::format("expected 1 .. {}, got {}", shown, value));
    }
  };
  within("rank", pt.rank, int64_t{1} << 31, "2^31");
  within("channels", pt.channels, int64_t{1} << 31, "2^31");
  within("iterations", pt.iterations, kMostLayers, "1024");
  within("head_groups", pt.head_groups, kMostLayers, "1024");
  within("label_groups", pt.label_groups, kMostLayers, "1024");
  int64_t last = 1;
  for (const int64_t start : pt.distances.value_or(std::vector<int64_t>{})) {
    if (start <= last) {
      refuse(where, "distances",
             fmt::format("expected ascending distances from 2, got {} after {}", start, last));
    }
    last = start;
  }
}

void check_numbers(const PT& pt, const std::string& where) {
  const auto positive = [&](const char* option, double value) {
    if (!(value > 0 && std::isfinite(value) && std::isfinite(1 / value))) {
      refuse(where, option, fmt::format("expected a number > 0, got {}", value));
    }
  };
  const auto step = [&](const char* option, double value) {
    if (!(value > 0 && value <= 1)) {
      refuse(where, option, fmt::format("expected a step size in (0, 1], got {}", value));
    }
  };
  const auto damping = [&](const char* option, double value) {
    if (!(value >= 0 && value < 1)) {
      refuse(where, option, fmt::format("expected a damping in [0, 1), got {}", value));
    }
  };
  positive("lambda_h", pt.lambda_h);
  positive("lambda_z", pt.lambda_z);
  step("head_step", pt.head_step);
  step("label_step", pt.label_step);
  damping("head_damping", pt.head_damping);
  damping("label_damping", pt.label_damping);
}

void check_together(const PT& pt, const std::string& where) {
  if (pt.causal_heads && pt.message == PT::Message::full) {
    refuse(where, "message",
           "full is not causal with causal heads: a word would hear from every later word whose "
           "head it is; expected head or symmetric");
  }
  if (pt.output == PT::Output::causal && !pt.causal_heads) {
    refuse(where, "output",
           "causal predicts the next token, which heads on both sides would show; set "
           "causal_heads");
  }
  if (pt.head_groups > 1 && pt.label_groups > 1) {
    refuse(
        where, "label_groups",
        fmt::format("expected 1 with head_groups = {}, got {}", pt.head_groups, pt.label_groups));
  }
  if (pt.updates == PT::Updates::in_turn && pt.schedule == PT::Schedule::sync) {
    refuse(where, "updates",
           "in_turn lets a group speak in its own round: expected schedule async");
  }
  if (pt.updates == PT::Updates::in_turn && pt.iterations < pt.head_groups) {
    refuse(where, "iterations",
           fmt::format("expected at least head_groups = {} with updates in_turn, got {}",
                       pt.head_groups, pt.iterations));
  }
}

}  // namespace

ProbTransformer prob_transformer_of(const ModelConfig& c) {
  ProbTransformer pt = c.pt;
  if (pt.rank == 0) pt.rank = c.head_dim;
  if (pt.channels == 0) pt.channels = c.num_attention_heads;
  if (pt.iterations == 0) pt.iterations = c.num_hidden_layers;
  if (pt.lambda_h == 0) pt.lambda_h = 1.0 / static_cast<double>(c.hidden_size);
  return pt;
}

std::string prob_transformer_json(const ModelConfig& c) {
  const PT pt = prob_transformer_of(c);
  json document = {{"rank", pt.rank},
                   {"channels", pt.channels},
                   {"iterations", pt.iterations},
                   {"message", word_of(kMessages, pt.message)},
                   {"schedule", word_of(kSchedules, pt.schedule)},
                   {"lambda_h", pt.lambda_h},
                   {"lambda_z", pt.lambda_z},
                   {"head_step", pt.head_step},
                   {"label_step", pt.label_step},
                   {"head_damping", pt.head_damping},
                   {"label_damping", pt.label_damping},
                   {"distances", nullptr},
                   {"causal_heads", pt.causal_heads},
                   {"head_groups", pt.head_groups},
                   {"label_groups", pt.label_groups},
                   {"updates", word_of(kUpdates, pt.updates)},
                   {"output", word_of(kOutputs, pt.output)},
                   {"read", word_of(kReads, pt.read)}};
  if (pt.distances) document["distances"] = *pt.distances;
  return document.dump();
}

ProbTransformer parse_prob_transformer(const JsonKeys& keys) {
  keys.only({"rank", "channels", "iterations", "message", "schedule", "lambda_h", "lambda_z",
             "head_step", "label_step", "head_damping", "label_damping", "distances",
             "causal_heads", "head_groups", "label_groups", "updates", "output", "read"});
  PT pt;
  pt.rank = keys.integer("rank", pt.rank);
  pt.channels = keys.integer("channels", pt.channels);
  pt.iterations = keys.integer("iterations", pt.iterations);
  read_word(keys, "message", kMessages, pt.message);
  read_word(keys, "schedule", kSchedules, pt.schedule);
  pt.lambda_h = keys.number("lambda_h", pt.lambda_h);
  pt.lambda_z = keys.number("lambda_z", pt.lambda_z);
  pt.head_step = keys.number("head_step", pt.head_step);
  pt.label_step = keys.number("label_step", pt.label_step);
  pt.head_damping = keys.number("head_damping", pt.head_damping);
  pt.label_damping = keys.number("label_damping", pt.label_damping);
  if (keys.has("distances")) pt.distances = keys.integers("distances");
  pt.causal_heads = keys.boolean("causal_heads", pt.causal_heads);
  pt.head_groups = keys.integer("head_groups", pt.head_groups);
  pt.label_groups = keys.integer("label_groups", pt.label_groups);
  read_word(keys, "updates", kUpdates, pt.updates);
  read_word(keys, "output", kOutputs, pt.output);
  read_word(keys, "read", kReads, pt.read);
  return pt;
}

std::vector<std::string> prob_transformer_option_texts() {
  const auto words = [](const char* option, const auto& list) {
    return fmt::format("pt.{} = {}", option, fmt::join(list, " | "));
  };
  return {"pt.rank = head_dim",
          "pt.channels = num_attention_heads",
          "pt.iterations = num_hidden_layers",
          words("message", kMessages),
          words("schedule", kSchedules),
          "pt.lambda_h = 1 / hidden_size",
          "pt.lambda_z = 1",
          "pt.head_step, pt.label_step = 1",
          "pt.head_damping, pt.label_damping = 0",
          "pt.distances = null | [distances at which a group starts]",
          "pt.causal_heads = false | true",
          "pt.head_groups, pt.label_groups = 1",
          words("updates", kUpdates),
          words("output", kOutputs),
          words("read", kReads)};
}

void validate_prob_transformer(const ModelConfig& config, const std::string& where) {
  const PT pt = prob_transformer_of(config);
  check_sizes(pt, where);
  check_numbers(pt, where);
  check_together(pt, where);
}

int64_t distance_groups(const PT& pt) {
  if (!pt.distances) return 1;
  return (pt.causal_heads ? 1 : 2) * (static_cast<int64_t>(pt.distances->size()) + 1);
}

}  // namespace assay::golden
