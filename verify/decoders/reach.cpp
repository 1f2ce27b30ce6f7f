// influence, of any decoder. Nobody knows its window: what is reported is how far it sees, and what
// has to hold is that it depends on its tokens at all.
#include <fmt/format.h>

#include <algorithm>

#include "verify/decoders/detect.h"
#include "verify/leakage/each_token.h"

namespace assay::verify {
namespace {

bool is_whole_numbers(const Observed& observed) {
  return observed.dtype == golden::DType::int32 || observed.dtype == golden::DType::uint8;
}

// The tensor that the decoder is for: logits, else the last one with a value for each token, else
// the last one with positions.
std::string output_of(const Experiment& experiment) {
  const Recording& base = experiment.base();
  std::string last, wide;
  for (std::size_t i = 0; i < base.tensors(); ++i) {
    if (!base.layout(i).has_positions() || is_whole_numbers(base.tensor(i))) continue;
    const std::string& name = base.name(i);
    if (name.substr(name.find_last_of("/.") + 1) == "logits") return name;
    last = name;
    if (base.tensor(i).tensor.shape.back() == experiment.ground().vocab_size) wide = name;
  }
  return wide.empty() ? last : wide;
}

// Which positions a tensor has: an axis may be shorter than the tokens are.
std::vector<bool> positions_of(const Recording& base, const std::string& tensor) {
  std::vector<bool> there(static_cast<std::size_t>(base.positions()), false);
  const std::size_t i = index_of(base, tensor);
  if (i == base.tensors()) return there;
  for_blocks(base.layout(i), base.tensor(i).tensor.shape, base.batch(), base.positions(),
             [&](const Block& block) { there[static_cast<std::size_t>(block.position)] = true; });
  return there;
}

struct Reach {
  std::vector<int64_t> deaf, not_self;  // positions that see no token; that see not their own
  int64_t last_sees = -1;               // the first token that the last position sees
  int64_t positions = 0;                // that the tensor has
  bool any = false;
};

Reach reach_of(const Experiment& experiment, const std::string& output, const Seen& seen) {
  const std::vector<bool> there = positions_of(experiment.base(), output);
  const int64_t n = experiment.batch().positions, rows = experiment.batch().batch;
  Reach reach;
  for (int64_t t = 0; t < n; ++t) {
    if (!there[static_cast<std::size_t>(t)]) continue;
    ++reach.positions;
    bool hears = false, self = true;
    for (int64_t b = 0; b < rows; ++b) {
      const auto row = seen.begin() + (b * n + t) * n;
      const bool any = std::any_of(row, row + n, [](uint8_t x) { return x != 0; });
      hears = hears || any;
      self = self && row[t] != 0;
      if (any && b == 0) reach.last_sees = std::find(row, row + n, 1) - row;
    }
    if (!hears) reach.deaf.push_back(t);
    if (!self) reach.not_self.push_back(t);
    reach.any = reach.any || hears;
  }
  return reach;
}

// Another token that did not show, tried with others.
void try_again(Experiment& experiment, const std::string& output, Seen& seen) {
  constexpr int kDraws = 4;
  const int64_t n = experiment.batch().positions, rows = experiment.batch().batch;
  for (int64_t s = 0; s < n; ++s) {
    const auto shows = [&] {
      for (int64_t b = 0; b < rows; ++b) {
        if (seen[static_cast<std::size_t>((b * n + s) * n + s)] == 0) return false;
      }
      return true;
    };
    for (int draw = 1; draw < kDraws && !shows(); ++draw) {
      const Batch other = with_token(experiment, s, draw);
      for (const Difference& difference : experiment.run(other)) {
        if (experiment.base().name(difference.index) != output) continue;
        for (std::size_t row = 0; row < difference.rows.size(); ++row) {
          if (difference.rows[row] == unchanged) continue;
          seen[row * static_cast<std::size_t>(n) + static_cast<std::size_t>(s)] = 1;
        }
      }
    }
  }
}

std::string list_text(const std::vector<int64_t>& positions) {
  return positions.size() == 1 ? fmt::format("position {}", positions.front())
                               : fmt::format("{} positions, the first of them {},",
                                             positions.size(), positions.front());
}

}  // namespace

Check detect_reach(const Decoder& decoder) {
  Experiment& experiment = decoder.experiment;
  const int64_t n = experiment.batch().positions;
  const std::string output = output_of(experiment);
  Check check{
      .name = "influence", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  Seen seen = change_each_token(experiment, output);
  Reach reach = reach_of(experiment, output, seen);
  // A few that did not show may do so with other tokens; if none did, it is how the program is.
  if (!reach.not_self.empty() && static_cast<int64_t>(reach.not_self.size()) < reach.positions) {
    try_again(experiment, output, seen);
    reach = reach_of(experiment, output, seen);
  }
  std::vector<int64_t> deaf = reach.deaf;
  const bool own_is_hidden = static_cast<int64_t>(reach.not_self.size()) == reach.positions;
  if (own_is_hidden && !deaf.empty() && deaf.front() == 0) deaf.erase(deaf.begin());
  if (output.empty() || !reach.any) {
    check.status = experiment.is_noisy() ? Status::inconclusive : Status::fail;
    check.summary = output.empty() ? "nothing with positions to see tokens in"
                                   : fmt::format("{} depends on no token", output);
  } else if (!deaf.empty()) {
    check.status = experiment.is_noisy() ? Status::inconclusive : Status::fail;
    check.summary = fmt::format("{}: {} {} on no token", output, list_text(deaf),
                                deaf.size() == 1 ? "depends" : "depend");
  } else {
    check.summary = fmt::format(
        "{} single tokens changed, seen in {}: {}, the last one sees back to token {}", n, output,
        own_is_hidden            ? "no position sees its own token"
        : reach.not_self.empty() ? "every position sees itself"
                                 : fmt::format("{} not its own token", list_text(reach.not_self)),
        reach.last_sees);
    if (own_is_hidden) {
      check.details = {
          fmt::format("positions that predict their own token from those before it? --axis "
                      "'{}=AXIS:-1' judges them as such",
                      output)};
    } else if (!reach.not_self.empty()) {
      check.status = Status::inconclusive;
    }
  }
  return check;
}

}  // namespace assay::verify
