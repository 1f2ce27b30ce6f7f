#include "verify/subjects/graph_subject.h"

#include <fmt/format.h>

#include "reference/interpreters/gradient.h"
#include "verify/statistics/tolerance.h"
#include "verify/subjects/bindings.h"

namespace assay::verify {
namespace {

using golden::Precision;
using reference::Array;

Array rounded_to(Precision storage, const Array& value) {
  Array rounded = Array::copy_of(value.shape(), value.values());
  for (double& x : rounded.values()) x = golden::round_to(storage, x);
  return rounded;
}

class RoundAndForce : public reference::Observer {
 public:
  RoundAndForce(const golden::PrecisionSchedule& schedule, const Forced& forced,
                const Receive& receive)
      : schedule_(schedule), forced_(forced), receive_(receive) {}

  Array observe(const reference::NodeData& node, Array value) override {
    const Precision storage = schedule_.storage_of(node.name);
    const Array rounded = rounded_to(storage, value);
    receive_({node.name,
              dtype_of(storage),
              {rounded.shape(), {rounded.values().begin(), rounded.values().end()}}});
    if (!forced_) return rounded;
    const golden::Tensor* due = forced_(node.name);
    return due == nullptr ? rounded : Array::copy_of(due->shape, due->values);
  }

 private:
  const golden::PrecisionSchedule& schedule_;
  const Forced& forced_;
  const Receive& receive_;
};

class RoundGradients : public reference::GradientObserver {
 public:
  RoundGradients(const golden::PrecisionSchedule& schedule, const Receive& receive)
      : schedule_(schedule), receive_(receive) {}

  void observe_gradient(const reference::NodeData&, const Array&) override {}
  Array pass_on(const reference::NodeData& node, Array gradient) override {
    const Precision type = node.weight ? schedule_.accumulate : schedule_.storage_of(node.name);
    const Array rounded = rounded_to(type, gradient);
    receive_({kGrad + node.name,
              dtype_of(type),
              {rounded.shape(), {rounded.values().begin(), rounded.values().end()}}});
    return rounded;
  }

 private:
  const golden::PrecisionSchedule& schedule_;
  const Receive& receive_;
};

}  // namespace

GraphSubject::GraphSubject(std::string description, Build build, golden::ModelConfig config,
                           const golden::WeightSource& weights, golden::PrecisionSchedule schedule)
    : GraphSubject(std::move(description), std::move(build), std::move(config),
                   std::shared_ptr<const golden::WeightSource>(std::shared_ptr<void>(), &weights),
                   schedule) {}

GraphSubject::GraphSubject(std::string description, Build build, golden::ModelConfig config,
                           std::shared_ptr<const golden::WeightSource> weights,
                           golden::PrecisionSchedule schedule)
    : description_(std::move(description)),
      build_(std::move(build)),
      config_(std::move(config)),
      weights_(std::move(weights)),
      schedule_(schedule) {}

std::string GraphSubject::describe() const {
  return fmt::format("{}, {} storage", description_, golden::precision_name(schedule_.storage));
}

golden::DType GraphSubject::dtype_of(const std::string& tensor_name) const {
  return verify::dtype_of(schedule_.storage_of(tensor_name));
}

void GraphSubject::run(const Batch& batch, const Forced& forced, const Receive& receive) {
  const auto graph = build_(config_, batch.batch, batch.positions);
  RoundAndForce observer(schedule_, forced, receive);
  reference::evaluate(*graph, bind(batch, *weights_), observer);
}

void GraphSubject::run_gradients(const Batch& batch, const Receive& receive) {
  const auto graph = build_(config_, batch.batch, batch.positions);
  const Receive ignore = [](Observed) {};
  const Forced none;
  RoundAndForce values(schedule_, none, ignore);
  RoundGradients gradients(schedule_, receive);
  reference::evaluate_with_gradient(*graph, bind(batch, *weights_), graph->find("loss"), values,
                                    gradients, reference::segments_of(*graph, keep_));
}

Array GraphSubject::rounded(const std::string& name, const Array& value) const {
  return rounded_to(schedule_.storage_of(name), value);
}

}  // namespace assay::verify
