#include "cli/bench/workload.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <vector>

#include "golden/contract/weights.h"
#include "reference/graph/op.h"
#include "reference/interpreters/gradient.h"
#include "reference/methods/registry.h"

namespace assay::cli {
namespace {

using reference::Array;
using reference::NodeData;

struct Ignore : reference::Observer, reference::GradientObserver {
  Array observe(const NodeData&, Array value) override { return value; }
  void observe_gradient(const NodeData&, const Array&) override {}
};

// 1e9 multiplications and additions in the products of the graph.
double product_gflop(const reference::Graph& graph) {
  double flops = 0;
  for (const NodeData& node : graph.nodes()) {
    if (node.op == nullptr) continue;
    const std::string op = node.op->name();
    if (op != "linear" && op != "attention_scores" && op != "attend") continue;
    std::vector<reference::Operand> operands;
    for (const int in : node.inputs) operands.push_back(graph.node(in).result);
    flops += node.op->flops(operands, node.result);
  }
  return 1e-9 * flops;
}

// The largest resident set since the last call of restart_process_peak(), where the kernel lets a
// process restart its count; else since the process began.
int64_t process_peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

void restart_process_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace

double median_seconds(int runs, const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int run = 0; run <= runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (run > 0) seconds.push_back(taken.count());  // the first finds memory and caches cold
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

Workload::Workload(const ModelOptions& options, const golden::ModelConfig& config)
    : graph_(reference::build_model(config, options.batch, options.positions)) {
  const auto tokens = model_tokens(options, config);
  const golden::SyntheticWeights source(config, options.seed);
  for (const NodeData& node : graph_->nodes()) {
    if (node.op != nullptr) continue;
    Array value = Array::uninitialized(node.shape());
    if (node.weight) {
      source.read(node.name, value.values());
    } else if (node.name == "attention_mask") {
      std::fill(value.values().begin(), value.values().end(), 1.0);
    } else {
      std::copy(tokens.begin(), tokens.end(), value.data());
    }
    inputs_[node.name] = value;
  }
}

Measured Workload::forward(int runs) const {
  Ignore observer;
  return measure(runs, product_gflop(*graph_), [&] {
    reference::evaluate(
        *graph_, [&](const NodeData& node) { return input(node); }, observer);
  });
}

// A product C = A B has two more behind it: dA = dC B^T and dB = A^T dC.
Measured Workload::forward_and_backward(int runs) const {
  Ignore observer;
  return measure(runs, 3 * product_gflop(*graph_), [&] {
    reference::evaluate_with_gradient(
        *graph_, [&](const NodeData& node) { return input(node); }, graph_->find("loss"), observer,
        observer);
  });
}

Measured Workload::measure(int runs, double gflop, const std::function<void()>& pass) const {
  Measured measured{.gflop = gflop};
  reference::release_pool();
  reference::reset_peak_bytes();
  restart_process_peak();
  measured.seconds = median_seconds(runs, pass);
  measured.live_bytes = reference::peak_bytes();
  measured.process_bytes = process_peak_bytes();
  return measured;
}

}  // namespace assay::cli
