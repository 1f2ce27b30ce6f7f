#include "verify/recorded/dump_pair.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>

#include "verify/recorded/recorded_pair.h"

namespace assay::verify {
namespace {

Check tensors_check(const RecordedPair& pair) {
  Check check{.name = "tensors", .status = Status::pass, .summary = "", .details = {}};
  int64_t judged = 0;
  std::vector<std::string> not_compared;
  for (const JudgedTensor& tensor : pair.tensors()) {
    const golden::Shape& shape = pair.longer().tensor(tensor.index).tensor.shape;
    if (!tensor.problem.empty()) {
      check.details.push_back(
          fmt::format("{}: {} {}: {}", tensor.is_left_out ? "not judged" : "not compared",
                      tensor.name, pair.shapes_text(tensor.name), tensor.problem));
      if (!tensor.is_left_out) not_compared.push_back(tensor.name);
      continue;
    }
    ++judged;
    std::vector<std::string> ways;
    for (const Reading& reading : tensor.readings) {
      const std::string way = axes_text(reading.layout, shape);
      if (std::find(ways.begin(), ways.end(), way) == ways.end()) ways.push_back(way);
    }
    check.details.push_back(fmt::format("{} {}{}", tensor.name, fmt::join(ways, " or "),
                                        tensor.types.empty() ? "" : ": " + tensor.types));
  }
  for (const auto& [name, reason] : pair.missing()) {
    const std::string shapes = pair.shapes_text(name);
    check.details.push_back(
        fmt::format("not compared: {}{}: {}", name, shapes.empty() ? "" : " " + shapes, reason));
    not_compared.push_back(name);
  }
  for (const std::string& name : pair.names()) {
    if (!pair.is_ignored(name)) continue;
    check.details.push_back(fmt::format("not judged: {}: left out by --ignore", name));
  }
  check.summary = fmt::format("{} of {} have positions", judged, pair.names().size());
  if (!not_compared.empty()) {
    check.summary += fmt::format("; not compared: {}", fmt::join(not_compared, ", "));
    check.details.emplace_back(
        "what is not compared is not passed: --axis NAME=AXIS or NAME=AXIS:FIRST says where its "
        "positions are, --axis NAME=none or --ignore NAME that nobody asks");
  }
  if (judged == 0 || !not_compared.empty()) check.status = Status::inconclusive;
  return check;
}

std::string leak_text(const JudgedTensor& tensor, const Reading& reading) {
  const Apart& at = reading.worst;
  return fmt::format(
      "{} at {}: row {}, position {} differs by {:.2g} of its size, the first token that differs "
      "is {}",
      reading.past == Past::differs ? "leak" : "a difference", tensor.name, at.row, at.position,
      at.size, reading.worst_shared);
}

// Why nobody can be sure of it.
std::string doubt_text(const RecordedPair& pair, const JudgedTensor& tensor) {
  const Reading& first = tensor.readings.front();
  if (tensor.readings.size() > 1) {
    std::vector<std::string> same, other, options;
    const golden::Shape& shape = pair.longer().tensor(tensor.index).tensor.shape;
    const bool with_first = std::any_of(tensor.readings.begin(), tensor.readings.end(),
                                        [](const Reading& r) { return r.layout.first != 0; });
    const auto add_once = [](std::vector<std::string>& list, const std::string& text) {
      if (!text.empty() && std::find(list.begin(), list.end(), text) == list.end()) {
        list.push_back(text);
      }
    };
    for (const Reading& reading : tensor.readings) {
      add_once(reading.past == Past::same ? same : other, axes_text(reading.layout, shape));
      add_once(options, axis_option(tensor.name, reading.layout, with_first));
    }
    return fmt::format(
        "{} may leak: the past differs if it is {}{}; {}", tensor.name, fmt::join(other, " or "),
        same.empty() ? "" : fmt::format(", not if it is {}", fmt::join(same, " or ")),
        options.size() > 1
            ? fmt::format("{} says which", fmt::join(options, " or "))
            : "a dump with axes [B,T,..] or tokens that part at one position in all rows would "
              "say which");
  }
  const Rounding& rounding = tensor.rounding ? *tensor.rounding : pair.rounding();
  const std::string text = leak_text(tensor, first);
  if (tensor.rounding) {
    return fmt::format("{}; rounding in {} brings up to {:.2g}", text, rounding_text(rounding),
                       rounding.whole);
  }
  if (pair.one_length()) {
    return fmt::format("{}; sums in another order in {} bring up to {:.2g}", text,
                       rounding_text(rounding), rounding.faint);
  }
  if (is_whole(pair.longer().tensor(tensor.index).dtype)) {
    return fmt::format("{}; rounding may turn a whole number into the next", text);
  }
  const Rounding coarsest = declared_rounding(golden::Precision::bf16);
  return fmt::format("{}; rounding in {} brings up to {:.2g}, in bf16 that no tensor shows {:.2g}",
                     text, rounding_text(rounding), rounding.whole, coarsest.whole);
}

Check prefix_check(const RecordedPair& pair) {
  Check check{.name = "prefix", .status = Status::pass, .summary = "", .details = {}};
  int64_t compared = 0, same = 0;
  bool later_differs = !pair.one_length(), any_rounded = false;
  for (const JudgedTensor& tensor : pair.tensors()) {
    if (!tensor.problem.empty()) continue;
    const Reading& first = tensor.readings.front();
    any_rounded = any_rounded || tensor.rounding;
    for (const Reading& reading : tensor.readings) {
      compared += reading.compared;
      later_differs = later_differs || reading.later_differs;
    }
    if (tensor.readings.size() == 1 && first.past == Past::same) ++same;
    if (tensor.readings.size() == 1 && first.past == Past::differs) {
      check.status = Status::fail;
      check.summary = leak_text(tensor, first);
      return check;
    }
    const bool is_doubtful = tensor.readings.size() > 1 || first.past == Past::doubtful;
    if (!is_doubtful || check.status != Status::pass) continue;
    check.status = Status::inconclusive;
    check.summary = doubt_text(pair, tensor);
    if (tensor.readings.size() == 1) {
      check.details = {"two runs on the same tokens would say what running again changes"};
    }
  }
  if (check.status != Status::pass) return check;
  if (compared == 0 || !later_differs) {
    check.status = Status::inconclusive;
    const bool all =
        *std::min_element(pair.common().begin(), pair.common().end()) == pair.longer().positions();
    check.summary = all             ? "no token differs: nothing could leak"
                    : compared == 0 ? "no tensor has a position that both runs share"
                                    : "the tokens that differ show in no tensor";
    return check;
  }
  check.summary = fmt::format(
      "the past of {} tensors is the same {}{}: rows share {} tokens, later positions differ", same,
      pair.one_length() ? "bit for bit"
                        : fmt::format("within {:.2g} of its size, the rounding of {}",
                                      pair.rounding().whole, rounding_text(pair.rounding())),
      any_rounded ? ", what is stored in two types once it is rounded to the coarser" : "",
      fmt::join(pair.common(), ", "));
  return check;
}

}  // namespace

std::vector<Check> judge_dump_pair(const RecordedRun& a, const RecordedRun& b,
                                   const AxesOptions& axes, const std::string& ignored) {
  const RecordedPair pair(a, b, axes, ignored);
  return {tensors_check(pair), prefix_check(pair)};
}

}  // namespace assay::verify
