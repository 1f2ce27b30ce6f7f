#include "verify/training/readers/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "golden/contract/error.h"
#include "verify/training/readers/column_choice.h"
#include "verify/training/readers/missing_values.h"
#include "verify/training/readers/names.h"

namespace assay::verify::training {
namespace {

bool is_summary(const Record& record) {
  return std::any_of(record.values.begin(), record.values.end(), [](const auto& value) {
    return value.first == "train_runtime" || value.first == "train_samples_per_second" ||
           value.first == "total_flos";
  });
}

class CurveBuilder {
 public:
  CurveBuilder(const Log& log, Curve& curve) : curve_(curve), by_epoch_(log.numbered_by_epoch) {
    for (const Record& record : log.records) {
      if (is_summary(record)) {
        ++summaries_;
      } else {
        records_.push_back(&record);
      }
    }
    choice_ = chosen_names(records_, plain_name(log.val_name));
  }

  // Throws InputError if there are val losses, and none is the one that was asked for.
  void check_val_name(const std::string& wanted, const std::string& path) const {
    const auto val = choice_.names.find(Quantity::val);
    if (wanted.empty() || val == choice_.names.end()) return;
    if (plain_name(val->second) == plain_name(wanted)) return;
    std::vector<std::string> names{golden::printable(val->second)};
    const auto others = choice_.others.find(Quantity::val);
    if (others != choice_.others.end()) {
      for (const std::string& name : others->second) names.push_back(golden::printable(name));
    }
    throw InputError(
        fmt::format("{}: --val-name {}: expected a val loss of this curve ({}), got "
                    "another name",
                    path, golden::printable(wanted), fmt::join(names, ", ")));
  }

  void build() {
    number_rows();
    drop_missing();
    find_lost();
    for (std::size_t i = 0; i < records_.size(); ++i) {
      if (left_out_[i]) continue;
      for (const Quantity q : {Quantity::train, Quantity::val, Quantity::fresh, Quantity::grad_norm,
                               Quantity::loss_scale, Quantity::epoch}) {
        const std::optional<double> value = get(i, q);
        if (value && put(series_of(q), steps_[i], *value) && is_loss(q)) ++replaced_[q];
      }
      for (const auto& [name, layer] : choice_.layers) {
        const std::optional<double> value = value_of(*records_[i], name);
        if (value) put(curve_.layers[layer], steps_[i], *value);
      }
    }
    for (Series* series : {&curve_.train, &curve_.val, &curve_.fresh, &curve_.grad_norm}) {
      const bool all_zero = std::all_of(series->values.begin(), series->values.end(),
                                        [](double value) { return value == 0; });
      series->half_step = all_zero ? 0 : decimal_half_step(series->values);
    }
    say();
  }

 private:
  // A log may name its steps in two ways: "iter 100: ..", "step 250: ..".
  std::optional<double> step_of(std::size_t i) const {
    std::optional<double> step;
    int best = INT32_MAX;
    for (const auto& [name, value] : records_[i]->values) {
      const Column column = column_named(name);
      if (column.quantity != Quantity::step || column.priority >= best) continue;
      best = column.priority;
      step = value;
    }
    return step;
  }

  std::optional<double> get(std::size_t i, Quantity quantity) const {
    const auto name = choice_.names.find(quantity);
    if (name == choice_.names.end()) return std::nullopt;
    const auto lost = lost_.find(quantity);
    if (lost != lost_.end() && lost->second[i]) return std::nan("");
    const std::optional<double> value = value_of(*records_[i], name->second);
    const bool loss = quantity == Quantity::train || quantity == Quantity::val;
    return value && loss && complementary_ && std::isnan(*value) ? std::nullopt : value;
  }

  Series& series_of(Quantity quantity) {
    switch (quantity) {
      case Quantity::val:
        return curve_.val;
      case Quantity::fresh:
        return curve_.fresh;
      case Quantity::grad_norm:
        return curve_.grad_norm;
      case Quantity::loss_scale:
        return curve_.loss_scale;
      case Quantity::epoch:
        return curve_.epoch;
      default:
        return curve_.train;
    }
  }

