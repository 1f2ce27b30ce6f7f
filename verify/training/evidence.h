// What is known of a training run: its curve, and per-token losses of up to three sets of tokens.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verify/training/resolution.h"

namespace assay::verify::training {

// A quantity over the steps of a run, in order of the steps.
struct Series {
  std::vector<double> steps, values;
  double half_step = 0;  // of the rounding that the values went through; 0: none is seen

  bool empty() const { return values.empty(); }
  void add(double step, double value) {
    steps.push_back(step);
    values.push_back(value);
  }
};

struct Curve {
  std::string format;                    // "trainer_state.json of Hugging Face"
  Series train, val, fresh;              // loss, nats
  Series grad_norm, loss_scale, epoch;   // empty where the run does not say
  std::map<std::string, Series> layers;  // gradient norms by layer
  // Losses may be lower than they are by a factor of (T-1)/T: Hugging Face's Trainer (seen in 4.57
  // and 5.24) reports so, of training and val, for it divides by the labels before their shift.
  bool may_be_scaled = false;
  std::vector<std::string> notes;

  bool empty() const { return train.empty() && val.empty() && fresh.empty() && grad_norm.empty(); }
};

// Mean and variance of -log p(x) for x from p: what the oracle expects of a token.
struct Expected {
  double mean = 0, variance = 0;
};

// Logits of which the losses can be computed again: row t is the prediction of tokens[t + 1].
struct Logits {
  int64_t rows = 0, positions = 0, vocab = 0;
  std::vector<double> values;   // [N,T,V]
  std::vector<int32_t> tokens;  // [N,T], the input
  bool are_log_probs = false;   // and then sum to 1
};

struct TokenSet {
  std::string path;
  int64_t rows = 0, positions = 0;
  std::vector<double> losses;      // [N,T] -log q, nats
  std::vector<int32_t> targets;    // [N,T] the tokens that the losses are of; may be empty
  std::vector<double> oracle;      // [N,T] -log p, nats; may be empty
  std::vector<Expected> expected;  // [N,T]; may be empty
  std::vector<uint8_t> counted;    // [N,T] 0: padding, or a row that is left out
  std::vector<int32_t> documents;  // [N,T]; may be empty
  std::vector<double> probability_sums;
  std::optional<Logits> logits;
  std::optional<double> reported_loss;  // by the training program, of these tokens
  Resolution loss_resolution, oracle_resolution;
  std::vector<std::string> notes;

  bool empty() const { return losses.empty(); }
  std::size_t size() const { return losses.size(); }
  bool is_counted(std::size_t i) const { return counted[i] != 0; }
};

enum Set { kTrain, kVal, kFresh };
inline constexpr std::array<const char*, 3> kSetNames{"train", "val", "fresh"};

// What the oracle is, beyond the tokens' own probabilities.
struct OracleRate {
  double nats = 0;        // a token
  double error = 0;       // standard error where it is an estimate
  bool constant = false;  // -log p of every token
  double of_rows = 0;     // nats a token of rows from their beginnings, where that is more
  double spread = 0;      // of a mean over n tokens, x sqrt(n); 0: unknown
};

struct StructuralLeak {
  std::string path, finding;  // "" where the report found none
};

// A live model was run on the same tokens with other labels.
struct LabelTrial {
  bool moved = false;    // its logits were others
  bool is_told = false;  // two runs with the same labels gave the same
  std::string measured;
};

struct Evidence {
  Curve curve;
  std::array<TokenSet, 3> sets;  // by Set
  std::string oracle;            // what was asked for: "markov:order=2,vocab=64"; "" for none
  std::optional<OracleRate> rate;
  std::string oracle_problem;  // why it is not these tokens' oracle; "" where nothing says so
  std::vector<std::string> shared_with_train;  // rows of val that are in train; see overlap
  std::string fresh_is = {};  // what most rows of fresh are in: "the training set"; "": nothing
  bool is_canaries = false;
  std::optional<int64_t> vocab, parameters, train_tokens, val_tokens, checkpoints, positions,
      tokens_per_step;
  bool one_epoch = false;  // every step of the curve saw its tokens for the first time
  double bits = 16;        // of a parameter
  double alpha = 1e-6;
  std::optional<StructuralLeak> structural;
  std::optional<LabelTrial> labels;
};

}  // namespace assay::verify::training
