#include "verify/leakage/prefix.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <tuple>

#include "golden/contract/error.h"
#include "golden/contract/random.h"
#include "verify/leakage/recording.h"

namespace assay::verify {
namespace {

// 0 = embedding, l + 1 = layer l, L + 1 = after the last layer
int layer_of(const std::string& tensor, int64_t layers) {
  if (tensor == "embed") return 0;
  if (tensor.starts_with("layers/")) return 1 + std::stoi(tensor.substr(7));
  return static_cast<int>(layers) + 1;
}

class Detector {
 public:
  Detector(Subject& subject, const golden::ModelConfig& config, const Batch& batch,
           const PrefixOptions& options)
      : subject_(subject),
        config_(config),
        batch_(batch),
        options_(options),
        base_(subject, config, batch) {
    result_.runs = 1;
    result_.influence = {
        batch.positions,
        std::vector<int>(static_cast<std::size_t>(batch.positions * batch.positions), -1)};
  }

  PrefixResult detect() {
    if (base_.elements() == 0) {
      result_.checks.push_back({.name = "prefix",
                                .status = Status::inconclusive,
                                .summary = "no tensor with positions was handed over",
                                .details = {},
                                .seconds = 0});
      return std::move(result_);
    }
    if (!timed(&Detector::repeat)) return std::move(result_);
    timed(&Detector::influence);  // before prefix, which takes its first pair from here
    timed(&Detector::prefix);
    timed(&Detector::rows);
    timed(&Detector::labels);
    return std::move(result_);
  }

 private:
  bool timed(Check (Detector::*detector)()) {
    const auto start = std::chrono::steady_clock::now();
    Check check = (this->*detector)();
    check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    result_.checks.push_back(check);
    return check.status != Status::inconclusive;
  }

  std::vector<Difference> run(const Batch& batch) {
    ++result_.runs;
    return base_.differences(subject_, batch);
  }

  Check repeat() {
    for (const Difference& difference : run(batch_)) {
      if (!difference.any) continue;
      return {.name = "repeat",
              .status = Status::inconclusive,
              .summary = fmt::format("two runs on one batch differ, first at {}",
                                     base_.name(difference.index)),
              .details = {"either state survives a call, or sums run in varying order; bitwise "
                          "detectors cannot speak of this subject"},
              .seconds = 0};
    }
    return {.name = "repeat",
            .status = Status::pass,
            .summary =
                fmt::format("two runs on one batch agree bit for bit, {} tensors", base_.tensors()),
            .details = {},
            .seconds = 0};
  }

  // A token that differs from the one it replaces.
  int32_t other_token(int32_t token, uint32_t word) const {
    const int64_t step = 1 + static_cast<int64_t>(word) % (config_.vocab_size - 1);
    return static_cast<int32_t>((token + step) % config_.vocab_size);
  }

  // The batch with new tokens at positions [first, last) of every row for which keep(b) is false.
  template <class Keep>
  Batch changed(int64_t first, int64_t last, const std::string& stream, Keep&& keep) const {
    Batch batch = batch_;
    std::vector<uint32_t> words(batch.tokens.size());
    golden::random_words(options_.seed, golden::stream_id(stream), 0, words);
    for (int64_t b = 0; b < batch.batch; ++b) {
      if (keep(b)) continue;
      for (int64_t t = first; t < last; ++t) {
        const auto i = static_cast<std::size_t>(b * batch.positions + t);
        batch.tokens[i] = other_token(batch.tokens[i], words[i]);
      }
    }
    return batch;
  }
  Batch changed(int64_t first, int64_t last, const std::string& stream) const {
    return changed(first, last, stream, [](int64_t) { return false; });
  }

  // Keeps the first tensor in order of computation, then the lowest t, then the lowest s (-1 =
  // unknown).
  void note_leak(std::size_t tensor, int64_t t, int64_t s) {
    const auto rank = [](std::size_t i, int64_t at, int64_t from) {
      return std::tuple(i, from < 0, at, from);
    };
    if (result_.leaks && rank(first_leak_, result_.t, result_.s) <= rank(tensor, t, s)) {
      return;
    }
    result_.leaks = true;
    first_leak_ = tensor;
    result_.tensor = base_.name(tensor);
    result_.t = t;
    result_.s = s;
  }

  // The changed positions of a tensor, over all rows of the batch.
  template <class Visit>
  void for_changed(const Difference& difference, Visit&& visit) const {
    for (std::size_t i = 0; i < difference.rows.size(); ++i) {
      if (difference.rows[i] != 0) visit(static_cast<int64_t>(i) % batch_.positions);
    }
  }

  Check influence() {
    const int64_t n = batch_.positions;
    std::vector<uint8_t> logits_see(static_cast<std::size_t>(n * n), 0);
    for (int64_t s = 0; s < n; ++s) {
      for (const Difference& difference : run(changed(s, s + 1, fmt::format("token/{}", s)))) {
        const std::string& name = base_.name(difference.index);
        for_changed(difference, [&](int64_t t) {
          int& layer = result_.influence.first_layer[static_cast<std::size_t>(t * n + s)];
          if (layer < 0) layer = layer_of(name, config_.num_hidden_layers);
          if (name == "logits") logits_see[static_cast<std::size_t>(t * n + s)] = 1;
          if (t < s) note_leak(difference.index, t, s);
        });
      }
    }
    return sensitivity(logits_see);
  }

