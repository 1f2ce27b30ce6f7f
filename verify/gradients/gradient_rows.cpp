#include "verify/gradients/gradient_rows.h"

#include <algorithm>
#include <set>
#include <utility>

#include "verify/numerics/views.h"

namespace assay::verify {
namespace {

bool is_of_weight(const Case& file, const Checkpoint& gradient) {
  return file.graph->node(file.graph->find(node_of_gradient(gradient.name))).weight;
}

}  // namespace

std::string node_of_gradient(const std::string& name) {
  return name.substr(std::string(kGrad).size());
}

HandedGradients::Handed HandedGradients::run(const Case& file, Subject& subject,
                                             const std::set<std::string>& required) {
  Handed handed;
  std::set<std::string> given;
  file.check_left_out(subject.known_names());
  const Looking looking(subject, [&](const std::string& name) { return file.interest_in(name); });
  subject.run_gradients(file.batch, [&](Observed observed) {
    given.insert(observed.name);
    handed.observed.push_back(std::move(observed));
  });
  const bool any_weight =
      std::any_of(file.gradients.begin(), file.gradients.end(), [&](const Checkpoint& gradient) {
        return is_of_weight(file, gradient) && given.contains(gradient.name);
      });
  for (const Checkpoint& gradient : file.gradients) {
    const bool is_due = given.contains(gradient.name) || required.contains(gradient.name) ||
                        (any_weight && is_of_weight(file, gradient));
    if (is_due) handed.due.push_back(gradient);
  }
  for (const Checkpoint& gradient : file.zero_gradients) {
    const bool is_due = given.contains(gradient.name) || required.contains(gradient.name);
    if (is_due) handed.due.push_back(gradient);
  }
  handed.unasked = file.unasked_gradients;
  return handed;
}

HandedGradients::HandedGradients(const Case& file, Subject& subject,
                                 const std::set<std::string>& required)
    : HandedGradients(file, subject, run(file, subject, required)) {}

HandedGradients::HandedGradients(const Case& file, const Subject& subject, Handed handed)
    : ledger_(handed.due, subject.describe() + ", gradients") {
  ledger_.tolerate(handed.unasked);
  for (const Checkpoint& gradient : ledger_.declared()) {
    index_[gradient.name] = rows_.size();
    CheckpointRow& row = rows_.emplace_back();
    row.name = gradient.name;
    row.shape = gradient.shape;
    row.axes = gradient.axes;
    row.elements = golden::element_count(gradient.shape);
    weights_ += is_of_weight(file, gradient);
  }
  for (Observed& observed : handed.observed) {
    const golden::DType type = observed.dtype;  // a wider one than storage changes nothing
    if (CheckpointRow* row = find(observed.name)) row->dtype = type;
    ledger_.take(std::move(observed), type);
  }
  ledger_.close();
}

CheckpointRow* HandedGradients::find(const std::string& name) {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &rows_[found->second];
}

}  // namespace assay::verify