  // Of several rows with one step the last counts. True if there was another.
  static bool put(Series& series, double step, double value) {
    if (!series.steps.empty() && series.steps.back() == step) {
      series.values.back() = value;
      return true;
    }
    series.add(step, value);
    return false;
  }

  // A row without a step has that of the row before: logs say val after the step's own line.
  void number_rows() {
    double last = 0;
    const bool has_steps = choice_.names.contains(Quantity::step) || by_epoch_;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const std::optional<double> step = by_epoch_ ? get(i, Quantity::epoch) : step_of(i);
      if (!has_steps) last = static_cast<double>(i + 1);
      if (step && std::isfinite(*step)) last = *step;
      steps_.push_back(last);
    }
    left_out_.assign(steps_.size(), false);
    if (by_epoch_) curve_.notes.push_back("rows are numbered by their epochs");
    if (has_steps && !count_equal_steps()) mend_steps();
  }

  void count_rows() {
    for (std::size_t i = 0; i < steps_.size(); ++i) steps_[i] = static_cast<double>(i + 1);
  }

  // One number for all training losses is no step.
  bool count_equal_steps() {
    std::set<double> steps;
    int64_t rows = 0;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      if (!get(i, Quantity::train)) continue;
      steps.insert(steps_[i]);
      ++rows;
    }
    if (steps.size() != 1 || rows < 3) return false;
    count_rows();
    curve_.notes.push_back(
        fmt::format("all {} rows have step {}: rows are counted instead", rows, *steps.begin()));
    return true;
  }

  void mend_steps() {
    std::vector<std::size_t> back;  // rows whose step is lower than that of the row before
    for (std::size_t i = 1; i < steps_.size(); ++i) {
      if (steps_[i] < steps_[i - 1]) back.push_back(i);
    }
    if (back.empty()) return;
    const bool by_epoch = std::all_of(back.begin(), back.end(), [&](std::size_t i) {
      const auto now = get(i, Quantity::epoch), before = get(i - 1, Quantity::epoch);
      return now && before && *now > *before;
    });
    if (by_epoch) {
      count_rows();
      curve_.notes.push_back("steps begin again with each epoch: rows are counted instead");
      return;
    }
    if (10 * back.size() > steps_.size() && back.size() > 3) return sort_rows();
    const std::size_t all = back.size();
    keep_resumptions(back);
    if (!back.empty()) drop_done_again(back);
    if (back.size() < all) sort_rows();
  }