  // The first position that reaches the last one: each layer looks one window further back.
  int64_t first_reaching_last() const {
    if (config_.window == 0 || config_.sink_tokens > 0) return 0;
    const int64_t reach = config_.num_hidden_layers * (config_.window - 1);
    return std::max<int64_t>(0, batch_.positions - 1 - reach);
  }

  // Positions must matter where they are bound to: to themselves, and the first that can be, if
  // real, to the last.
  Check sensitivity(const std::vector<uint8_t>& logits_see) const {
    const int64_t n = batch_.positions;
    Check check{
        .name = "influence", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
    for (int64_t t = 0; t < n; ++t) {
      if (logits_see[static_cast<std::size_t>(t * n + t)] != 0) continue;
      check.status = Status::fail;
      check.summary = fmt::format("the logits at position {} do not depend on its own token", t);
      return check;
    }
    const int64_t first = first_reaching_last();
    const bool first_is_real = batch_.attention_mask[static_cast<std::size_t>(first)] != 0;
    if (first_is_real && logits_see[static_cast<std::size_t>((n - 1) * n + first)] == 0) {
      check.status = Status::fail;
      check.summary =
          fmt::format("the logits at position {} do not depend on token {}", n - 1, first);
      return check;
    }
    check.summary =
        fmt::format("{} single tokens changed: every position sees itself, the last one {}", n,
                    first == 0 ? "the first" : fmt::format("token {}, which windows reach", first));
    return check;
  }

  Check prefix() {
    int64_t cuts = 0;
    for (int64_t cut = 1; cut < batch_.positions; ++cut) {
      for (int suffix = 0; suffix < options_.suffixes; ++suffix) {
        ++cuts;
        const Batch other =
            changed(cut, batch_.positions, fmt::format("suffix/{}/{}", cut, suffix));
        for (const Difference& difference : run(other)) {
          for_changed(difference, [&](int64_t t) {
            if (t < cut) note_leak(difference.index, t, -1);
          });
        }
      }
    }
    Check check{
        .name = "prefix", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
    if (result_.leaks) {
      check.status = Status::fail;
      check.summary = result_.s < 0
                          ? fmt::format("leak at {}: position {} changes with later tokens",
                                        result_.tensor, result_.t)
                          : fmt::format("leak at {}, first pair ({} <- {})", result_.tensor,
                                        result_.t, result_.s);
    } else if (cuts == 0) {
      check.status = Status::inconclusive;
      check.summary = "one position has no future: expected at least 2 positions";
    } else {
      check.summary =
          fmt::format("{} cuts x {} suffixes: the past of {} tensors unchanged bit for bit",
                      batch_.positions - 1, options_.suffixes, base_.tensors());
    }
    return check;
  }

  Check rows() {
    Check check{
        .name = "batch", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
    if (batch_.batch < 2) {
      check.status = Status::skipped;
      check.summary = "one row has no neighbours";
      return check;
    }
    for (int64_t kept = 0; kept < batch_.batch; ++kept) {
      const Batch other = changed(0, batch_.positions, fmt::format("rows/{}", kept),
                                  [&](int64_t b) { return b == kept; });
      for (const Difference& difference : run(other)) {
        for (int64_t t = 0; t < batch_.positions; ++t) {
          if (difference.rows.empty() ||
              difference.rows[static_cast<std::size_t>(kept * batch_.positions + t)] == 0) {
            continue;
          }
          check.status = Status::fail;
          check.summary =
              fmt::format("cross-talk at {}: row {}, position {} changes with other rows",
                          base_.name(difference.index), kept, t);
          return check;
        }
      }
    }
    check.summary =
        fmt::format("each of {} rows unchanged bit for bit when the others change", batch_.batch);
    return check;
  }

  Check labels() {
    Batch other = batch_;
    std::vector<uint32_t> words(other.labels.size());
    golden::random_words(options_.seed, golden::stream_id("labels"), 0, words);
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (other.labels[i] >= 0) other.labels[i] = other_token(other.labels[i], words[i]);
    }
    Check check{
        .name = "labels", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
    for (const Difference& difference : run(other)) {
      if (!difference.any || base_.name(difference.index) == "loss") continue;
      check.status = Status::fail;
      check.summary = fmt::format("{} changes with the labels", base_.name(difference.index));
      return check;
    }
    check.summary = "other labels leave everything but the loss alone";
    return check;
  }

  Subject& subject_;
  const golden::ModelConfig& config_;
  const Batch& batch_;
  const PrefixOptions& options_;
  Recording base_;
  PrefixResult result_;
  std::size_t first_leak_ = 0;
};

}  // namespace

PrefixResult detect_prefix_leaks(Subject& subject, const golden::ModelConfig& config,
                                 const Batch& batch, const PrefixOptions& options) {
  if (!subject.capabilities().can_run) {
    PrefixResult result;
    result.checks.push_back({.name = "prefix",
                             .status = Status::skipped,
                             .summary = subject.describe() + " cannot run on other tokens",
                             .details = {},
                             .seconds = 0});
    return result;
  }
  if (config.vocab_size < 2) {
    throw InputError("prefix detector: vocab_size 1: expected at least 2 tokens to choose from");
  }
  return Detector(subject, config, batch, options).detect();
}

}  // namespace assay::verify
