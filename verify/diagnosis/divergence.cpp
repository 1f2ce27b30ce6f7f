#include "verify/diagnosis/divergence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

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
  const std::string why = divergence.view == View::local
                              ? "worst case: " + node_text(*file.graph, schedule, row.name)
                              : divergence.bound_why;
  return fmt::format("FAIL /{} {} {}  {} of {} outside  bound {:.2g} ({})", row.name,
                     golden::shape_text(row.shape), golden::dtype_name(row.dtype),
                     failure.comparison.outside, failure.comparison.compared, failure.bound[first],
                     why);
}

std::string first_line(const golden::PrecisionSchedule& schedule, const GoldenValues& golden,
                       const CheckpointRow& row, const Divergence& divergence) {
  const Failure& failure = *divergence.failure;
  const auto first = static_cast<std::size_t>(failure.comparison.first);
  const double value = golden.read(row.name).values[first];
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

// What the direct inputs and the earlier checkpoints say.
std::string blame_line(const Case& file, const std::vector<CheckpointRow>& rows, std::size_t at,
                       const Divergence& divergence) {
  if (divergence.view == View::free) {
    return fmt::format(
        "     given its inputs ({}) it is right, as every checkpoint is: the error is inherited "
        "and "
        "exceeds what independent roundings add up to",
        divergence.inputs);
  }
  const auto inputs = named_inputs(*file.graph, file.graph->find(rows[at].name));
  std::vector<std::string> unjudged;
  for (std::size_t i = 0; i < at; ++i) {
    const bool is_input = std::find(inputs.begin(), inputs.end(), rows[i].name) != inputs.end();
    if (is_input && !rows[i].local_compared) {
      unjudged.push_back(fmt::format("{} ({})", rows[i].name, fault_name(rows[i].fault)));
    }
  }
  if (!unjudged.empty()) {
    return fmt::format("     not compared among its inputs: {}; the others pass",
                       fmt::join(unjudged, ", "));
  }
  return fmt::format(
      "     its inputs ({}) and all {} earlier checkpoints pass: the fault is inside this node",
      fmt::join(inputs, ", "), at);
}

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
  lines.push_back(blame_line(file, rows, at, divergence));
  if (!divergence.diagnosis.empty()) lines.push_back("     " + divergence.diagnosis);
  const auto later = std::count_if(found + 1, rows.end(), [&](const CheckpointRow& row) {
    return numerically_wrong(row, View::local) || numerically_wrong(row, View::free);
  });
  if (later > 0) lines.push_back(fmt::format("     and {} later checkpoints are outside", later));
  lines.push_back(fmt::format("     again: {} --only /{}", command, found->name));
  return lines;
}

}  // namespace assay::verify
