#include "cli/train/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "datasets/known/law.h"
#include "datasets/known/sets.h"
#include "datasets/tokens.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/contract/random.h"
#include "golden/contract/weights.h"
#include "golden/file/hasher.h"

namespace assay::cli {
namespace {

constexpr int64_t kMostTrainTokens = int64_t{1} << 28;

template <class T>
std::vector<T> rows_between(const std::vector<T>& all, int64_t first, int64_t last,
                            int64_t positions) {
  return {all.begin() + first * positions, all.begin() + last * positions};
}

}  // namespace

TrainRows TrainRows::some(int64_t first, int64_t count) const {
  const int64_t last = std::min(rows, first + count);
  return {last - first, positions, rows_between(tokens, first, last, positions),
          rows_between(labels, first, last, positions)};
}

int64_t labels_ahead(const golden::ModelConfig& config) {
  const bool pt = golden::find_method(config.method).family == golden::Family::prob_transformer;
  return pt && config.pt.output == golden::ProbTransformer::Output::mlm ? 0 : 1;
}

TrainSource train_source(const TrainRunOptions& options) {
  TrainSource source{.text = options.data,
                     .is_law = datasets::names_law(options.data),
                     .tokens_format = options.model.tokens_format,
                     .seed = options.model.seed,
                     .positions = options.model.positions,
                     .train_rows = 0,
                     .val_rows = options.val_rows.value_or(128),
                     .tokens_hash = ""};
  int64_t drawn = 0, tokens = 0;
  if (__builtin_mul_overflow(options.steps, options.model.batch, &drawn) ||
      __builtin_mul_overflow(drawn, options.accumulate, &drawn)) {
    throw InputError(
        fmt::format("--steps {}: expected fewer than 2^63 rows in all, got {} steps of {} times {}",
                    options.steps, options.steps, options.accumulate, options.model.batch));
  }
  source.train_rows = options.rows.value_or(drawn);
  if (__builtin_mul_overflow(source.val_rows, int64_t{2}, &tokens) ||
      __builtin_add_overflow(source.train_rows, tokens, &tokens) ||
      __builtin_mul_overflow(tokens, source.positions, &tokens) || tokens > kMostTrainTokens) {
    throw InputError(fmt::format(
        "--data: train, val and fresh are more than {} tokens together; --rows says how many rows "
        "the training set has, --val-rows the others",
        kMostTrainTokens));
  }
  if (source.is_law) {
    datasets::parse_law(source.text, "--data");  // throws
  } else if (!std::filesystem::exists(source.text)) {
    throw InputError(fmt::format(
        "--data {}: expected a source, as in markov:order=2,vocab=64 ('assay data --list' lists "
        "them), or a file of tokens, got neither",
        golden::printable(source.text)));
  }
  return source;
}

int64_t source_vocab(const TrainSource& source) {
  return source.is_law ? datasets::parse_law(source.text, "--data")->vocab_size() : 256;
}

uint64_t fresh_seed(uint64_t seed) {
  uint32_t words[4];
  golden::random_words(seed, golden::stream_id("fresh seed"), 0, words);
  return (uint64_t{words[0]} << 31) ^ words[1];  // below 2^63, as options take it
}

TrainData::TrainData(const golden::ModelConfig& config, const TrainSource& source)
    : config_(config), source_(source) {
  const int64_t positions = source.positions;
  if (source.is_law) {
    const auto law = datasets::parse_law(source.text, "--data");
    if (law->vocab_size() > config.vocab_size) {
      throw InputError(fmt::format("--data {}: a vocabulary of {}: the model has {}", source.text,
                                   law->vocab_size(), config.vocab_size));
    }
    train_ = datasets::draw_rows(*law, "train", source.seed, source.train_rows, positions);
    val_ = datasets::draw_rows(*law, "val", source.seed, source.val_rows, positions);
    return;
  }
  const int64_t rows = source.train_rows + 2 * source.val_rows;
  try {
    const auto format = datasets::parse_tokens_format(source.tokens_format);
    const std::vector<int32_t> all =
        datasets::read_tokens(source.text, format, rows, positions, config.vocab_size).values;
    const int64_t val = source.train_rows, fresh = val + source.val_rows;
    train_ = rows_between(all, 0, val, positions);
    val_ = rows_between(all, val, fresh, positions);
    fresh_ = rows_between(all, fresh, rows, positions);
    const std::string hash = golden::hash_hex(all.data(), all.size() * sizeof(all[0]));
    if (!source.tokens_hash.empty() && source.tokens_hash != hash) {
      throw InputError(
          fmt::format("{}: expected the tokens that the run was started with, got "
                      "others",
                      golden::printable(source.text)));
    }
    source_.tokens_hash = hash;
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("--data: {}; {} rows of train and {} each of val and fresh, of {} "
                    "tokens, are read (--rows, --val-rows, --seq)",
                    error.what(), source.train_rows, source.val_rows, positions));
  }
}

