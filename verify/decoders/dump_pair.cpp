#include "verify/decoders/dump_pair.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/exchange/dump_tokens.h"
#include "golden/exchange/npy.h"
#include "golden/file/golden_file.h"
#include "verify/decoders/common.h"
#include "verify/decoders/rounding.h"

namespace assay::verify {
namespace {

bool is_tokens(const std::string& name) { return name == "tokens" || name == "input_ids"; }

// The tensors of a dump in the order of its file, and the tokens behind them.
class RecordedSubject : public Subject {
 public:
  RecordedSubject(const RecordedRun& run, std::string ignored)
      : run_(run), ignored_(std::move(ignored)), reader_(run.dump, golden::Reading::lenient) {}

  std::string describe() const override { return run_.dump; }
  Capabilities capabilities() const override { return {}; }
  golden::PrecisionSchedule precision() const override { return {}; }
  golden::DType dtype_of(const std::string& name) const override {
    return reader_.entry(name).dtype;
  }
  std::string storage() const { return reader_.attribute("storage"); }

  void run(const Batch&, const Forced&, const Receive& receive) override {
    for (const golden::DumpEntry& entry : reader_.entries()) {
      if (is_tokens(entry.name) || is_left_out(entry)) continue;
      receive({.name = entry.name, .dtype = entry.dtype, .tensor = reader_.read(entry.name)});
    }
  }

  Batch batch() const {
    const golden::Tensor tokens = read_tokens();
    if (tokens.shape.empty() || tokens.shape.size() > 2 || tokens.values.empty()) {
      throw InputError(fmt::format("{}: its tokens: expected [B,T] or [T], got {}", run_.dump,
                                   golden::shape_text(tokens.shape)));
    }
    Batch batch;
    batch.batch = tokens.shape.size() == 1 ? 1 : tokens.shape[0];
    batch.positions = tokens.shape.back();
    for (const double token : tokens.values) {
      if (!(token >= 0 && token <= INT32_MAX && token == std::floor(token))) {
        throw InputError(
            fmt::format("{}: its tokens: expected whole numbers from 0, got {}", run_.dump, token));
      }
      batch.tokens.push_back(static_cast<int32_t>(token));
    }
    return batch;
  }

  const std::map<std::string, std::string>& left_out() const { return left_out_; }

 private:
  bool is_left_out(const golden::DumpEntry& entry) {
    if (!ignored_.empty() && golden::matches(ignored_, entry.name)) {
      left_out_[entry.name] = "left out by --ignore";
    } else if (!entry.problem.empty()) {
      left_out_[entry.name] = entry.problem;
    } else {
      return false;
    }
    return true;
  }

  golden::Tensor read_tokens() const {
    if (!run_.tokens.empty()) return golden::read_npy(run_.tokens);
    golden::Tensor tokens = golden::dump_tokens(run_.dump);
    if (!tokens.values.empty()) return tokens;
    throw InputError(fmt::format(
        "{}: its tokens are not known: expected a tensor tokens or input_ids, or --tokens-a and "
        "--tokens-b",
        run_.dump));
  }

  RecordedRun run_;
  std::string ignored_;
  golden::DumpReader reader_;
  std::map<std::string, std::string> left_out_;
};

// Of each row, the positions before the first token that differs.
std::vector<int64_t> common_positions(const Batch& a, const Batch& b) {
  const int64_t n = std::min(a.positions, b.positions);
  std::vector<int64_t> common;
  for (int64_t row = 0; row < a.batch; ++row) {
    int64_t t = 0;
    while (t < n && a.tokens[static_cast<std::size_t>(row * a.positions + t)] ==
                        b.tokens[static_cast<std::size_t>(row * b.positions + t)]) {
      ++t;
    }
    common.push_back(t);
  }
  return common;
}

// Layouts of the longer run's tensors, told from the shorter one's where it is shorter.
struct PairLayouts {
  std::map<std::string, FoundAxes> found;

  PairLayouts(const Recording& longer, const Recording& shorter, const AxesOptions& options) {
    for (std::size_t i = 0; i < longer.tensors(); ++i) {
      Probed probed;
      probed.batch = longer.batch();
      probed.positions = longer.positions();
      probed.shape = longer.tensor(i).tensor.shape;
      const std::size_t j = index_of(shorter, longer.name(i));
      if (longer.positions() != shorter.positions() && j < shorter.tensors()) {
        probed.shorter = shorter.tensor(j).tensor.shape;
        probed.shorter_positions = shorter.positions();
      }
      FoundAxes axes = find_axes(longer.name(i), probed, options);
      if (j == shorter.tensors()) {
        axes.layout = Layout();
        axes.problem = "the other dump has none";
      }
      settle_layout(longer.name(i), longer.tensor(i).tensor, options, axes);
      found[longer.name(i)] = std::move(axes);
    }
  }

