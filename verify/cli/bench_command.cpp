// assay bench: how fast the reference is on this machine, against the peak it measures itself.
#include <fmt/format.h>
#include <sys/resource.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "golden/error.h"
#include "golden/weights.h"
#include "reference/interpreters/value.h"
#include "reference/methods/registry.h"
#include "reference/ops/op.h"
#include "reference/ops/rules.h"
#include "verify/cli/command.h"
#include "verify/cli/model_options.h"

namespace assay::cli {
namespace {

using reference::Array;
using reference::Engine;
using reference::NodeData;

constexpr int kRuns = 5;

template <class Work>
double median_seconds(Work&& work) {
  std::vector<double> seconds;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[kRuns / 2];
}

// GFLOP/s of one square product [n,n] = [n,n] [n,n]^T.
double product_rate(Engine engine, int64_t n) {
  Array a = Array::uninitialized({n, n}), b = Array::uninitialized({n, n}),
        c = Array::zeros({n, n});
  for (int64_t i = 0; i < n * n; ++i) {
    a.data()[i] = 1.0 / static_cast<double>(1 + i % 17);
    b.data()[i] = 1.0 / static_cast<double>(1 + i % 13);
  }
  const auto square = [n](const Array& x) {
    return reference::ConstMatrix::row_major(x.data(), n, n);
  };
  const double seconds = median_seconds([&] {
    reference::multiply(reference::Matrix::row_major(c.data(), n, n), square(a),
                        square(b).transposed(), false, engine);
  });
  return 2e-9 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds;
}

// Multiplications and additions of all products of the graph, full T x T attention.
double product_flops(const reference::Graph& graph) {
  double flops = 0;
  for (const NodeData& node : graph.nodes()) {
    if (node.op == nullptr) continue;
    const std::string op = node.op->name();
    if (op != "linear" && op != "attention_scores" && op != "attend") continue;
    const auto inner = static_cast<double>(graph.node(node.inputs[0]).shape().back());
    flops += 2 * inner * static_cast<double>(golden::element_count(node.shape()));
  }
  return flops;
}

struct Ignore : reference::Observer {
  Array observe(const NodeData&, Array value) override { return value; }
};

void bench_forward(const ModelOptions& options, double peak) {
  const golden::ModelConfig config = model_config(options);
  const auto tokens = model_tokens(options, config);
  const auto graph = reference::build_model(config, options.batch, options.positions);
  const golden::SyntheticWeights source(config, options.seed);
  std::unordered_map<std::string, Array> inputs;
  for (const NodeData& node : graph->nodes()) {
    if (node.op != nullptr) continue;
    Array value = Array::uninitialized(node.shape());
    if (node.weight) {
      source.read(node.name, value.values());
    } else if (node.name == "attention_mask") {
      std::fill(value.values().begin(), value.values().end(), 1.0);
    } else {
      std::copy(tokens.begin(), tokens.end(), value.data());
    }
    inputs[node.name] = value;
  }
  Ignore observer;
  reference::reset_peak_bytes();
  const double seconds = median_seconds([&] {
    reference::evaluate(
        *graph, [&](const NodeData& input) { return inputs.at(input.name); }, observer);
  });
  const double gflop = 1e-9 * product_flops(*graph);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print("forward, method {}, [{},{}], D={} L={} V={}: {:.3f} s (median of {})\n",
             config.method, options.batch, options.positions, config.hidden_size,
             config.num_hidden_layers, config.vocab_size, seconds, kRuns);
  fmt::print("  {:.1f} GFLOP in products, {:.1f} GFLOP/s, {:.2f} of the dgemm peak\n", gflop,
             gflop / seconds, gflop / seconds / peak);
  fmt::print("  live tensors at most {:.0f} MB (weights included), process at most {:.0f} MB\n",
             static_cast<double>(reference::peak_bytes()) / 1e6,
             static_cast<double>(usage.ru_maxrss) / 1e3);
}

void run_bench(const ModelOptions& options, const std::string& engine) {
  if (engine != "ordered" && engine != "blas") {
    throw InputError("--products " + engine + ": expected ordered or blas");
  }
  reference::set_products_engine(engine == "blas" ? Engine::blas : Engine::ordered);
  constexpr int64_t kSize = 2048;
  const double blas = product_rate(Engine::blas, kSize);
  const double ordered = product_rate(Engine::ordered, kSize);
  fmt::print("cores {}, ordered products with {}, OpenBLAS core type {}\n",
             tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism),
             reference::simd_name(), reference::blas_core_name());
  fmt::print(
      "products {0}x{0}x{0}: OpenBLAS dgemm {1:.1f} GFLOP/s, ordered {2:.1f} GFLOP/s ({3:.2f})\n",
      kSize, blas, ordered, ordered / blas);
  bench_forward(options, std::max(blas, ordered));
}

}  // namespace

void add_bench(CLI::App& app, Outcome&) {
  CLI::App* command =
      app.add_subcommand("bench", "measure the reference against this machine's peak");
  auto options = std::make_shared<ModelOptions>();
  auto engine = std::make_shared<std::string>("ordered");
  options->preset = "author";
  options->method = "1";
  options->positions = 512;
  add_model_options(*command, *options);
  command->add_option("--products", *engine, "engine of the forward pass: ordered or blas")
      ->capture_default_str();
  command->callback([options, engine] { run_bench(*options, *engine); });
}

}  // namespace assay::cli
