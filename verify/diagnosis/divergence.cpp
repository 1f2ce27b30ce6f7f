#include "verify/diagnosis/divergence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "verify/numerics/layout.h"
#include "verify/numerics/subgraph.h"

namespace assay::verify {
namespace {

bool numerically_wrong(const CheckpointRow& row, View view) {
  return view == View::local ? row.local_outside > 0 : row.free_outside > 0;
}

// "softmax, fp32 accumulation, bf16 storage"
std::string node_text(const reference::Graph& graph, const golden::PrecisionSchedule& schedule,
                      const std::string& name) {
  return fmt::format("{}; {} accumulation, {} storage",
                     fmt::join(operations_inside(graph, graph.find(name)), ", "),
                     golden::precision_name(schedule.accumulate),
                     golden::precision_name(schedule.storage_of(name)));
}

std::string head_line(const Case& file, const golden::PrecisionSchedule& schedule,
                      const CheckpointRow& row, const Divergence& divergence) {
  const Failure& failure = *divergence.failure;
  const auto first = static_cast<std::size_t>(failure.comparison.first);
  std::string why = divergence.bound_why;
  if (divergence.view == View::local) {
    why = "worst case: " + node_text(*file.graph, schedule, row.name);
    const Start start =
        start_of(*file.graph, file.graph->find(row.name), divergence.inputs->replaced);
    if (!start.between.empty()) {
      why += fmt::format("; with {} tensors on the way to it", start.between.size());
    }
  }
  return fmt::format("FAIL /{} {} {}  {} of {} outside  bound {:.2g} ({})", row.name,
                     golden::shape_text(row.shape), golden::dtype_name(row.dtype),
                     failure.comparison.outside, failure.comparison.compared, failure.bound[first],
                     why);
}

std::string first_line(const golden::PrecisionSchedule& schedule, const GoldenValues& golden,
                       const CheckpointRow& row, const Divergence& divergence) {
  const Failure& failure = *divergence.failure;
  const auto first = static_cast<std::size_t>(failure.comparison.first);
  const double value = golden.read(row.name).values()[first];
  const golden::Precision storage = schedule.storage_of(row.name);
  std::string line = fmt::format("     first at {}: golden {:.9g}, golden as {} {:.9g}, ",
                                 index_text(row.shape, row.axes, failure.comparison.first), value,
                                 golden::precision_name(storage), golden::round_to(storage, value));
  if (divergence.view == View::local) {
    line += fmt::format("due from its inputs {:.9g}, ", failure.expected[first]);
  }
  return line + fmt::format("candidate {:.9g}", failure.candidate[first]);
}

std::string location_line(const CheckpointRow& row, const Failure& failure) {
  std::vector<char> marked(failure.expected.size());
  for (std::size_t i = 0; i < marked.size(); ++i) {
    marked[i] = !within(failure.expected[i], failure.candidate[i], failure.bound[i]);
  }
  return location_text(row.shape, row.axes, marked);
}

const CheckpointRow* row_of(const std::vector<CheckpointRow>& rows, const std::string& name) {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [&](const CheckpointRow& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

// "a, b, c", of many the last three: those that the node itself reads come last.
std::string list_text(std::vector<std::string> names) {
  constexpr std::size_t kMost = 3;
  if (names.size() <= kMost + 1) return fmt::format("{}", fmt::join(names, ", "));
  const std::size_t others = names.size() - kMost;
  names.erase(names.begin(), names.end() - kMost);
  return fmt::format("{} and {} more", fmt::join(names, ", "), others);
}

// Where the fault is, given what the checkpoint was computed from and which of that was compared.
class Blame {
 public:
  Blame(const Case& file, const std::vector<CheckpointRow>& rows, std::size_t at,
        const Divergence& divergence)
      : rows_(rows),
        at_(at),
        divergence_(divergence),
        start_(
            start_of(*file.graph, file.graph->find(rows[at].name), divergence.inputs->replaced)) {
    for (const std::string& name : start_.between) {
      const CheckpointRow* row = row_of(rows, name);
      if (row == nullptr || !row->local_compared) unseen_.push_back(name);
    }
  }

  std::string text() const {
    if (divergence_.view == View::free) return inherited();
    if (!unseen_.empty()) return between();
    return fmt::format("{}: the fault is inside this node", given());
  }

 private:
  // The checkpoint's own error is within bounds; what is not comes from before, unless so much lies
  // between that the bound on its own error spans tensors that nobody compared.
  std::string inherited() const {
    if (!unseen_.empty()) {
      const std::string text = between();
      if (from_batch()) return text;
      return text +
             "; or inherited: a worst-case bound over all that lies between does not tell which";
    }
    const auto compared = std::count_if(rows_.begin(), rows_.begin() + static_cast<long>(at_),
                                        [](const auto& row) { return row.local_compared; });
    return fmt::format(
        "given {} it is right, as are {} of {} earlier checkpoints given theirs: the error is "
        "inherited and exceeds what independent roundings add up to",
        inputs_text(), compared, at_);
  }

  std::string between() const {
    return fmt::format(
        "between {} and {}: {}{} not compared: {}", inputs_text(), rows_[at_].name,
        how_inputs_are_taken(),
        unseen_.size() == 1 ? "one tensor was" : fmt::format("{} tensors were", unseen_.size()),
        list_text(unseen_));
  }

  // That an input passes says something of the local view alone.
  const char* how_inputs_are_taken() const {
    if (from_batch() || divergence_.view == View::free) return "";
    return passes(start_.inputs) ? "the former pass; " : "the former are taken as they are; ";
  }

  bool from_batch() const {
    return std::all_of(start_.inputs.begin(), start_.inputs.end(), is_batch);
  }

  std::string given() const {
    if (from_batch()) {
      return fmt::format("computed from {} alone", list_text(start_.inputs));
    }
    const bool whole = std::all_of(rows_.begin(), rows_.begin() + static_cast<long>(at_),
                                   [](const auto& row) { return passed(row); });
    if (at_ > 0 && whole && passes(start_.inputs)) {
      return fmt::format("its inputs ({}) and all {} earlier checkpoints pass",
                         list_text(start_.inputs), at_);
    }
    if (passes(start_.inputs)) return fmt::format("its inputs ({}) pass", list_text(start_.inputs));
    return fmt::format("given {} it is wrong", inputs_text());
  }

  // Of tensors and tokens the tensors.
  std::string inputs_text() const {
    std::vector<std::string> tensors;
    std::copy_if(start_.inputs.begin(), start_.inputs.end(), std::back_inserter(tensors),
                 [](const std::string& name) { return !is_batch(name); });
    if (tensors.empty()) return list_text(start_.inputs);
    return (divergence_.forced ? "golden " : "the candidate's ") + list_text(tensors);
  }

  static bool is_batch(const std::string& name) {
    return name == "tokens" || name == "attention_mask" || name == "labels";
  }
  static bool passed(const CheckpointRow& row) {
    return row.local_compared && row.local_outside == 0;
  }
  // Whether each was compared and is right; the batch is given.
  bool passes(const std::vector<std::string>& names) const {
    return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
      const CheckpointRow* row = row_of(rows_, name);
      return is_batch(name) || (row != nullptr && passed(*row));
    });
  }

  const std::vector<CheckpointRow>& rows_;
  std::size_t at_;
  const Divergence& divergence_;
  Start start_;
  std::vector<std::string> unseen_;
};

}  // namespace

std::vector<std::string> divergence_block(const Case& file,
                                          const golden::PrecisionSchedule& schedule,
                                          const GoldenValues& golden,
                                          const std::vector<CheckpointRow>& rows,
                                          const Divergence& divergence,
                                          const std::string& command) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const CheckpointRow& row) {
    return row.name == divergence.failure->name;
  });
  const auto at = static_cast<std::size_t>(found - rows.begin());
  std::vector<std::string> lines{head_line(file, schedule, *found, divergence),
                                 first_line(schedule, golden, *found, divergence)};
  if (const std::string place = location_line(*found, *divergence.failure); !place.empty()) {
    lines.push_back("     " + place);
  }
  lines.push_back("     " + Blame(file, rows, at, divergence).text());
  if (!divergence.diagnosis.empty()) lines.push_back("     " + divergence.diagnosis);
  const auto later = std::count_if(found + 1, rows.end(), [&](const CheckpointRow& row) {
    return numerically_wrong(row, View::local) || numerically_wrong(row, View::free);
  });
  if (later > 0) lines.push_back(fmt::format("     and {} later checkpoints are outside", later));
  lines.push_back(fmt::format("     again: {} --only /{}", command, found->name));
  return lines;
}

}  // namespace assay::verify
