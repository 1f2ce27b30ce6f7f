#include "verify/judge/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "golden/contract/precision.h"
#include "reference/methods/registry.h"
#include "verify/judge/stopwatch.h"
#include "verify/subjects/bindings.h"
#include "verify/subjects/graph_subject.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {
namespace {

using Values = std::map<std::string, std::vector<double>>;

constexpr double kRounding = 16;  // units, of the largest value: another order of sums
constexpr double kClear = 256;    // units: nothing that roundings hide

Values values_of(Subject& subject, const Batch& batch, const KeptValues& kept) {
  Values all;
  subject.run(batch, {}, [&](Observed observed) {
    if (!kept.has(observed.name) || observed.restrictions.first_position > 0) return;
    if (observed.tensor.shape != kept.places(observed.name).shape) return;
    if (!read_values(observed)) return;
    all[observed.name] = std::move(observed.tensor.values);
  });
  return all;
}

bool same_bits(const Values& a, const Values& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    const std::size_t bytes = x.second.size() * sizeof(double);
    return x.first == y.first && x.second.size() == y.second.size() &&
           std::memcmp(x.second.data(), y.second.data(), bytes) == 0;
  });
}

// How a position of a tensor differs between two runs.
struct Changed {
  double most = 0, largest = 0;  // |difference|, |value|
  double in_units(double unit) const { return most == 0 ? 0 : most / (unit * largest); }
};

Changed change_at(const Places& places, const std::vector<double>& a, const std::vector<double>& b,
                  int64_t row, int64_t t) {
  Changed changed;
  for (int64_t h = 0; h < places.between(); ++h) {
    const auto first = static_cast<std::size_t>(places.element(row, h, t));
    for (std::size_t i = first; i < first + static_cast<std::size_t>(places.inside()); ++i) {
      const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
      if (!same) changed.most = std::max(changed.most, std::fabs(a[i] - b[i]));
      if (!same && !std::isfinite(a[i] - b[i])) changed.most = HUGE_VAL;
      if (std::isfinite(a[i])) changed.largest = std::max(changed.largest, std::fabs(a[i]));
    }
  }
  return changed;
}

// Positions at which the last one's window, or the sinks, end; at both sides of each edge.
std::vector<int64_t> telling_positions(const golden::ModelConfig& config, int64_t T) {
  std::set<int64_t> list{0, 1, T / 2, T - 2, T - 1};
  const auto edge = [&](int64_t first) { list.insert({first - 1, first}); };
  if (config.window > 0) {
    edge(T - config.window);
    edge(T / 2 - config.window);
    edge(T - config.window / 2);
  }
  if (config.sink_tokens > 0) edge(config.sink_tokens);
  std::vector<int64_t> inside;
  std::copy_if(list.begin(), list.end(), std::back_inserter(inside),
               [&](int64_t t) { return t >= 0 && t < T; });
  return inside;
}

Batch with_another_token(Batch batch, int64_t t, int64_t vocab_size) {
  const int64_t shift = std::max<int64_t>(1, vocab_size / 2);
  for (int64_t b = 0; b < batch.batch; ++b) {
    int32_t& token = batch.tokens[static_cast<std::size_t>(b * batch.positions + t)];
    token = static_cast<int32_t>((token + shift) % vocab_size);
  }
  return batch;
}

struct Runs {
  Values subject, exact, rounded;
};

struct Found {
  std::string dead, beyond, faint;  // the first of each kind
  int64_t due = 0, still = 0;       // positions that had to change, that had not to
};

class Sensitivity {
 public:
  Sensitivity(const Case& file, Subject& subject, const KeptValues& kept, const IsCompared& counts)
      : file_(file),
        subject_(subject),
        kept_(kept),
        counts_(counts),
        schedule_(subject.precision()) {}

  Check check() {
    Check check{.name = "mode: sensitivity", .status = Status::pass, .summary = {}, .details = {}};
    base_ = runs_on(file_.batch);
    if (!same_bits(values_of(subject_, file_.batch, kept_), base_.subject)) {
      check.status = Status::inconclusive;
      check.summary = "two runs on one batch differ: what a token changes does not show";
      return check;
    }
    const golden::ModelConfig& config = file_.golden.header().config;
    for (const int64_t s : telling_positions(config, file_.batch.positions)) compare(s);
    conclude(check);
    return check;
  }

 private:
  Runs runs_on(const Batch& batch) {
    const golden::ModelConfig& config = file_.golden.header().config;
    const auto reference = [&](const golden::PrecisionSchedule& schedule) {
      GraphSubject graph("reference", reference::build_model, config, file_.golden, schedule);
      return values_of(graph, batch, kept_);
    };
    return {values_of(subject_, batch, kept_),
            reference(golden::usual_schedule(golden::Precision::fp64)), reference(schedule_)};
  }

