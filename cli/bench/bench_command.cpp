// assay bench: how fast the reference is on this machine, against the peak it measures itself, and
// how its cost grows with the number of layers.
#include <fmt/format.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/bench/workload.h"
#include "cli/command.h"
#include "cli/subjects.h"
#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "reference/ops/rules.h"
#include "verify/report/report.h"

namespace assay::cli {
namespace {

using nlohmann::ordered_json;
using reference::Array;
using reference::Engine;

struct BenchOptions {
  ModelOptions model;
  std::string engine = "ordered";
  std::string json_path;
  bool force = false;
  int runs = 5;
  bool scaling = true;
  std::vector<std::string> subjects;  // to time beside the reference
  std::string precision = "fp32";
  SubjectOptions elsewhere;
};

// GFLOP/s of one square product [n,n] = [n,n] [n,n]^T.
double product_rate(Engine engine, int64_t n, int runs) {
  Array a = Array::uninitialized({n, n}), b = Array::uninitialized({n, n}),
        c = Array::zeros({n, n});
  for (int64_t i = 0; i < n * n; ++i) {
    a.data()[i] = 1.0 / static_cast<double>(1 + i % 17);
    b.data()[i] = 1.0 / static_cast<double>(1 + i % 13);
  }
  const auto square = [n](const Array& x) {
    return reference::ConstMatrix::row_major(x.data(), n, n);
  };
  const double seconds = median_seconds(runs, [&] {
    reference::multiply(reference::Matrix::row_major(c.data(), n, n), square(a),
                        square(b).transposed(), false, engine);
  });
  return 2e-9 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds;
}

// The numbers of layers to measure: a quarter, a half and all of them.
std::vector<int64_t> depths(int64_t layers, bool scaling) {
  std::vector<int64_t> list{layers};
  while (scaling && list.size() < 3 && list.front() % 2 == 0) {
    list.insert(list.begin(), list.front() / 2);
  }
  return list;
}

ordered_json as_json(int64_t layers, const char* pass, const Measured& m, double peak) {
  return {{"layers", layers},
          {"pass", pass},
          {"seconds", m.seconds},
          {"product_gflop", m.gflop},
          {"gflop_per_s", m.gflop / m.seconds},
          {"fraction_of_dgemm_peak", m.gflop / m.seconds / peak},
          {"live_tensor_bytes", m.live_bytes},
          {"process_bytes", m.process_bytes}};
}

void print_row(int64_t layers, const char* pass, const Measured& m, double peak) {
  fmt::print("{:>6}  {:<18}{:>9.1f}{:>10.3f}{:>11.1f}{:>9.2f}{:>10.0f}{:>13.0f}\n", layers, pass,
             m.gflop, m.seconds, m.gflop / m.seconds, m.gflop / m.seconds / peak,
             static_cast<double>(m.live_bytes) / 1e6, static_cast<double>(m.process_bytes) / 1e6);
}

ordered_json bench_models(const BenchOptions& options, double peak) {
  golden::ModelConfig config = model_config(options.model);
  fmt::print("method {}, double, [{},{}], D={} V={}; median of {} after one warm-up\n",
             config.method, options.model.batch, options.model.positions, config.hidden_size,
             config.vocab_size, options.runs);
  fmt::print("{:>6}  {:<18}{:>9}{:>10}{:>11}{:>9}{:>10}{:>13}\n", "layers", "pass", "GFLOP", "s",
             "GFLOP/s", "of peak", "live MB", "process MB");
  ordered_json rows = ordered_json::array();
  const auto report = [&](const char* pass, const Measured& measured) {
    print_row(config.num_hidden_layers, pass, measured, peak);
    rows.push_back(as_json(config.num_hidden_layers, pass, measured, peak));
  };
  for (const int64_t layers : depths(config.num_hidden_layers, options.scaling)) {
    config.num_hidden_layers = layers;
    const Workload workload(options.model, config);
    report("forward", workload.forward(options.runs));
    report("forward+backward", workload.forward_and_backward(options.runs));
  }
  return rows;
}

// Runs of others on the same batch, all tensors handed over.
ordered_json bench_subjects(const BenchOptions& options) {
  const golden::ModelConfig config = model_config(options.model);
  const golden::SyntheticWeights weights(config, options.model.seed);
  const verify::Batch batch =
      unpadded(model_tokens(options.model, config), options.model.batch, options.model.positions);
  SubjectOptions elsewhere = options.elsewhere;
  elsewhere.first_batch = batch;
  ordered_json rows = ordered_json::array();
  for (const std::string& name : options.subjects) {
    const auto subject =
        make_subject(name, golden::parse_precision(options.precision), config, weights, elsewhere);
    const double seconds = median_seconds(
        options.runs, [&] { subject->run(batch, {}, [](const verify::Observed&) {}); });
    fmt::print("forward of {}: {:.3f} s\n", subject->describe(), seconds);
    rows.push_back({{"subject", name}, {"pass", "forward"}, {"seconds", seconds}});
  }
  return rows;
}

void run_bench(const BenchOptions& options) {
  for (const std::string& name : options.subjects) {
    require_subject(name, options.elsewhere);
    if (!file_behind(name).empty()) {
      throw InputError(fmt::format("--subject {}: expected one that runs, got a dump", name));
    }
  }

  if (options.engine != "ordered" && options.engine != "blas") {
    throw InputError("--products " + options.engine + ": expected ordered or blas");
  }
  if (const golden::Output json{"--json", options.json_path}; !json.path.empty()) {
    golden::require_apart({json}, model_inputs(options.model));
    golden::check_target(json.path, true, 0);
    golden::require_own(json, {"{\n  \"cores\""}, options.force);
  }
  reference::set_products_engine(options.engine == "blas" ? Engine::blas : Engine::ordered);
  constexpr int64_t kSize = 2048;
  const double blas = product_rate(Engine::blas, kSize, options.runs);
  const double ordered = product_rate(Engine::ordered, kSize, options.runs);
  const double peak = std::max(blas, ordered);
  const auto cores =
      tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  fmt::print("cores {}, ordered products with {}, OpenBLAS core type {}\n", cores,
             reference::simd_name(), reference::blas_core_name());
  fmt::print("dgemm peak, {0}x{0}x{0}: {1:.1f} GFLOP/s (OpenBLAS {2:.1f}, ordered {3:.1f})\n",
             kSize, peak, blas, ordered);
  ordered_json report{{"cores", cores},
                      {"simd", reference::simd_name()},
                      {"blas_core_type", reference::blas_core_name()},
                      {"products", options.engine},
                      {"openblas_gflop_per_s", blas},
                      {"ordered_gflop_per_s", ordered},
                      {"method", options.model.method},
                      {"batch", options.model.batch},
                      {"positions", options.model.positions},
                      {"runs", options.runs}};
  report["passes"] = bench_models(options, peak);
  if (!options.subjects.empty()) report["subjects"] = bench_subjects(options);
  if (options.json_path.empty()) return;
  verify::write_report(report.dump(2) + "\n", options.json_path);
}

}  // namespace

void add_bench(CLI::App& app, Outcome&) {
  CLI::App* command =
      app.add_subcommand("bench", "measure the reference against this machine's peak");
  auto options = std::make_shared<BenchOptions>();
  options->model.preset = "author";
  options->model.method = "1";
  options->model.positions = 1024;
  add_model_options(*command, options->model);
  command->add_option("--products", options->engine, "engine of the products: ordered or blas")
      ->capture_default_str();
  command->add_option("--runs", options->runs, "runs whose median counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option(
      "--subject", options->subjects,
      "what else is timed on the same batch, one of 'assay subjects'; several times: "
      "each of them");
  add_precision_option(*command, options->precision);
  add_elsewhere_options(*command, options->elsewhere);
  command->add_option("--json", options->json_path, "JSON file to write");
  command->add_flag("--force", options->force, "replace an existing file that is no benchmark's");
  command->add_flag("!--no-scaling", options->scaling,
                    "all layers only, not also a quarter and a half of them");
  command->callback([options] { run_bench(*options); });
}

}  // namespace assay::cli
