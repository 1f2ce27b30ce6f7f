// The rows of tokens that a run trains on and is judged by.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/train/options.h"
#include "golden/contract/config.h"

namespace assay::cli {

struct TrainRows {
  int64_t rows = 0, positions = 0;
  std::vector<int32_t> tokens, labels;  // [N,T]; label -100 is not counted

  // Rows first, first + 1, .. of them, `count` or what is left.
  TrainRows some(int64_t first, int64_t count) const;
};

// Position t predicts label t + this: 1, or 0 where a masked language model is asked.
int64_t labels_ahead(const golden::ModelConfig& config);

// Where the tokens come from.
struct TrainSource {
  std::string text;  // "markov:order=2,vocab=64", or a path
  bool is_law = false;
  std::string tokens_format;
  uint64_t seed = 1;
  int64_t positions = 0, train_rows = 0, val_rows = 0;
  std::string tokens_hash;  // golden::hash_hex of all tokens of a file; "" of a law
};

// Sizes and kinds, without any token. Throws InputError for a text that is neither a source nor a
// file.
TrainSource train_source(const TrainRunOptions& options);

// The vocabulary that a model needs for the source, without a statement of it.
int64_t source_vocab(const TrainSource& source);

// The seed of the fresh set, which is drawn when training is over; before that only its
// commitment is written down.
uint64_t fresh_seed(uint64_t seed);

class TrainData {
 public:
  // Throws InputError for tokens outside of the config's vocabulary, and for those of a file that
  // is not the one of the source's hash, where it has one.
  TrainData(const golden::ModelConfig& config, const TrainSource& source);
  const std::string& tokens_hash() const { return source_.tokens_hash; }

  // Micro-batch `index` of step `step` (from 0): rows of the training set in their order, and from
  // the second time on in the order of a permutation of each epoch.
  TrainRows batch(int64_t step, int64_t index, int64_t rows, int64_t accumulate) const;
  int64_t rows_seen(int64_t steps, int64_t rows, int64_t accumulate) const;

  // The first rows of train, all of val; of a file the rows behind val are fresh.
  TrainRows train(int64_t rows) const;
  TrainRows val() const;
  TrainRows fresh() const;

 private:
  TrainRows of(const std::vector<int32_t>& tokens, uint64_t mask_seed) const;
  int64_t place(int64_t drawn) const;

  golden::ModelConfig config_;
  TrainSource source_;
  std::vector<int32_t> train_, val_, fresh_;
  mutable std::vector<int64_t> order_;  // of order_epoch_
  mutable int64_t order_epoch_ = -1;
};

}  // namespace assay::cli