  // Every position of every tensor, in order of computation, with token s changed in every row.
  void compare(int64_t s) {
    const int64_t V = file_.golden.header().config.vocab_size;
    const Runs other = runs_on(with_another_token(file_.batch, s, V));
    if (!sizes_agree(other)) return;
    ++compared_;
    for (const Checkpoint& checkpoint : file_.asked) {
      const std::string& name = checkpoint.name;
      if (!base_.subject.contains(name) || !other.subject.contains(name)) continue;
      if (!other.exact.contains(name) || !other.rounded.contains(name)) continue;
      compare_tensor(name, s, other);
    }
  }

  // Windows that are sized by what is computed are those of the reference, before and after; that
  // roundings change one is no fault.
  bool sizes_agree(const Runs& other) const {
    const auto agree = [](const Runs& runs) {
      return std::all_of(runs.exact.begin(), runs.exact.end(), [&](const auto& tensor) {
        if (!tensor.first.ends_with("/attn/window")) return true;
        const auto own = runs.subject.find(tensor.first);
        return own != runs.subject.end() && own->second == tensor.second &&
               runs.rounded.at(tensor.first) == tensor.second;
      });
    };
    return agree(base_) && agree(other);
  }

  void compare_tensor(const std::string& name, int64_t s, const Runs& other) {
    const Places& places = kept_.places(name);
    const golden::Precision storage = schedule_.storage_of(name);
    const double unit =
        std::max(golden::unit_roundoff(storage), golden::unit_roundoff(schedule_.accumulate));
    for (int64_t b = 0; b < places.rows(); ++b) {
      for (int64_t t = 0; t < places.positions(); ++t) {
        if (!counts_(b, t)) continue;
        const auto change = [&](const Values& before, const Values& after) {
          return change_at(places, before.at(name), after.at(name), b, t);
        };
        const Changed own = change(base_.subject, other.subject);
        const Changed exact = change(base_.exact, other.exact);
        const std::string where = fmt::format("{}: row {}, position {}", name, b, t);
        if (exact.most == 0) {
          ++found_.still;
          if (own.most == 0) continue;
          std::string& text = own.in_units(unit) > kRounding ? found_.beyond : found_.faint;
          if (text.empty()) {
            text = fmt::format("{} changes with token {}, which it must not see", where, s);
          }
        } else if (exact.in_units(unit) > kClear &&
                   change(base_.rounded, other.rounded).in_units(unit) > kClear) {
          ++found_.due;
          if (own.most == 0 && found_.dead.empty()) {
            found_.dead = fmt::format("{} does not change with token {}", where, s);
          }
        }
      }
    }
  }

  void conclude(Check& check) const {
    for (const std::string* fault : {&found_.beyond, &found_.dead}) {
      if (fault->empty()) continue;
      check.status = Status::fail;
      if (check.summary.empty()) {
        check.summary = *fault;
      } else {
        check.details.push_back(*fault);
      }
    }
    if (check.status == Status::fail) return;
    if (!found_.faint.empty()) {
      check.status = Status::inconclusive;
      check.summary = found_.faint + ", by no more than rounding";
    } else if (compared_ == 0) {
      check.status = Status::inconclusive;
      check.summary = "it does not hand over sizes of windows that are those of the reference";
    } else if (found_.due == 0) {
      check.status = Status::inconclusive;
      check.summary = "no position of what it hands over has to change by more than rounding";
    } else {
      check.summary = fmt::format(
          "{} tokens changed one at a time: {} positions of tensors change as they have to, {} "
          "stay "
          "as they are, bit for bit",
          compared_, found_.due, found_.still);
    }
  }

  const Case& file_;
  Subject& subject_;
  const KeptValues& kept_;
  const IsCompared& counts_;
  const golden::PrecisionSchedule schedule_;
  Runs base_;
  int64_t compared_ = 0;  // tokens
  Found found_;
};

}  // namespace

Check sensitivity_check(const Case& file, Subject& subject, const KeptValues& kept,
                        const IsCompared& is_compared) {
  Stopwatch watch;
  Check check{.name = "mode: sensitivity", .summary = {}, .details = {}};
  try {
    check = Sensitivity(file, subject, kept, is_compared).check();
  } catch (const SubjectRefusal& refusal) {
    check.status = Status::inconclusive;
    check.summary = fmt::format("it refuses what this asks: {}", refusal.what());
  } catch (const SubjectFailure& failure) {
    check.status = Status::fail;
    check.summary = failure.what();
  }
  check.seconds = watch.lap();
  return check;
}

}  // namespace assay::verify