  Layout operator()(const std::string& name) const {
    const auto it = found.find(name);
    return it == found.end() ? Layout{} : it->second.layout;
  }
};

Check tensors_check(const Recording& run, const PairLayouts& layouts,
                    const std::map<std::string, std::string>& left_out) {
  Check check{.name = "tensors", .status = Status::pass, .summary = "", .details = {}};
  int64_t judged = 0;
  for (std::size_t i = 0; i < run.tensors(); ++i) {
    const FoundAxes& axes = layouts.found.at(run.name(i));
    judged += axes.problem.empty();
    check.details.push_back(
        axes.problem.empty()
            ? run.name(i) + " " + axes_text(axes.layout, run.tensor(i).tensor.shape)
            : fmt::format("not judged: {} {}: {}", run.name(i),
                          golden::shape_text(run.tensor(i).tensor.shape), axes.problem));
  }
  for (const auto& [name, reason] : left_out) {
    check.details.push_back(fmt::format("not judged: {}: {}", name, reason));
  }
  check.summary = fmt::format("{} of {} have positions", judged, run.tensors() + left_out.size());
  if (judged == 0) check.status = Status::inconclusive;
  return check;
}

struct PairFound {
  Check check{.name = "prefix", .status = Status::pass, .summary = "", .details = {}};
  bool later_differs = false;  // or one run goes on where the other ends
  int64_t compared = 0;        // positions
};

// What positions that both runs share say, in order of the tensors.
PairFound compare_pair(const Recording& base, const std::vector<Apart>& apart,
                       const std::vector<int64_t>& common, const Rounding& rounding,
                       bool same_shape) {
  PairFound result;
  const int64_t least = *std::min_element(common.begin(), common.end());
  result.later_differs = !same_shape;
  for (const Apart& at : apart) {
    const Layout& layout = base.layout(at.index);
    const int64_t shared = layout.has_rows() ? common[static_cast<std::size_t>(at.row)] : least;
    if (at.position >= shared) {
      result.later_differs = result.later_differs || at.bits;
      continue;
    }
    ++result.compared;
    const bool faint_only =
        same_shape ? at.size <= rounding.faint : size_of(rounding, at.size) != Size::large;
    const bool is_same = same_shape ? !at.bits : size_of(rounding, at.size) == Size::rounding;
    if (is_same || (faint_only && result.check.status != Status::pass)) continue;
    result.check.status = faint_only ? Status::inconclusive : Status::fail;
    result.check.summary = fmt::format(
        "{} at {}: row {}, position {} differs by {:.2g} of its size, the first token that differs "
        "is {}{}",
        faint_only ? "a difference" : "leak", base.name(at.index), at.row, at.position, at.size,
        shared, faint_only ? "; no more than rounding brings" : "");
    if (!faint_only) break;
  }
  return result;
}

void conclude_pair(const Recording& base, const std::vector<int64_t>& common, bool same_shape,
                   const Rounding& rounding, PairFound& result) {
  Check& check = result.check;
  if (check.status == Status::inconclusive) {
    check.details = {"two runs on the same tokens would say what running again changes"};
  }
  if (check.status != Status::pass) return;
  if (result.compared == 0 || !result.later_differs) {
    check.status = Status::inconclusive;
    const bool all = *std::min_element(common.begin(), common.end()) == base.positions();
    check.summary = all                    ? "no token differs: nothing could leak"
                    : result.compared == 0 ? "no tensor has a position that both runs share"
                                           : "the tokens that differ show in no tensor";
    return;
  }
  int64_t tensors = 0;
  for (std::size_t i = 0; i < base.tensors(); ++i) tensors += base.layout(i).has_positions();
  check.summary = fmt::format(
      "the past of {} tensors is the same {}: rows share {} tokens, later positions differ",
      tensors,
      same_shape ? "bit for bit" : fmt::format("within {:.2g} of its size", rounding.whole),
      fmt::join(common, ", "));
}

}  // namespace

std::vector<Check> judge_dump_pair(const RecordedRun& a, const RecordedRun& b,
                                   const AxesOptions& axes, const std::string& ignored) {
  RecordedSubject one(a, ignored), two(b, ignored);
  const Batch first = one.batch(), second = two.batch();
  if (first.batch != second.batch) {
    throw InputError(fmt::format("{}, {}: expected as many rows of tokens, got {} and {}", a.dump,
                                 b.dump, first.batch, second.batch));
  }
  const std::vector<int64_t> common = common_positions(first, second);
  if (*std::max_element(common.begin(), common.end()) == 0) {
    throw InputError(fmt::format("{}, {}: expected tokens that begin alike, got other first ones",
                                 a.dump, b.dump));
  }
  Recording recorded(one, {}, first), other(two, {}, second);
  const bool swapped = second.positions > first.positions;
  Recording& longer = swapped ? other : recorded;
  Recording& shorter = swapped ? recorded : other;
  const PairLayouts layouts(longer, shorter, axes);
  for (Recording* run : {&longer, &shorter}) {
    run->lay_out([&](const std::string& name, const golden::Shape&) { return layouts(name); });
  }
  const bool same_shape = first.positions == second.positions;
  const Rounding rounding = rounding_of(longer, (swapped ? two : one).storage());
  Within within = same_rows(first.batch);
  within.whole_numbers = same_shape;
  std::map<std::string, std::string> left_out = one.left_out();
  left_out.insert(two.left_out().begin(), two.left_out().end());
  PairFound result =
      compare_pair(longer, positions_apart(longer, shorter, within), common, rounding, same_shape);
  conclude_pair(longer, common, same_shape, rounding, result);
  return {tensors_check(longer, layouts, left_out), result.check};
}

}  // namespace assay::verify
