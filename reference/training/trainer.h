// Training in double precision: the weights of a model in memory, gradients summed over
// micro-batches, AdamW (adamw.h). Everything is added in ascending order, so that a run gives the
// same bits every time, on any number of threads.
//
// With n_i counted positions in micro-batch i and mean loss L_i, N = sum n_i, a step is that of
//   (1)  L = sum_i n_i L_i / N
//   (2)  G = sum_i n_i grad L_i / N
// every counted position weighs the same, wherever it stands: k micro-batches are one batch of all
// their rows, also where they count unequal numbers of positions.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/names.h"
#include "golden/contract/weights.h"
#include "reference/graph/graph.h"
#include "reference/interpreters/segments.h"
#include "reference/interpreters/value.h"
#include "reference/training/adamw.h"
#include "reference/training/dropout.h"

namespace assay::reference {

struct TrainingBatch {
  int64_t batch = 0;
  int64_t positions = 0;
  std::span<const int32_t> tokens;          // [B,T]
  std::span<const uint8_t> attention_mask;  // [B,T], 1 = real token, 0 = padding; empty: all real
  // [B,T], -100 = not counted; position t predicts labels[t+1], with `pt`'s output mlm labels[t]
  std::span<const int32_t> labels;
};

// Throws InputError for sizes, tokens, masks or labels that do not fit the config.
void check_batch(const golden::ModelConfig& config, const TrainingBatch& batch);

// The positions whose loss counts.
int64_t counted_positions(const golden::ModelConfig& config, const TrainingBatch& batch);

struct TrainingStep {
  double loss = 0;           // (1)
  double gradient_norm = 0;  // of (2), before clipping
  bool skipped = false;      // it was not finite: no weight, moment or count has changed
};

// Builds the graph of batches [B,T] in place of build_model (methods/registry.h).
using BuildGraph = std::function<std::unique_ptr<Graph>(const golden::ModelConfig& config,
                                                        int64_t batch, int64_t positions)>;

class Trainer {
 public:
  // What is kept for backward passes changes no bit. Throws InputError for a config, rule or weight
  // that does not fit, and for `build` with dropout.
  Trainer(const golden::ModelConfig& config, const golden::WeightSource& weights,
          const AdamwRule& rule = {}, Keep keep = Keep::all, const Dropout& dropout = {},
          BuildGraph build = {});

  // A forward and a backward pass over a micro-batch. One in which no position counts adds nothing.
  // Throws InputError, with nothing added, for a batch that does not fit the config.
  void accumulate(const TrainingBatch& batch);

  // One step on every weight, from what was accumulated since the last one. Throws InputError where
  // that counts no position, and for a rate that is not finite and at least 0.
  TrainingStep step(double learning_rate);

  // Names and shapes, in the order of a state dict (golden::weight_list). The rest is by these
  // names; another name is an InputError.
  const std::vector<golden::TensorInfo>& weights() const { return list_; }
  std::span<const double> weight(const std::string& name) const;
  std::span<const double> first_moment(const std::string& name) const;
  std::span<const double> second_moment(const std::string& name) const;
  // Of the last step, taken or skipped, before clipping: (2). Throws InputError before the first.
  std::span<const double> gradient(const std::string& name) const;
  int64_t steps() const { return steps_; }  // taken, skipped ones not counted

  // Puts a whole state in place, all or nothing. What was accumulated is dropped. A trainer that
  // is given the state of another one goes on as that one would, bit for bit.
  void restore(const golden::WeightSource& weights, const golden::WeightSource& first,
               const golden::WeightSource& second, int64_t steps);

  const golden::ModelConfig& config() const { return config_; }
  const AdamwRule& rule() const { return rule_; }

  // The graph of batches [B,T] without dropout, and what binds its inputs to a batch and to the
  // present weights. Both stay valid until the next call of a member that is not const; the batch's
  // spans as well.
  const Graph& graph(int64_t batch, int64_t positions) const;
  Bindings bindings(const TrainingBatch& batch) const;

 private:
  struct Trained {
    Array weight, first, second;
    Array sum;       // of gradients since the last step; absent: 0
    Array gradient;  // of the last step
  };
  using State = std::vector<Trained>;  // as list_
  struct KeptGraph {                   // of the last batch's shape
    std::unique_ptr<Graph> graph;
    golden::Shape shape;
  };

  const Graph& kept_graph(KeptGraph& kept, const golden::Shape& shape, bool dropout) const;
  Array mask_of(const NodeData& input) const;
  State state_of(const golden::WeightSource& weights, const golden::WeightSource* first,
                 const golden::WeightSource* second) const;
  const Trained& trained(const std::string& name) const;
  void form_gradients();
  double gradient_norm() const;
  void update(double learning_rate, double norm);

  golden::ModelConfig config_;
  AdamwRule rule_;
  Keep keep_;
  Dropout dropout_;
  BuildGraph build_;
  std::vector<golden::TensorInfo> list_;
  std::unordered_map<std::string, std::size_t> index_;  // of a name in list_
  State state_;
  double loss_sum_ = 0;  // of n_i L_i
  int64_t counted_ = 0;  // of n_i
  int64_t divisor_ = 0;  // sums are of n_i / divisor: the first n_i, so that one batch is exact
  int64_t rows_ = 0;     // since the last step, whether they count or not
  int64_t steps_ = 0;
  bool stepped_ = false;               // gradients are those of a step
  mutable KeptGraph plain_, trained_;  // without dropout, with it
};

}  // namespace assay::reference