  // A val loss of an earlier step behind training losses does nothing again: val may be logged late
  // or in a part of its own. A row that goes back behind one of its own kind does.
  void keep_resumptions(std::vector<std::size_t>& back) const {
    std::map<Quantity, double> highest;
    std::vector<std::size_t> kept;
    std::size_t next = 0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      bool again = false, any = false;
      for (const Quantity quantity : {Quantity::train, Quantity::val, Quantity::fresh}) {
        if (!get(i, quantity)) continue;
        any = true;
        const auto [at, is_first] = highest.emplace(quantity, steps_[i]);
        again = again || steps_[i] < at->second;
        at->second = again ? steps_[i] : std::max(at->second, steps_[i]);
      }
      if (next >= back.size() || back[next] != i) continue;
      if (again || !any) kept.push_back(i);
      ++next;
    }
    back = std::move(kept);
  }

  void drop_done_again(const std::vector<std::size_t>& back) {
    std::size_t dropped = 0;
    for (const std::size_t at : back) {
      for (std::size_t i = 0; i < at; ++i) {
        if (steps_[i] < steps_[at] || left_out_[i]) continue;
        ++dropped;
        left_out_[i] = true;
      }
    }
    curve_.notes.push_back(
        fmt::format("the run was resumed {} times: {} rows that it did again are left out",
                    back.size(), dropped));
  }

  void sort_rows() {
    std::vector<std::size_t> order(steps_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return steps_[a] < steps_[b]; });
    std::vector<const Record*> records;
    std::vector<double> steps;
    std::vector<bool> left_out;
    for (const std::size_t i : order) {
      left_out.push_back(left_out_[i]);
      records.push_back(records_[i]);
      steps.push_back(steps_[i]);
    }
    records_ = std::move(records);
    steps_ = std::move(steps);
    left_out_ = std::move(left_out);
    curve_.notes.push_back("the rows are not in order of their steps: they are sorted");
  }

  void drop_missing() {
    int64_t both = 0, one = 0;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const auto train = get(i, Quantity::train), val = get(i, Quantity::val);
      if (!train || !val) continue;
      const bool first = !std::isnan(*train), second = !std::isnan(*val);
      both += first && second ? 1 : 0;
      one += first != second ? 1 : 0;
    }
    complementary_ = both == 0 && one > 1;
  }

  // Losses that are named without a number, as far as they are NaN.
  void find_lost() {
    for (const Quantity quantity : {Quantity::train, Quantity::val, Quantity::fresh}) {
      const auto name = choice_.names.find(quantity);
      if (name == choice_.names.end()) continue;
      MissingValues missing = missing_values(records_, name->second);
      lost_[quantity] = std::move(missing.are_nan);
      if (!missing.note.empty()) curve_.notes.push_back(std::move(missing.note));
    }
  }

  void say() {
    for (const auto& [quantity, count] : replaced_) {
      curve_.notes.push_back(
          fmt::format("{} {} losses are at a step that had one already: the last counts", count,
                      quantity_name(quantity)));
    }

    if (summaries_ > 0) {
      curve_.notes.push_back("the last row is an average over the run: it is no step");
    }
    std::vector<std::string> used;
    for (const auto& [quantity, name] : choice_.names) {
      used.push_back(fmt::format("'{}' ({})", golden::printable(name), quantity_name(quantity)));
    }
    curve_.notes.push_back(fmt::format("read from {}", fmt::join(used, ", ")));
    for (const Quantity q : {Quantity::train, Quantity::val, Quantity::fresh}) {
      std::string note = others_note(choice_, q, records_);
      if (!note.empty()) curve_.notes.push_back(std::move(note));
    }
  }

  Curve& curve_;
  std::vector<const Record*> records_;
  std::vector<double> steps_;
  std::vector<bool> left_out_;
  Choice choice_;
  int64_t summaries_ = 0;
  bool complementary_ = false, by_epoch_ = false;
  std::map<Quantity, std::vector<bool>> lost_;  // rows whose loss is NaN, by missing_values
  std::map<Quantity, int64_t> replaced_;
};

// As Hugging Face's Trainer writes its rows.
bool is_hugging_face(const std::vector<Record>& records) {
  return std::any_of(records.begin(), records.end(), [](const Record& record) {
    return value_of(record, "loss") && value_of(record, "learning_rate") &&
           value_of(record, "epoch");
  });
}

// A loss that is named and has no number anywhere.
std::string names_without_numbers(const std::vector<Record>& records) {
  std::set<std::string> names;
  for (const Record& record : records) {
    for (const std::string& name : record.missing) {
      if (is_loss(column_named(name).quantity)) names.insert("'" + golden::printable(name) + "'");
    }
  }
  return names.empty() ? "" : fmt::format(" and no number at {}", fmt::join(names, ", "));
}

}  // namespace

void put_in_section(Record& record, const std::string& section) {
  if (section.empty() || section == "train") return;
  for (auto& [name, value] : record.values) {
    if (is_bare_loss(name)) name = section + "_loss";
  }
  for (std::string& name : record.missing) {
    if (is_bare_loss(name)) name = section + "_loss";
  }
}

Curve curve_of(const Log& log, const std::string& path, const std::string& format) {
  Curve curve;
  curve.format = format;
  curve.notes = log.notes;
  CurveBuilder builder(log, curve);
  builder.check_val_name(log.val_name, path);
  builder.build();
  if (curve.empty()) {
    throw InputError(fmt::format(
        "{}: {}: expected a training or val loss (loss, train_loss, val_loss, eval/loss, ..), got "
        "none in {} rows{}; docs/training.md lists the names",
        path, format, log.records.size(), names_without_numbers(log.records)));
  }
  if (log.has_headings) curve.epoch = {};  // none that says which tokens were new
  curve.may_be_scaled = is_hugging_face(log.records);
  return curve;
}

}  // namespace assay::verify::training
