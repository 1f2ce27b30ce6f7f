#include "verify/judge/modes.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "golden/contract/config.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "verify/decoders/batches.h"
#include "verify/judge/checkpointed.h"
#include "verify/judge/sensitivity.h"
#include "verify/judge/stopwatch.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {
namespace {

std::vector<int64_t> in_order(int64_t rows) {
  std::vector<int64_t> list;
  for (int64_t b = 0; b < rows; ++b) list.push_back(b);
  return list;
}

// Positions that parameters are for.
int64_t most_positions(const golden::ModelConfig& config) {
  const golden::MethodInfo& method = golden::find_method(config.method);
  int64_t most = config.max_position_embeddings;
  if (method.takes("score_positions")) most = std::min(most, golden::score_positions_of(config));
  return most;
}

// The batch with `more` positions behind it, which are padding.
Batch filled_up(const Batch& batch, int64_t more) {
  Batch longer;
  longer.batch = batch.batch;
  longer.positions = batch.positions + more;
  for (int64_t b = 0; b < longer.batch; ++b) {
    for (int64_t t = 0; t < longer.positions; ++t) {
      const auto i =
          static_cast<std::size_t>(b * batch.positions + std::min(t, batch.positions - 1));
      const bool is_own = t < batch.positions;
      longer.tokens.push_back(batch.tokens[i]);
      longer.attention_mask.push_back(is_own ? batch.attention_mask[i] : uint8_t{0});
      longer.labels.push_back(is_own ? batch.labels[i] : -100);
    }
  }
  return longer;
}

// A row of the part goes to its place; throws SubjectFailure for a shape that is not its.
void put_rows(const std::vector<int64_t>& rows, int64_t positions, const Batch& batch,
              const Observed& observed, PartTensor& to) {
  golden::Shape due = to.places.shape;
  due[0] = batch.batch;
  due[to.places.axis] = batch.positions;
  if (observed.tensor.shape != due) {
    throw SubjectFailure(fmt::format(
        "{} of {} rows of {} positions: expected {}, got {}", observed.name, batch.batch,
        batch.positions, golden::shape_text(due), golden::shape_text(observed.tensor.shape)));
  }
  const Places from{due, to.places.axis};
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (rows[r] < 0) continue;
    for (int64_t t = observed.restrictions.first_position; t < positions; ++t) {
      to.given[static_cast<std::size_t>(rows[r] * to.places.positions() + t)] = kFirst;
      for (int64_t h = 0; h < to.places.between(); ++h) {
        const double* source =
            observed.tensor.values.data() + from.element(static_cast<int64_t>(r), h, t);
        std::copy(source, source + to.places.inside(),
                  to.values.data() + to.places.element(rows[r], h, t));
      }
    }
  }
}

}  // namespace

ModesJudge::ModesJudge(const Case& file, Subject& subject, const KeptValues& kept,
                       std::string command)
    : file_(file),
      subject_(subject),
      kept_(kept),
      command_(std::move(command)),
      can_(subject.capabilities()),
      counts_(positions_that_count(file.batch, can_.reads_mask)) {}

std::vector<ModesJudge::PartRun> ModesJudge::lengths() const {
  std::vector<PartRun> list;
  if (can_.fixed_length > 0 || hears_the_future(file_.golden.header().config)) return list;
  const int64_t T = file_.batch.positions;
  for (const int64_t n : std::set<int64_t>{1, 2, T / 2, T - 1}) {
    if (n < 1 || n >= T) continue;
    list.push_back({fmt::format("on the first {}", n), part_of(file_.batch, 0, n),
                    in_order(file_.batch.batch), n});
  }
  return list;
}

std::vector<ModesJudge::PartRun> ModesJudge::row_orders() const {
  const int64_t B = file_.batch.batch, T = file_.batch.positions;
  const int64_t V = file_.golden.header().config.vocab_size;
  Batch others = file_.batch;
  for (int32_t& token : others.tokens) token = static_cast<int32_t>((token + 1) % V);
  std::vector<int64_t> reversed = in_order(B), more{-1};
  std::reverse(reversed.begin(), reversed.end());
  more.insert(more.end(), reversed.begin(), reversed.end());
  std::vector<PartRun> list;
  const auto add = [&](const std::string& what, const std::vector<int64_t>& rows) {
    list.push_back({what, part_of(file_.batch, rows, 0, T, others), rows, T});
  };
  if (B > 1) add("with rows in reverse", reversed);
  if (can_.fixed_batch > 0) return list;
  add("below a row more", more);
  if (B > 1) add("with the first row alone", {0});
  if (B > 1) add("with the last row alone", {B - 1});
  return list;
}

