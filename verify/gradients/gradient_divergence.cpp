#include "verify/gradients/gradient_divergence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "reference/graph/op.h"
#include "verify/numerics/layout.h"

namespace assay::verify {
namespace {

// Fewer elements than this agree with something by chance.
constexpr int64_t kLeastAgreeing = 8;

bool is_wrong(const CheckpointRow& row) { return row.free_outside > 0 || row.local_outside > 0; }

std::vector<int> readers_of(const reference::Graph& graph, int id) {
  std::vector<int> readers;
  for (std::size_t next = static_cast<std::size_t>(id) + 1; next < graph.nodes().size(); ++next) {
    const std::vector<int>& inputs = graph.node(static_cast<int>(next)).inputs;
    if (std::find(inputs.begin(), inputs.end(), id) != inputs.end()) {
      readers.push_back(static_cast<int>(next));
    }
  }
  return readers;
}

// "a, b, c and 4 more"
std::string some_of(std::vector<std::string> names) {
  constexpr std::size_t kMost = 4;
  const std::size_t others = names.size() > kMost ? names.size() - kMost : 0;
  names.resize(names.size() - others);
  return fmt::format("{}{}", fmt::join(names, ", "),
                     others > 0 ? fmt::format(" and {} more", others) : "");
}

// Where a gradient comes from: the operations that read its tensor, whose backward rules add up to
// it, and the tensors whose gradients those start from.
class Origin {
 public:
  Origin(const Case& file, HandedGradients& handed, const std::string& gradient)
      : graph_(*file.graph), handed_(handed), at_(graph_.find(node_of_gradient(gradient))) {
    for (const int reader : readers_of(graph_, at_)) {
      operations_.push_back(
          graph_.node(reader).name.empty()
              ? graph_.describe(reader)
              : fmt::format("{} ({})", graph_.node(reader).op->name(), graph_.node(reader).name));
      walk(reader);
    }
  }

  std::string text() const {
    std::string text =
        fmt::format("{} backward rule{} of {}",
                    graph_.node(at_).weight ? "a parameter's, made by the" : "made by the",
                    operations_.size() == 1 ? "" : "s", some_of(operations_));
    if (!wrong_.empty()) return text + "; wrong nearer to the loss: " + some_of(wrong_);
    if (unseen_.empty()) {
      return text + (right_.empty() ? ", from the loss alone"
                                    : fmt::format(": the gradients that they start from ({}) are "
                                                  "right, the fault is inside",
                                                  some_of(right_)));
    }
    return text + fmt::format(
                      "; the fault is there or between them and {}: not compared are the "
                      "gradients of {}",
                      right_.empty() ? "the loss" : some_of(right_), some_of(unseen_));
  }

 private:
  // Towards the loss as far as a gradient that was judged.
  void walk(int id) {
    if (!seen_.insert(id).second) return;
    const std::string& name = graph_.node(id).name;
    if (!name.empty()) {
      const CheckpointRow* row = handed_.find(kGrad + name);
      if (row != nullptr && row->compared) {
        (is_wrong(*row) ? wrong_ : right_).push_back(name);
        return;
      }
      unseen_.push_back(name);
    }
    for (const int reader : readers_of(graph_, id)) walk(reader);
  }

  const reference::Graph& graph_;
  HandedGradients& handed_;
  int at_;
  std::set<int> seen_;
  std::vector<std::string> operations_, right_, wrong_, unseen_;
};

std::string place_of(const CheckpointRow& row, const Failure& failure) {
  std::vector<char> marked(failure.expected.size());
  for (std::size_t i = 0; i < marked.size(); ++i) {
    marked[i] = !within(failure.expected[i], failure.candidate[i], failure.bound[i]);
  }
  return location_text(row.shape, row.axes, marked);
}

}  // namespace

std::string wrong_factor(const Failure& failure) {
  double product = 0, square = 0;
  int64_t speaking = 0;
  bool zero = true;
  for (std::size_t i = 0; i < failure.expected.size(); ++i) {
    if (!std::isfinite(failure.candidate[i])) return "";
    product += failure.expected[i] * failure.candidate[i];
    square += failure.expected[i] * failure.expected[i];
    speaking += !within(failure.expected[i], failure.candidate[i], failure.bound[i]);
    zero = zero && failure.candidate[i] == 0;
  }
  if (zero) return "it is 0 everywhere";
  const double factor = product / square;
  if (speaking < kLeastAgreeing || !std::isfinite(factor) || factor == 0) return "";
  const auto fits = [&](double k) {
    for (std::size_t i = 0; i < failure.expected.size(); ++i) {
      const double bound = failure.bound[i] * std::max(1.0, std::fabs(k));
      if (!within(k * failure.expected[i], failure.candidate[i], bound)) return false;
    }
    return true;
  };
  if (!fits(factor)) return "";
  for (const double n : {std::round(factor), 1 / std::round(1 / factor)}) {
    if (n != 0 && n != 1 && std::isfinite(n) && fits(n)) {
      const bool whole = std::fabs(n) >= 1;
      return whole ? fmt::format("equals what is due times {:g}", n)
                   : fmt::format("equals what is due times 1/{:g}", std::round(1 / n));
    }
  }
  return fmt::format("equals what is due times {:.6g}", factor);
}

std::vector<std::string> gradient_divergence_block(const Case& file, const GoldenValues& golden,
                                                   HandedGradients& handed,
                                                   const GradientDivergence& divergence,
                                                   const std::string& command) {
  const Failure& failure = *divergence.failure;
  const CheckpointRow& row = *handed.find(failure.name);
  const auto first = static_cast<std::size_t>(failure.comparison.first);
  std::vector<std::string> lines{fmt::format(
      "FAIL /{} {} {}  {} of {} outside  bound {:.2g} ({})", row.name,
      golden::shape_text(row.shape), golden::dtype_name(row.dtype), failure.comparison.outside,
      failure.comparison.compared, failure.bound[first], divergence.bound_why)};
  const bool is_zero = row.golden_rms == 0;  // perhaps of a weight that the file has none of
  const double value = is_zero ? 0 : golden.read(row.name).values()[first];
  lines.push_back(fmt::format(
      "     first at {}: golden {:.9g}, {}candidate {:.9g}",
      index_text(row.shape, row.axes, failure.comparison.first), value,
      divergence.local ? fmt::format("due from its own tensors {:.9g}, ", failure.expected[first])
                       : "",
      failure.candidate[first]));
  if (const std::string place = place_of(row, failure); !place.empty()) {
    lines.push_back("     " + place);
  }
  lines.push_back("     " + Origin(file, handed, row.name).text());
  if (const std::string factor = wrong_factor(failure); !factor.empty()) {
    lines.push_back("     " + factor);
  }
  const auto others = std::count_if(handed.rows().begin(), handed.rows().end(), is_wrong) - 1;
  if (others > 0) lines.push_back(fmt::format("     and {} other gradients are outside", others));
  lines.push_back(fmt::format("     again: {} --only /{}", command, row.name));
  return lines;
}

}  // namespace assay::verify
