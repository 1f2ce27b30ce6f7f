#include "verify/lockstep/micro_batches.h"

#include "golden/contract/error.h"
#include "golden/contract/prob_transformer.h"

namespace assay::verify {
namespace {

bool predicts_next(const golden::ModelConfig& config) {
  using golden::ProbTransformer;
  return config.method != "pt" || config.pt.output == ProbTransformer::Output::causal;
}

// The last token of the vocabulary stands for "masked" where labels do not follow their tokens.
int32_t moved(int32_t token, int64_t places, int64_t vocab_size, bool keeps_last) {
  const int64_t moving = keeps_last ? vocab_size - 1 : vocab_size;
  if (token < 0 || token >= moving) return token;
  return static_cast<int32_t>((token + places) % moving);
}

// Of the labels that count, every `every`th stays, the first one in any case.
void thin_out(const golden::ModelConfig& config, int64_t every, Batch& batch) {
  const int64_t first = predicts_next(config) ? 1 : 0;
  int64_t seen = 0;
  for (int64_t b = 0; b < batch.batch; ++b) {
    for (int64_t t = first; t < batch.positions; ++t) {
      int32_t& label = batch.labels[static_cast<std::size_t>(b * batch.positions + t)];
      if (label != -100 && seen++ % every != 0) label = -100;
    }
  }
}

void drop_blind_predictions(const golden::ModelConfig& config, Batch& batch) {
  if (!predicts_next(config)) return;
  for (int64_t b = 0; b < batch.batch; ++b) {
    for (int64_t t = 1; t < batch.positions; ++t) {
      const auto i = static_cast<std::size_t>(b * batch.positions + t);
      if (batch.attention_mask[i - 1] == 0) batch.labels[i] = -100;
    }
  }
}

}  // namespace

reference::TrainingBatch training_batch(const Batch& batch) {
  return {.batch = batch.batch,
          .positions = batch.positions,
          .tokens = batch.tokens,
          .attention_mask = batch.attention_mask,
          .labels = batch.labels};
}

std::vector<Batch> micro_batches_of(const golden::ModelConfig& config, const Batch& batch,
                                    int64_t micro_batches, int64_t step) {
  Batch whole = batch;
  drop_blind_predictions(config, whole);
  if (reference::counted_positions(config, training_batch(whole)) == 0) {
    throw InputError(
        "--train: no position of the golden file's batch counts: expected one label at least that "
        "is not -100 and that a real token predicts");
  }
  std::vector<Batch> all;
  for (int64_t i = 0; i < micro_batches; ++i) {
    Batch one = whole;
    const int64_t places = 7 * (i + micro_batches * step);
    for (auto* ids : {&one.tokens, &one.labels}) {
      for (int32_t& id : *ids) {
        id = moved(id, places, config.vocab_size, !predicts_next(config));
      }
    }
    if (step % 2 == 1) thin_out(config, 3, one);
    if (micro_batches > 1 && i + 1 == micro_batches) thin_out(config, 2, one);
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace assay::verify
