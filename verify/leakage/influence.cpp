// influence: one token changed at a time. Every position must see itself, and the last one the
// first, or the first that its windows reach. It fills the influence matrix and notes every pair
// (t <- s) with s > t, which the check "prefix" reports.
#include "verify/leakage/influence.h"

#include <fmt/format.h>

#include <algorithm>

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {
namespace {

// [T,T], 1 where the logits at t change with token s.
using Seen = std::vector<uint8_t>;

Seen change_each_token(Experiment& experiment) {
  const int64_t n = experiment.batch().positions;
  Seen logits_see(static_cast<std::size_t>(n * n), 0);
  for (int64_t s = 0; s < n; ++s) {
    const Batch other = experiment.with_tokens(s, s + 1, fmt::format("token/{}", s));
    for (const Difference& difference : experiment.run(other)) {
      const bool is_logits = experiment.base().name(difference.index) == "logits";
      for_changed(difference, n, [&](int64_t t) {
        experiment.note_influence(difference.index, t, s);
        if (is_logits) logits_see[static_cast<std::size_t>(t * n + s)] = 1;
        if (t < s) experiment.note_leak(difference.index, t, s);
      });
    }
  }
  return logits_see;
}

// The first position that reaches the last one: each layer looks one window further back.
int64_t first_reaching_last(const golden::ModelConfig& config, int64_t positions) {
  if (config.window == 0 || config.sink_tokens > 0) return 0;
  const int64_t reach = config.num_hidden_layers * (config.window - 1);
  return std::max<int64_t>(0, positions - 1 - reach);
}

}  // namespace

// The first position counts only if it is a real token, no padding.
Check detect_influence(Experiment& experiment) {
  const Batch& batch = experiment.batch();
  const int64_t n = batch.positions;
  const Seen logits_see = change_each_token(experiment);
  Check check{
      .name = "influence", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  for (int64_t t = 0; t < n; ++t) {
    if (logits_see[static_cast<std::size_t>(t * n + t)] != 0) continue;
    check.status = Status::fail;
    check.summary = fmt::format("the logits at position {} do not depend on its own token", t);
    return check;
  }
  const int64_t first = first_reaching_last(experiment.config(), n);
  const bool first_is_real = batch.attention_mask[static_cast<std::size_t>(first)] != 0;
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

}  // namespace assay::verify
