#include "verify/numerics/expectation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "reference/interpreters/error.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

std::vector<double> copied(std::span<const double> values) {
  return {values.begin(), values.end()};
}

const Checkpoint* asked_for(const Case& file, const std::string& name) {
  const auto found = std::find_if(file.asked.begin(), file.asked.end(),
                                  [&](const Checkpoint& c) { return c.name == name; });
  return found == file.asked.end() ? nullptr : &*found;
}

[[noreturn]] void refuse(const Case& file, const std::string& name, const std::string& why) {
  throw InputError(fmt::format("{}: {}: cannot be judged elsewhere: {}; leave the case out",
                               file.golden.path(), name, why));
}

void require_finite(const Case& file, const std::string& name, std::span<const double> bound) {
  if (std::all_of(bound.begin(), bound.end(), [](double b) { return std::isfinite(b); })) return;
  refuse(file, name, "expected a finite bound for every element, got one that is not");
}

class FreeExpectations : public reference::ErrorObserver {
 public:
  FreeExpectations(const Case& file, const golden::PrecisionSchedule& schedule,
                   const Tolerance& tolerance, GoldenValues& golden,
                   const ReceiveExpectation& receive)
      : file_(file),
        schedule_(schedule),
        tolerance_(tolerance),
        golden_(golden),
        receive_(receive) {}

  bool wants(const NodeData& node) override { return file_.declares(node.name); }
  void observe(const NodeData& node, const Array& value, const Array& error) override {
    const Array golden = golden_.settle(node.name, value);
    const Checkpoint* checkpoint = asked_for(file_, node.name);
    if (checkpoint == nullptr) return;
    const std::string doubt =
        distrust(node.name, checkpoint->axes, checkpoint->shape, golden.values(),
                 file_.batch.attention_mask, schedule_.storage_of(node.name));
    if (!doubt.empty()) refuse(file_, node.name, doubt);
    std::vector<double> bound = tolerance_.rule().of(error.values());
    require_finite(file_, node.name, bound);
    receive_({node.name, checkpoint->shape, copied(golden.values()), std::move(bound)});
  }

  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

 private:
  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const Tolerance& tolerance_;
  GoldenValues& golden_;
  const ReceiveExpectation& receive_;
};

class LocalExpectations : public reference::ErrorObserver {
 public:
  LocalExpectations(const Case& file, const golden::PrecisionSchedule& schedule,
                    const GoldenValues& golden, const ReceiveExpectation& receive)
      : file_(file),
        schedule_(schedule),
        inputs_(forced_inputs(file, schedule, golden)),
        receive_(receive) {}

  bool wants(const NodeData& node) override { return asked_for(file_, node.name) != nullptr; }
  void observe(const NodeData& node, const Array& value, const Array& error) override {
    std::vector<double> bound = worst_rule(schedule_).of(error.values());
    require_finite(file_, node.name, bound);
    receive_({node.name, value.shape(), copied(value.values()), std::move(bound)});
  }

  bool gives(const NodeData& node) override { return inputs_.replaced(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    return {inputs_.value(node.name), Array()};
  }

  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

 private:
  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const LocalInputs inputs_;
  const ReceiveExpectation& receive_;
};

}  // namespace

void free_expectations(const Case& file, const golden::PrecisionSchedule& schedule,
                       const Tolerance& tolerance, GoldenValues& golden,
                       const ReceiveExpectation& receive) {
  FreeExpectations observer(file, schedule, tolerance, golden, receive);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule,
                                 reference::ErrorNorm::deviation, observer, tolerance.reach());
}

void local_expectations(const Case& file, const golden::PrecisionSchedule& schedule,
                        const GoldenValues& golden, const ReceiveExpectation& receive) {
  LocalExpectations observer(file, schedule, golden, receive);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule, reference::ErrorNorm::worst,
                                 observer);
}

}  // namespace assay::verify