TrainRows TrainData::of(const std::vector<int32_t>& tokens, uint64_t mask_seed) const {
  const auto rows = static_cast<int64_t>(tokens.size()) / source_.positions;
  if (labels_ahead(config_) == 1) return {rows, source_.positions, tokens, tokens};
  const std::vector<uint8_t> real(tokens.size(), 1);
  golden::MaskedTokens masked = golden::mask_tokens(tokens, real, config_.vocab_size, mask_seed);
  return {rows, source_.positions, std::move(masked.tokens), std::move(masked.labels)};
}

// Fisher and Yates, with words of the stream of the epoch.
int64_t TrainData::place(int64_t drawn) const {
  const int64_t epoch = drawn / source_.train_rows, at = drawn % source_.train_rows;
  if (epoch == 0) return at;
  if (epoch != order_epoch_) {
    order_.resize(static_cast<std::size_t>(source_.train_rows));
    std::iota(order_.begin(), order_.end(), 0);
    std::vector<uint32_t> words(order_.size());
    golden::random_words(source_.seed, golden::stream_id(fmt::format("train order/{}", epoch)), 0,
                         words);
    for (std::size_t i = order_.size(); i-- > 1;) {
      const auto j = static_cast<std::size_t>((uint64_t{words[i]} * (i + 1)) >> 32);
      std::swap(order_[i], order_[j]);
    }
    order_epoch_ = epoch;
  }
  return order_[static_cast<std::size_t>(at)];
}

TrainRows TrainData::batch(int64_t step, int64_t index, int64_t rows, int64_t accumulate) const {
  const int64_t first = (step * accumulate + index) * rows;
  std::vector<int32_t> tokens;
  for (int64_t row = 0; row < rows; ++row) {
    const auto begin = train_.begin() + place(first + row) * source_.positions;
    tokens.insert(tokens.end(), begin, begin + source_.positions);
  }
  const auto which = static_cast<uint64_t>(step * accumulate + index);
  return of(tokens, source_.seed ^ ((which + 1) * 0x9e3779b97f4a7c15u));
}

int64_t TrainData::rows_seen(int64_t steps, int64_t rows, int64_t accumulate) const {
  return std::min(source_.train_rows, steps * rows * accumulate);
}

TrainRows TrainData::train(int64_t rows) const {
  return of(rows_between(train_, 0, rows, source_.positions), source_.seed);
}

TrainRows TrainData::val() const { return of(val_, source_.seed); }

TrainRows TrainData::fresh() const {
  if (!source_.is_law) return of(fresh_, source_.seed);
  const auto law = datasets::parse_law(source_.text, "--data");
  const uint64_t seed = fresh_seed(source_.seed);
  return of(datasets::draw_rows(*law, "fresh", seed, source_.val_rows, source_.positions), seed);
}

}  // namespace assay::cli
