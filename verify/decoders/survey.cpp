#include "verify/decoders/survey.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "verify/decoders/batches.h"
#include "verify/decoders/common.h"
#include "verify/decoders/named.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {
namespace {

const Layouts kUnknown = [](const std::string&, const golden::Shape&) { return Layout{}; };

struct Probe {
  std::optional<Recording> recording;
  std::string refusal;  // why there is none
  Within within;        // where its rows and positions are in the batch
};

Batch with_next_tokens(Batch batch, int64_t vocab_size, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    int32_t& token = batch.tokens[static_cast<std::size_t>(i)];
    token = static_cast<int32_t>((token + 1 + i % (vocab_size - 1)) % vocab_size);
  }
  return batch;
}

class Surveyor {
 public:
  Surveyor(Chosen& subject, const Batch& batch, int64_t vocab_size, const AxesOptions& options)
      : subject_(subject), batch_(batch), vocab_size_(vocab_size), options_(options) {}

  Survey run(const std::string& storage);

 private:
  Recording record(const Batch& batch, const Layouts& layouts) {
    ++runs_;
    return {subject_, layouts, batch};
  }
  Batch other_tokens() const {
    const int64_t all = batch_.batch * batch_.positions;
    return with_next_tokens(batch_, vocab_size_, 0, all);
  }
  void leave_out_varying(const Recording& first);
  Probe probe(bool is_fixed, const std::vector<std::pair<int64_t, int64_t>>& shapes);
  void find(const Recording& first);
  void settle_flat(const Recording& first);
  void check_options(const Recording& first) const;
  bool bits_depend_on_shape(const Recording& first);
  Check check(const Recording& first) const;

  Chosen& subject_;
  const Batch& batch_;
  int64_t vocab_size_;
  const AxesOptions& options_;
  Probe shorter_, wider_;
  std::map<std::string, FoundAxes> found_;
  int64_t runs_ = 0;
};

// Tensors whose shape, or whose presence, the tokens choose.
void Surveyor::leave_out_varying(const Recording& first) {
  const Recording other = record(other_tokens(), kUnknown);
  const auto leave_out = [&](const Recording& a, const Recording& b) {
    for (std::size_t i = 0; i < a.tensors(); ++i) {
      const std::size_t j = index_of(b, a.name(i));
      if (j < b.tensors() && a.tensor(i).tensor.shape == b.tensor(j).tensor.shape) continue;
      subject_.leave_out(a.name(i), j < b.tensors() ? "its shape depends on the tokens"
                                                    : "whether it is there depends on the tokens");
    }
  };
  leave_out(first, other);
  leave_out(other, first);
}

// The first of the shapes {rows, positions} that the subject takes.
Probe Surveyor::probe(bool is_fixed, const std::vector<std::pair<int64_t, int64_t>>& shapes) {
  Probe probe;
  if (is_fixed) probe.refusal = "it takes no other";
  const Batch more = other_tokens();
  for (const auto& [rows, positions] : shapes) {
    if (is_fixed || positions < 1 || positions > batch_.positions) continue;
    if (rows == batch_.batch && positions == batch_.positions) continue;
    Within within = same_rows(rows);
    for (int64_t& row : within.rows) row = row < batch_.batch ? row : -1;
    try {
      probe.recording.emplace(record(part_of(batch_, within.rows, 0, positions, more), kUnknown));
      probe.within = within;
      probe.refusal.clear();
      return probe;
    } catch (const SubjectRefusal& refusal) {
      if (probe.refusal.empty()) probe.refusal = refusal.what();
    }
  }
  return probe;
}

void Surveyor::find(const Recording& first) {
  const auto shape_in = [](const Probe& probe, const std::string& name) {
    std::optional<golden::Shape> shape;
    if (!probe.recording) return shape;
    const std::size_t i = index_of(*probe.recording, name);
    if (i < probe.recording->tensors()) shape = probe.recording->tensor(i).tensor.shape;
    return shape;
  };
  for (std::size_t i = 0; i < first.tensors(); ++i) {
    const std::string& name = first.name(i);
    Probed probed;
    probed.batch = batch_.batch;
    probed.positions = batch_.positions;
    probed.shape = first.tensor(i).tensor.shape;
    probed.shorter = shape_in(shorter_, name);
    if (probed.shorter) probed.shorter_positions = shorter_.recording->positions();
    probed.wider = shape_in(wider_, name);
    if (probed.wider) probed.other_batch = wider_.recording->batch();
    FoundAxes found = find_axes(name, probed, options_);
    settle_layout(name, first.tensor(i).tensor, options_, found);
    found_[name] = std::move(found);
  }
}

// One axis of rows and positions goes position by position where the last token of the first row
// shows at its place in that order alone.
void Surveyor::settle_flat(const Recording& first) {
  const bool any = std::any_of(found_.begin(), found_.end(),
                               [](const auto& entry) { return entry.second.layout.has('F'); });
  if (!any || batch_.batch == 1) return;
  const int64_t last = batch_.positions - 1;
  const Recording other = record(with_next_tokens(batch_, vocab_size_, last, last + 1), kUnknown);
  for (auto& [name, found] : found_) {
    const std::size_t axis = found.layout.axes.find('F');
    const std::size_t i = index_of(first, name), j = index_of(other, name);
    if (axis == std::string::npos || j == other.tensors()) continue;
    const golden::Tensor &a = first.tensor(i).tensor, &b = other.tensor(j).tensor;
    if (a.shape != b.shape) continue;
    int64_t inner = 1;
    for (std::size_t k = axis + 1; k < a.shape.size(); ++k) inner *= a.shape[k];
    bool by_row = false, by_position = false;
    for (std::size_t k = 0; k < a.values.size(); ++k) {
      if (distance(a.values[k], b.values[k]) == 0) continue;
      const int64_t at = static_cast<int64_t>(k) / inner % a.shape[axis];
      by_row = by_row || at == last;
      by_position = by_position || at == last * batch_.batch;
    }
    if (by_position && !by_row) found.layout.axes[axis] = 'f';
  }
}