std::vector<ModesJudge::PartRun> ModesJudge::padded() const {
  constexpr int64_t kMore = 3;
  const golden::ModelConfig& config = file_.golden.header().config;
  const int64_t T = file_.batch.positions;
  const bool hears = !can_.reads_mask && hears_the_future(config);
  const int64_t more = std::min(kMore, most_positions(config) - T);
  if (can_.fixed_length > 0 || hears || more < 1) return {};
  return {{fmt::format("with {} positions of padding behind", more), filled_up(file_.batch, more),
           in_order(file_.batch.batch), T}};
}

std::vector<PartResult> ModesJudge::run(const PartRun& part, const Ledger& own) {
  std::vector<PartResult> results;
  subject_.run(part.batch, {}, [&](Observed observed) {
    if (!kept_.has(observed.name) || own.find_values(observed.name) == nullptr) return;
    if (!read_values(observed)) return;
    PartResult result{part.what, observed.name, empty_part(kept_.places(observed.name)), {}};
    put_rows(part.rows, part.positions, part.batch, observed, result.tensor);
    results.push_back(std::move(result));
    results.back().seen = kept_.compare(results.back(), own, counts_, {});
  });
  return results;
}

void ModesJudge::judge_runs(const char* name, const std::vector<PartRun>& parts, const Ledger& own,
                            const std::function<Widen()>& widen, ModesResult& result) {
  if (parts.empty()) return;
  Stopwatch watch;
  Check check{.name = name, .summary = {}, .details = {}};
  std::vector<std::string> refused;
  try {
    std::vector<PartResult> results;
    for (const PartRun& part : parts) {
      try {
        for (PartResult& each : run(part, own)) results.push_back(std::move(each));
      } catch (const SubjectRefusal& refusal) {
        refused.push_back(fmt::format("not tried: run {}: {}", part.what, refusal.what()));
      } catch (const Unsupported& reason) {
        refused.push_back(fmt::format("not tried: run {}: {}", part.what, reason.what()));
      }
    }
    look_again(kept_, own, counts_, widen, results);
    sort_by_computation(file_, results);
    const bool any = std::any_of(results.begin(), results.end(),
                                 [](const PartResult& each) { return each.seen.elements > 0; });
    if (any) {
      const PartResult* first =
          conclude(results,
                   {"run", false, command_,
                    file_.golden.header().config.window_kind == golden::WindowKind::dynamic},
                   subject_, check);
      if (first != nullptr && result.diverged.empty()) {
        result.diverged = first->name;
        result.first_divergence = {check.details.front(), check.details.back()};
      }
    } else {
      check.status = Status::inconclusive;
      check.summary = refused.empty() ? "no position of what it hands over can be compared"
                                      : "it takes none of these";
    }
  } catch (const SubjectFailure& failure) {
    check.status = Status::fail;
    check.summary = failure.what();
  }
  check.details.insert(check.details.end(), refused.begin(), refused.end());
  check.seconds = watch.lap();
  result.checks.push_back(std::move(check));
}

ModesResult ModesJudge::judge(const Ledger& own, const std::function<Widen()>& widen) {
  ModesResult result;
  if (!can_.can_run) {
    result.checks = {{.name = "modes",
                      .status = Status::skipped,
                      .summary = subject_.describe() + " cannot run on other tokens",
                      .details = {}}};
    return result;
  }
  {
    const Looking looking(
        subject_,
        [&](const std::string& name) {
          return kept_.has(name) ? Interest::useful : Interest::none;
        },
        kept_.names());
    judge_runs("mode: length", lengths(), own, widen, result);
    judge_runs("mode: rows", row_orders(), own, widen, result);
    judge_runs("mode: padding", padded(), own, widen, result);
    result.checks.push_back(sensitivity_check(file_, subject_, kept_, counts_));
  }
  if (std::optional<Check> check = checkpointed_check(file_, subject_)) {
    result.checks.push_back(std::move(*check));
  }
  return result;
}

}  // namespace assay::verify
