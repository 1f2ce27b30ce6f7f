#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <new>
#include <optional>

#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/process/memory.h"
#include "golden/contract/error.h"
#include "golden/exchange/checkpoint.h"
#include "golden/file/files.h"
#include "golden/generate/generate.h"

namespace assay::cli {
namespace {

struct GenerateOptions {
  ModelOptions model;
  std::string capture = "full";
  std::string out;
  std::optional<int64_t> weight_memory;  // bytes
  bool gradients = false;
  bool bounds = false;
  bool dependence = false;
  std::vector<std::string> sigmas;
  int sigma_runs = 8;
  bool force = false;
  bool quiet = false;
};

// A bar that redraws itself on a terminal; nothing in a log, where the summary line is enough.
void show_progress(int64_t done, int64_t total) {
  constexpr int64_t kWidth = 40;
  const int64_t filled = total == 0 ? kWidth : done * kWidth / total;
  fmt::print(stderr, "\r[{:=<{}}{: <{}}] {}/{}", "", filled, "", kWidth - filled, done, total);
  if (done == total) fmt::print(stderr, "\r{: <{}}\r", "", kWidth + 30);
  std::fflush(stderr);
}

golden::GenerateResult generate_within_memory(const golden::GenerateRequest& request) {
  try {
    return golden::generate(request);
  } catch (const std::bad_alloc&) {
    throw NotEnoughMemory(fmt::format(
        "{}: out of memory: {}; --weight-memory 1G bounds what weights take, a smaller --batch or "
        "--seq what tensors take",
        request.out, memory_text()));
  }
}

void run_generate(const GenerateOptions& options) {
  golden::GenerateRequest request;
  request.config = model_config(options.model);
  request.seed = options.model.seed;
  request.batch = options.model.batch;
  request.positions = options.model.positions;
  std::string read_as;
  request.tokens = model_tokens(options.model, request.config, &read_as);
  request.capture = golden::parse_capture(options.capture);
  request.gradients = options.gradients;
  request.weight_memory = options.weight_memory;
  if (options.weight_memory && *options.weight_memory < 0) {
    throw InputError(
        fmt::format("--weight-memory {}: expected at least 0", *options.weight_memory));
  }
  request.dependence = options.dependence;
  request.calibration.bounds = options.bounds;
  for (const std::string& name : options.sigmas) {
    request.calibration.sigmas.push_back(golden::parse_precision(name));
  }
  request.calibration.sigma_runs = options.sigma_runs;
  request.calibration.seed = options.model.seed;
  golden::require_apart({{"--out", options.out}}, model_inputs(options.model));
  golden::check_target(options.out, options.force, 0);
  request.out = options.out;
  request.force = options.force;
  if (!options.quiet && isatty(STDERR_FILENO) != 0) request.progress = show_progress;
  std::optional<golden::CheckpointWeights> checkpoint;
  if (!options.model.checkpoint.empty()) {
    checkpoint.emplace(options.model.checkpoint, request.config);
    request.weights = &*checkpoint;
    request.weights_origin = checkpoint->contents();
  }
  const golden::GenerateResult result = generate_within_memory(request);
  if (result.nonfinite > 0) {
    fmt::print(stderr,
               "assay generate: {}: {} of {} tensors hold NaN or infinities, first {}: nothing can "
               "be judged by them\n",
               options.out, result.nonfinite, result.tensors, result.first_nonfinite);
  }
  if (options.quiet) return;
  fmt::print("{}: method {}, {} tensors of [{},{}], loss {:.6f}\n", options.out,
             request.config.method, result.tensors, request.batch, request.positions, result.loss);
  if (!read_as.empty()) fmt::print("  tokens {}: {}\n", options.model.tokens_path, read_as);
  fmt::print("  root hash {}\n", result.root_hash);
  fmt::print("  {:.2f} s, of which {:.2f} s writing {:.1f} MB\n", result.total_seconds,
             result.write_seconds, static_cast<double>(result.bytes_written) / 1e6);
}

}  // namespace

void add_generate(CLI::App& app, Outcome&) {
  CLI::App* command =
      app.add_subcommand("generate", "evaluate the reference and write a golden file");
  auto options = std::make_shared<GenerateOptions>();
  add_model_options(*command, options->model);
  add_weights_option(*command, options->model);
  command
      ->add_option("--capture", options->capture,
                   "what is kept of each tensor: hash, stats (hash and statistics) or full")
      ->capture_default_str();
  command->add_flag("--grad", options->gradients, "also every gradient of the loss");
  command
      ->add_option(
          "--weight-memory", options->weight_memory,
          "bytes of weights held in double, e.g. 2G; what is more is read again when it is "
          "needed; default: no limit")
      ->transform(CLI::AsSizeValue(false));
  command->add_flag("--bound", options->bounds,
                    "also the reference's own error of every tensor, against double-double");
  command
      ->add_option("--sigma", options->sigmas,
                   "also the noise of rounding under these storage types, e.g. bf16,fp32")
      ->delimiter(',');
  command->add_flag("--dependence", options->dependence,
                    "also which positions of the inputs each position of a tensor can depend on, "
                    "for all inputs");
  command->add_option("--sigma-runs", options->sigma_runs, "stochastic runs that the noise is from")
      ->capture_default_str();
  command->add_option("--out", options->out, "golden file to write")->required();
  command->add_flag("--force", options->force, "replace an existing file");
  command->add_flag("--quiet", options->quiet, "print errors only");
  command->callback([options] { run_generate(*options); });
}

}  // namespace assay::cli
