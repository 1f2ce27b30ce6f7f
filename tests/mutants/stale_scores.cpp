#include "tests/mutants/stale_scores.h"

#include "golden/contract/names.h"
#include "reference/graph/op.h"
#include "reference/interpreters/value.h"
#include "reference/methods/registry.h"
#include "reference/ops/add.h"
#include "tests/mutants/mutant.h"
#include "verify/subjects/bindings.h"

namespace assay::mutants {
namespace {

constexpr const char* kCarriedIn = "carried_in";
constexpr const char* kCarriedOut = "carried_out";

// Adds `carried_in` to what every mask reads and names the last such sum `carried_out`.
std::unique_ptr<Graph> with_running_sum(const Graph& clean, const golden::ModelConfig& config,
                                        const golden::Shape& scores_shape) {
  int64_t masks = 0;
  return rewrite(clean,
                 [=](Rewriting& rewriting, const NodeData& node,
                     const std::vector<Node>& inputs) mutable -> std::optional<Node> {
                   if (node.op->name() != "causal_mask") return std::nullopt;
                   Graph& copy = rewriting.copy();
                   const int known = copy.find(kCarriedIn);
                   const Node carried = known < 0 ? copy.input(kCarriedIn, scores_shape, "BHTS")
                                                  : Node{&copy, known};
                   Node running = inputs[0] + carried;
                   if (++masks == config.num_hidden_layers)
                     running = copy.name(running, kCarriedOut);
                   return copy.add(node.op, {running, inputs[1]});
                 });
}

class Handover : public reference::Observer {
 public:
  Handover(const verify::Forced& forced, const verify::Receive& receive, golden::Tensor& left_over)
      : forced_(forced), receive_(receive), left_over_(left_over) {}

  reference::Array observe(const NodeData& node, reference::Array value) override {
    golden::Tensor tensor{value.shape(), {value.values().begin(), value.values().end()}};
    if (node.name == kCarriedOut) {
      left_over_ = std::move(tensor);
      return value;
    }
    receive_({node.name, golden::DType::float64, std::move(tensor)});
    const golden::Tensor* replacement = forced_ ? forced_(node.name) : nullptr;
    return replacement == nullptr
               ? value
               : reference::Array::copy_of(replacement->shape, replacement->values);
  }

 private:
  const verify::Forced& forced_;
  const verify::Receive& receive_;
  golden::Tensor& left_over_;
};

}  // namespace

void StaleScores::run(const verify::Batch& batch, const verify::Forced& forced,
                      const verify::Receive& receive) {
  const golden::Shape shape{batch.batch, config_.num_attention_heads, batch.positions,
                            batch.positions};
  const auto clean = reference::build_model(config_, batch.batch, batch.positions);
  const auto graph = with_running_sum(*clean, config_, shape);
  reference::Array carried = left_over_.shape == shape
                                 ? reference::Array::copy_of(shape, left_over_.values)
                                 : reference::Array::zeros(shape);
  const reference::Bindings inputs = verify::bind(batch, weights_);
  Handover handover(forced, receive, left_over_);
  reference::evaluate(
      *graph,
      [&](const NodeData& input) { return input.name == kCarriedIn ? carried : inputs(input); },
      handover);
}

}  // namespace assay::mutants
