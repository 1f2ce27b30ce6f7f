// influence: one token changed at a time. Every real token must show at its own position, and the
// first one within reach at the last one of its row. It fills the influence matrix and notes every
// pair (t <- s) with s > t, which the check "prefix" reports.
//
// No change is no proof that there is no dependence: a pair that does not show is tried with other
// tokens, and then the reference says whether it should have shown.
#include "verify/leakage/influence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/leakage/each_token.h"
#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

Batch with_token(const Experiment& experiment, int64_t s, int draw) {
  const std::string stream =
      draw == 0 ? fmt::format("token/{}", s) : fmt::format("token/{}/{}", s, draw);
  return experiment.with_tokens(s, s + 1, stream);
}

Seen change_each_token(Experiment& experiment, const std::string& tensor) {
  const int64_t n = experiment.batch().positions;
  Seen seen(static_cast<std::size_t>(experiment.batch().batch * n * n), 0);
  for (int64_t s = 0; s < n; ++s) {
    const Batch other = with_token(experiment, s, 0);
    for (const Difference& difference : experiment.run(other)) {
      for_changed(difference, n, [&](int64_t t, Change change) {
        experiment.note_influence(difference.index, t, s);
        experiment.note(difference.index, t, s, true, change, other);
      });
      if (experiment.base().name(difference.index) != tensor) continue;
      for (std::size_t row = 0; row < difference.rows.size(); ++row) {
        if (difference.rows[row] == unchanged) continue;
        seen[row * static_cast<std::size_t>(n) + static_cast<std::size_t>(s)] = 1;
      }
    }
  }
  return seen;
}

namespace {

constexpr int kDraws = 4;  // tokens that are tried for a pair

// A dependence that the mask allows.
struct Pair {
  int64_t b, t, s;
};

// The first position that the last real one of row b hears of: each layer looks one window further
// back, past what is padding, and every layer sees the sinks. Of a dynamic window it is sure of the
// least size.
Pair longest_reach(const golden::ModelConfig& config, const Batch& batch, int64_t b) {
  const auto real = [&](int64_t t) {
    return batch.attention_mask[static_cast<std::size_t>(b * batch.positions + t)] != 0;
  };
  int64_t last = batch.positions - 1;
  while (last >= 0 && !real(last)) --last;
  const bool dynamic = config.window_kind == golden::WindowKind::dynamic;
  const int64_t window = dynamic ? config.window_min : config.window;
  int64_t first = last;
  for (int64_t layer = 0; layer < config.num_hidden_layers && first > 0; ++layer) {
    const int64_t edge = window == 0 ? 0 : std::max<int64_t>(0, first - window + 1);
    int64_t next = first;
    for (int64_t s = first; s >= edge; --s) next = real(s) ? s : next;
    for (int64_t s = std::min(config.sink_tokens, first) - 1; s >= 0; --s) {
      next = real(s) ? std::min(s, next) : next;
    }
    first = next;
  }
  return {b, last, first};
}

// In order: every real position by itself, then the longest reach of each row.
std::vector<Pair> due_pairs(const Experiment& experiment) {
  const Batch& batch = experiment.batch();
  std::vector<Pair> pairs, reaches;
  for (int64_t b = 0; b < batch.batch; ++b) {
    for (int64_t t = 0; t < batch.positions; ++t) {
      if (batch.attention_mask[static_cast<std::size_t>(b * batch.positions + t)] != 0) {
        pairs.push_back({b, t, t});
      }
    }
    const Pair reach = longest_reach(experiment.config(), batch, b);
    if (reach.t > reach.s) reaches.push_back(reach);
  }
  pairs.insert(pairs.end(), reaches.begin(), reaches.end());
  return pairs;
}

bool shows_with_other_tokens(Experiment& experiment, const Pair& pair) {
  const int64_t n = experiment.batch().positions;
  for (int draw = 1; draw < kDraws; ++draw) {
    for (const Difference& difference : experiment.run(with_token(experiment, pair.s, draw))) {
      if (experiment.base().name(difference.index) != "logits") continue;
      if (difference.rows[static_cast<std::size_t>(pair.b * n + pair.t)] != 0) return true;
    }
  }
  return false;
}

// Whether the reference's logits change with one of the tokens that were tried by more than what
// roundings of the subject can hide. Without a reference they are taken to.
bool should_show(const Experiment& experiment, const Pair& pair) {
  constexpr double kHidden = 16;  // units of the coarsest type, of the largest logit
  const auto& logits_of = experiment.options().reference_logits;
  if (!logits_of) return true;
  const golden::Tensor base = logits_of(experiment.batch());
  const int64_t vocab = base.shape.back();
  const auto at =
      static_cast<std::size_t>((pair.b * experiment.batch().positions + pair.t) * vocab);
  const double unit = experiment.coarsest_unit();
  for (int draw = 1; draw < kDraws; ++draw) {
    const golden::Tensor other = logits_of(with_token(experiment, pair.s, draw));
    double largest = 0, change = 0;
    for (std::size_t i = at; i < at + static_cast<std::size_t>(vocab); ++i) {
      largest = std::max(largest, std::abs(base.values[i]));
      change = std::max(change, std::abs(base.values[i] - other.values[i]));
    }
    if (change > kHidden * unit * largest) return true;
  }
  return false;
}

std::string fault_text(const Pair& pair) {
  if (pair.t == pair.s) {
    return fmt::format("the logits at position {} do not depend on its own token", pair.t);
  }
  return fmt::format("the logits at position {} do not depend on token {}", pair.t, pair.s);
}

}  // namespace

Check detect_influence(Experiment& experiment) {
  const int64_t n = experiment.batch().positions;
  const Seen logits_see = change_each_token(experiment, "logits");
  Check check{
      .name = "influence", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  const std::vector<Pair> pairs = due_pairs(experiment);
  int64_t hidden = 0;
  std::string first_hidden;
  for (const Pair& pair : pairs) {
    if (logits_see[static_cast<std::size_t>((pair.b * n + pair.t) * n + pair.s)] != 0) continue;
    if (shows_with_other_tokens(experiment, pair)) continue;
    if (should_show(experiment, pair)) {
      check.status = Status::fail;
      check.summary = fault_text(pair);
      return check;
    }
    if (hidden++ == 0) first_hidden = fault_text(pair);
  }
  const Pair& longest = pairs.empty() ? Pair{0, 0, 0} : pairs.back();
  check.summary =
      fmt::format("{} single tokens changed: every real position sees itself, position {} token {}",
                  n, longest.t, longest.s);
  if (hidden == static_cast<int64_t>(pairs.size())) {
    check.status = Status::inconclusive;
    check.summary = "no token shows in the logits, nor does it in the reference's";
  } else if (hidden > 0) {
    check.details = {fmt::format("too small to show in the storage type, of {} pairs {}, first: {}",
                                 pairs.size(), hidden, first_hidden)};
  }
  return check;
}

}  // namespace assay::verify
