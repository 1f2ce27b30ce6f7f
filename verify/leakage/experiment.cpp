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

// Keeps the one that comes first.
void keep_first(std::optional<FirstLeak>& kept, const FirstLeak& seen) {
  const auto rank = [](const FirstLeak& leak) {
    return std::tuple(leak.index, leak.s < 0, leak.t, leak.s);
  };
  if (!kept || rank(seen) < rank(*kept)) kept = seen;
}

}  // namespace

Ground model_ground(const golden::ModelConfig& config, const Batch& batch) {
  return {.vocab_size = config.vocab_size,
          .layouts = model_layouts(config, batch.batch, batch.positions),
          .stage = [layers = config.num_hidden_layers](
                       const std::string& name) { return layer_of(name, layers); },
          .config = &config};
}

Experiment::Experiment(Subject& subject, const Ground& ground, const Batch& batch,
                       const LeakOptions& options)
    : subject_(subject),
      ground_(ground),
      batch_(batch),
      options_(options),
      base_(subject, ground.layouts, batch),
      influence_{
          batch.positions,
          std::vector<int>(static_cast<std::size_t>(batch.positions * batch.positions), -1)} {
  if (ground_.stage) return;
  for (std::size_t i = 0; i < base_.tensors(); ++i) influence_.tensors.push_back(base_.name(i));
}

std::vector<Difference> Experiment::run(const Batch& batch) {
  return compare(base_, subject_, batch);
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
  return {subject, ground_.layouts, batch};
}

std::vector<Difference> Experiment::compare(const Recording& recording, Subject& subject,
                                            const Batch& batch) {
  ++runs_;
  std::vector<Difference> list = recording.differences(subject, batch, ground_.sameness);
  for (const Difference& difference : list) {
    if (difference.is_missing) varying_.insert(recording.name(difference.index));
  }
  return list;
}

int32_t Experiment::other_token(int32_t token, uint32_t word) const {
  const int64_t step = 1 + static_cast<int64_t>(word) % (ground_.vocab_size - 1);
  return static_cast<int32_t>((token + step) % ground_.vocab_size);
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

// Whether position t of the tensor lies apart from where it was in several runs on either batch:
// what only one run in many does is no leak.
bool Experiment::shows_again(const FirstLeak& leak, const Batch& shown) {
  constexpr int kTimes = 3;
  for (int i = 0; i < kTimes; ++i) {
    bool differs = false;
    for (const Difference& difference : run(shown)) {
      if (difference.index != leak.index) continue;
      for_changed(difference, batch_.positions, [&](int64_t t, Change change) {
        differs = differs || (t == leak.t && change == clear);
      });
    }
    if (!differs) return false;
    for (const Difference& difference : run(batch_)) {
      if (difference.index != leak.index) continue;
      bool is_back = true;
      for_changed(difference, batch_.positions, [&](int64_t t, Change change) {
        is_back = is_back && !(t == leak.t && change == clear);
      });
      if (!is_back) return false;
    }
  }
  return true;
}

void Experiment::note(std::size_t tensor, int64_t t, int64_t from, bool alone, Change change,
                      const Batch& shown) {
  if (t >= from) return;
  const FirstLeak seen{tensor, base_.name(tensor), t, alone ? from : -1};
  if (t + base_.layout(tensor).slack >= from) return keep_first(shifted_, seen);
  if (change == faint && ground_.shape_shows) return keep_first(faint_, seen);
  std::optional<FirstLeak> kept = clear_;
  keep_first(kept, seen);
  const bool is_new = !clear_ || kept->index != clear_->index || kept->t != clear_->t;
  if (is_noisy() && is_new && !shows_again(seen, shown)) return;
  clear_ = kept;
}

void Experiment::note_influence(std::size_t tensor, int64_t t, int64_t s) {
  if (s > t && s <= t + base_.layout(tensor).slack) return;
  int& layer = influence_.first_layer[static_cast<std::size_t>(t * batch_.positions + s)];
  if (layer >= 0) return;
  layer = ground_.stage ? ground_.stage(base_.name(tensor)) : static_cast<int>(tensor);
}

}  // namespace assay::verify