// Tensors that only another shape brings may be named, too.
void Surveyor::check_options(const Recording& first) const {
  std::set<std::string> names;
  const auto add = [&](const Recording& run) {
    for (std::size_t i = 0; i < run.tensors(); ++i) names.insert(run.name(i));
  };
  add(first);
  if (shorter_.recording) add(*shorter_.recording);
  if (wider_.recording) add(*wider_.recording);
  for (const auto& [name, reason] : subject_.left_out()) names.insert(name);
  check_named(options_, subject_.ignored(), names);
}

// Whether a position's bits are others in a batch of another shape.
bool Surveyor::bits_depend_on_shape(const Recording& first) {
  Recording base = first;
  const Layouts layouts = [this](const std::string& name, const golden::Shape&) {
    const auto found = found_.find(name);
    return found == found_.end() ? Layout{} : found->second.layout;
  };
  base.lay_out(layouts);
  bool any = false, is_known = false;
  for (Probe* probe : {&shorter_, &wider_}) {
    if (!probe->recording) continue;
    is_known = true;
    probe->recording->lay_out(layouts);
    for (const Apart& at : positions_apart(base, *probe->recording, probe->within)) {
      any = any || at.bits;
    }
  }
  return any || !is_known;
}

Check Surveyor::check(const Recording& first) const {
  Check check{.name = "tensors", .status = Status::pass, .summary = "", .details = {}};
  constexpr std::size_t kMost = 6;
  std::vector<std::string> judged;
  for (std::size_t i = 0; i < first.tensors(); ++i) {
    const FoundAxes& found = found_.at(first.name(i));
    if (found.problem.empty()) {
      const std::string where = axes_text(found.layout, first.tensor(i).tensor.shape);
      judged.push_back(first.name(i) + " " + where);
    } else {
      check.details.push_back(fmt::format("not judged by positions: {} {}: {}", first.name(i),
                                          golden::shape_text(first.tensor(i).tensor.shape),
                                          found.problem));
    }
  }
  std::map<std::string, std::vector<std::string>> reasons;
  for (const auto& [name, reason] : subject_.left_out()) reasons[reason].push_back(name);
  for (auto& [reason, names] : reasons) {
    const std::size_t more = names.size() > kMost ? names.size() - kMost : 0;
    names.resize(names.size() - more);
    check.details.push_back(fmt::format("not judged: {}{}: {}", fmt::join(names, ", "),
                                        more > 0 ? fmt::format(" and {} more", more) : "", reason));
  }
  const std::size_t all = first.tensors() + subject_.left_out().size(), count = judged.size();
  if (judged.empty()) {
    check.status = Status::inconclusive;
    check.summary = fmt::format(
        "none of {} tensors has positions: expected one with an axis as long as the tokens, or "
        "--axis NAME=AXIS",
        all);
  } else {
    if (count > kMost) {
      judged[kMost - 2] = "..";
      judged.erase(judged.begin() + kMost - 1, judged.end() - 1);
    }
    check.summary = fmt::format("{} of {} have positions: {}", count, all, fmt::join(judged, ", "));
  }
  const auto say = [&](const Probe& probe, const char* what) {
    if (probe.recording) return;
    check.details.push_back(
        fmt::format("no run with other {}: {}; axes are told by how long they "
                    "are",
                    what, probe.refusal));
  };
  say(shorter_, "lengths");
  say(wider_, "rows");
  return check;
}

Survey Surveyor::run(const std::string& storage) {
  Recording first = record(batch_, kUnknown);
  if (first.tensors() == 0) throw InputError(subject_.describe() + ": handed over no tensor");
  leave_out_varying(first);
  const Capabilities can = subject_.capabilities();
  const int64_t rows = batch_.batch, n = batch_.positions;
  shorter_ = probe(can.fixed_length > 0, {{rows, n - 1}, {rows, n - 2}, {rows, n / 2}});
  wider_ = probe(can.fixed_batch > 0, {{rows + 1, n}, {2 * rows, n}, {rows - (rows > 1), n}});
  check_options(first);
  Recording kept = first;
  kept.drop([&](const std::string& name) { return subject_.left_out().contains(name); });
  find(kept);
  settle_flat(kept);
  const bool shape_shows = bits_depend_on_shape(kept);
  const Layouts layouts = [found = found_](const std::string& name, const golden::Shape& shape) {
    const auto it = found.find(name);
    const bool known = it != found.end() && it->second.layout.axes.size() == shape.size();
    return known ? it->second.layout : Layout{};
  };
  kept.lay_out(layouts);
  return {.first = kept,
          .layouts = layouts,
          .rounding = rounding_of(kept, storage),
          .shape_shows = shape_shows,
          .check = check(kept),
          .runs = runs_};
}

}  // namespace

Survey survey(Chosen& subject, const Batch& batch, int64_t vocab_size, const AxesOptions& options,
              const std::string& storage) {
  return Surveyor(subject, batch, vocab_size, options).run(storage);
}

}  // namespace assay::verify
