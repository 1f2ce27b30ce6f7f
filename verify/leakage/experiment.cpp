#include "verify/leakage/experiment.h"

#include <algorithm>
#include <tuple>

#include "golden/contract/random.h"

namespace assay::verify {
namespace {

// 0 = embedding, l + 1 = layer l, L + 1 = after the last layer
int layer_of(const std::string& tensor, int64_t layers) {
  if (tensor == "embed") return 0;
  if (tensor.starts_with("layers/")) return 1 + std::stoi(tensor.substr(7));
  return static_cast<int>(layers) + 1;
}

}  // namespace

Experiment::Experiment(Subject& subject, const golden::ModelConfig& config, const Batch& batch,
                       const LeakOptions& options)
    : subject_(subject),
      config_(config),
      batch_(batch),
      options_(options),
      base_(subject, config, batch),
      influence_{
          batch.positions,
          std::vector<int>(static_cast<std::size_t>(batch.positions * batch.positions), -1)} {}

std::vector<Difference> Experiment::run(const Batch& batch) {
  ++runs_;
  return base_.differences(subject_, batch);
}

double Experiment::coarsest_unit() const {
  const golden::PrecisionSchedule schedule = subject_.precision();
  return std::max({golden::unit_roundoff(schedule.storage),
                   golden::unit_roundoff(schedule.accumulate),
                   golden::unit_roundoff(schedule.operands.value_or(schedule.storage))});
}

Recording Experiment::record(const Batch& batch) { return record(subject_, batch); }

Recording Experiment::record(Subject& subject, const Batch& batch) {
  ++runs_;
  return {subject, config_, batch};
}

std::vector<Difference> Experiment::compare(const Recording& recording, Subject& subject,
                                            const Batch& batch) {
  ++runs_;
  return recording.differences(subject, batch);
}

int32_t Experiment::other_token(int32_t token, uint32_t word) const {
  const int64_t step = 1 + static_cast<int64_t>(word) % (config_.vocab_size - 1);
  return static_cast<int32_t>((token + step) % config_.vocab_size);
}

std::vector<uint32_t> Experiment::words(const std::string& stream, std::size_t count) const {
  std::vector<uint32_t> drawn(count);
  golden::random_words(options_.seed, golden::stream_id(stream), 0, drawn);
  return drawn;
}

Batch Experiment::with_tokens(const Batch& batch, int64_t first, int64_t last,
                              const std::string& stream, int64_t kept_row) const {
  Batch changed = batch;
  const std::vector<uint32_t> drawn = words(stream, changed.tokens.size());
  for (int64_t b = 0; b < changed.batch; ++b) {
    if (b == kept_row) continue;
    for (int64_t t = first; t < last; ++t) {
      const auto i = static_cast<std::size_t>(b * changed.positions + t);
      changed.tokens[i] = other_token(changed.tokens[i], drawn[i]);
    }
  }
  return changed;
}

Batch Experiment::with_labels(const std::string& stream) const {
  Batch changed = batch_;
  const std::vector<uint32_t> drawn = words(stream, changed.labels.size());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    if (changed.labels[i] >= 0) changed.labels[i] = other_token(changed.labels[i], drawn[i]);
  }
  return changed;
}

void Experiment::note_leak(std::size_t tensor, int64_t t, int64_t s) {
  const FirstLeak seen{tensor, base_.name(tensor), t, s};
  const auto rank = [](const FirstLeak& leak) {
    return std::tuple(leak.index, leak.s < 0, leak.t, leak.s);
  };
  if (!first_leak_ || rank(seen) < rank(*first_leak_)) first_leak_ = seen;
}

void Experiment::note_influence(std::size_t tensor, int64_t t, int64_t s) {
  int& layer = influence_.first_layer[static_cast<std::size_t>(t * batch_.positions + s)];
  if (layer < 0) layer = layer_of(base_.name(tensor), config_.num_hidden_layers);
}

}  // namespace assay::verify
