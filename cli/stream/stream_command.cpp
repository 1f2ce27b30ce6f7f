// assay stream: a text of any length through a model, in constant memory where it has a window.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/process/stop.h"
#include "cli/stream/meter.h"
#include "cli/stream/streamers.h"
#include "datasets/source.h"
#include "datasets/tokens.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/exchange/checkpoint.h"
#include "golden/file/files.h"
#include "verify/report/report.h"

namespace assay::cli {
namespace {

constexpr int64_t kPresetScorePositions = 1024;

struct StreamCommandOptions {
  ModelOptions model;
  std::string subject = "reference", precision = "fp32";
  SubjectOptions elsewhere;
  std::optional<int64_t> chunk, capacity, most;
  int64_t every = 0;
  std::string json_path;
  bool force = false, quiet = false;
};

// What came of a stream, whole or up to a fault.
struct StreamOutcome {
  std::string streamer, read_as;
  int64_t tokens = 0, predictions = 0;
  double loss = 0, seconds = 0;
  bool has_loss = true;
  StreamedCache cache;
  std::vector<StreamSample> samples;
  std::string fault;  // "" if all of the input was read
  int signal = 0;     // that asked to stop
};

int64_t at_least_one(const char* flag, std::optional<int64_t> value, int64_t otherwise) {
  if (value && *value < 1) {
    throw InputError(fmt::format("{} {}: expected at least 1", flag, *value));
  }
  return value.value_or(otherwise);
}

// The longest sequence that the engine takes.
int64_t engine_positions(const golden::ModelConfig& config) {
  const bool sized = golden::find_method(config.method).takes("score_positions");
  return sized ? std::min(config.max_position_embeddings, golden::score_positions_of(config))
               : config.max_position_embeddings;
}

std::unique_ptr<Streamer> make_streamer(const StreamCommandOptions& options,
                                        const golden::ModelConfig& config,
                                        const golden::WeightSource& weights, int64_t chunk) {
  const int64_t capacity = at_least_one("--capacity", options.capacity, 0);
  if (options.subject == "reference") {
    reference::StreamOptions stream;
    stream.chunk = chunk;
    stream.capacity = capacity;
    return make_reference_streamer(config, weights, stream);
  }
  const bool engine = options.subject.starts_with("simt") || options.subject.starts_with("cuda");
  const bool ring = engine && config.window > 0 && config.full_layers.empty();
  if (capacity == 0 && !ring) {
    throw InputError(fmt::format(
        "--subject {}: its cache keeps every position: expected --capacity, the longest sequence",
        options.subject));
  }
  const golden::Precision precision = golden::parse_precision(options.precision);
  if (engine) {
    return make_engine_streamer(options.subject, precision, config, weights,
                                capacity == 0 ? engine_positions(config) : capacity, chunk);
  }
  auto subject = make_subject(options.subject, precision, config, weights, options.elsewhere);
  return make_subject_streamer(std::move(subject), capacity, config.vocab_size);
}

datasets::Source source_of(const std::string& path) {
  if (path == "-") return {STDIN_FILENO, "standard input"};
  return datasets::Source(path);
}

// Labels of a masked language model are no next tokens.
bool predicts_next(const golden::ModelConfig& config) {
  return config.method != "pt" ||
         golden::prob_transformer_of(config).output == golden::ProbTransformer::Output::causal;
}

struct StreamStopped {};

StreamOutcome stream(const StreamCommandOptions& options, const golden::ModelConfig& config,
                     Streamer& streamer, int64_t block) {
  StreamOutcome outcome;
  outcome.streamer = streamer.describe();
  outcome.has_loss = predicts_next(config);
  StreamLoss loss(config.vocab_size);
  StreamMeter meter(options.every, options.quiet);
  datasets::Source source = source_of(options.model.tokens_path);
  const StopOnSignals signals;
  source.stop_when([] { return stop_signal() != 0; });
  const auto take = [&](std::span<const int32_t> tokens) {
    loss.add(tokens, streamer.append(tokens));
    outcome.tokens += static_cast<int64_t>(tokens.size());
    const double share = source.bytes() ? static_cast<double>(source.consumed()) /
                                              static_cast<double>(*source.bytes())
                                        : -1;
    meter.advanced(outcome.tokens, loss.mean(), share);
    if (stop_signal() != 0) throw StreamStopped();
  };
  try {
    const auto format = datasets::parse_tokens_format(options.model.tokens_format);
    const int64_t most = at_least_one("--most", options.most, INT64_MAX);
    outcome.read_as =
        datasets::stream_tokens(source, format, config.vocab_size, most, block, take).read_as;
    if (outcome.tokens == 0 && stop_signal() == 0) {
      throw InputError(source.path() + ": expected at least one token, got none");
    }
  } catch (const StreamStopped&) {
  } catch (const InputError& error) {
    if (outcome.tokens == 0) throw;
    outcome.fault = error.what();  // what came before it counts
  }
  outcome.signal = stop_signal();
  if (outcome.signal != 0) {  // a number that it cut is none of the input's faults
    outcome.fault =
        fmt::format("stopped by signal {} after {} tokens", outcome.signal, outcome.tokens);
  }
  outcome.seconds = meter.seconds();
  outcome.loss = loss.mean();
  outcome.predictions = loss.predictions();
  outcome.cache = streamer.cache();
  outcome.samples = meter.samples();
  return outcome;
}

void print(const golden::ModelConfig& config, const StreamOutcome& outcome, int64_t chunk) {
  const bool dynamic = config.window_kind == golden::WindowKind::dynamic;
  const std::string window =
      config.window == 0 ? "no window"
      : dynamic          ? fmt::format("dynamic window {} to {}", config.window_min, config.window)
                         : fmt::format("window {}", config.window);
  fmt::print("method {}, {}, {} sinks, chunks of {}: {}\n", config.method, window,
             config.sink_tokens, chunk, outcome.streamer);
  fmt::print("  {} tokens{}{}\n", outcome.tokens, outcome.read_as.empty() ? "" : ": ",
             outcome.read_as);
  if (outcome.has_loss && outcome.predictions == 0) {
    fmt::print("  no loss: a single token is predicted by none before it\n");
  } else if (outcome.has_loss) {
    fmt::print("  loss {:.6f} nats per token, over {} predictions\n", outcome.loss,
               outcome.predictions);
  }
  const StreamedCache& cache = outcome.cache;
  fmt::print("  cache: {} of {} positions ({:.1f} %), {} evicted", cache.held, cache.capacity,
             100.0 * static_cast<double>(cache.held) / static_cast<double>(cache.capacity),
             cache.evictions);
  if (cache.bytes > 0) {
    fmt::print(", {:.3f} MB, {} bytes a position", static_cast<double>(cache.bytes) / 1e6,
               cache.bytes / cache.capacity);
  }
  fmt::print("\n  {:.2f} s, {:.0f} tokens/s, resident {:.1f} MB\n", outcome.seconds,
             static_cast<double>(outcome.tokens) / outcome.seconds,
             static_cast<double>(resident_bytes()) / 1e6);
}

std::string json_of(const golden::ModelConfig& config, const StreamOutcome& outcome,
                    int64_t chunk) {
  using nlohmann::ordered_json;
  const StreamedCache& cache = outcome.cache;
  ordered_json report{{"assay_stream", 1},
                      {"method", config.method},
                      {"subject", outcome.streamer},
                      {"window", config.window},
                      {"window_kind", golden::window_kind_name(config.window_kind)},
                      {"sink_tokens", config.sink_tokens},
                      {"chunk", chunk},
                      {"tokens", outcome.tokens},
                      {"read_as", outcome.read_as},
                      {"loss_nats", nullptr},
                      {"predictions", outcome.has_loss ? outcome.predictions : 0},
                      {"seconds", outcome.seconds},
                      {"cache",
                       {{"held", cache.held},
                        {"capacity", cache.capacity},
                        {"evictions", cache.evictions},
                        {"bytes", cache.bytes}}},
                      {"resident_bytes", resident_bytes()},
                      {"samples", ordered_json::array()},
                      {"fault", outcome.fault}};
  if (outcome.has_loss && std::isfinite(outcome.loss)) report["loss_nats"] = outcome.loss;
  for (const StreamSample& sample : outcome.samples) {
    report["samples"].push_back({{"tokens", sample.tokens},
                                 {"seconds", sample.seconds},
                                 {"loss_nats", sample.loss},
                                 {"resident_bytes", sample.resident_bytes}});
  }
  return report.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

void check_outputs(const StreamCommandOptions& options) {
  const golden::Output json{"--json", options.json_path};
  if (json.path.empty()) return;
  std::vector<std::string> inputs = model_inputs(options.model);
  std::erase(inputs, "-");
  golden::require_apart({json}, inputs);
  golden::check_target(json.path, true, 0);
  golden::require_own(json, {"{\n  \"assay_stream\""}, options.force);
}

// A stream has no length that options would be checked for; a preset's parameters need one.
golden::ModelConfig stream_config(ModelOptions options) {
  const bool preset = options.config_path.empty() && options.checkpoint.empty();
  options.positions = preset && !options.score_positions ? kPresetScorePositions : 1;
  return model_config(options);
}

// What cannot be written hides no fault.
void write_json(const StreamCommandOptions& options, const golden::ModelConfig& config,
                const StreamOutcome& outcome, int64_t chunk) {
  if (options.json_path.empty()) return;
  try {
    verify::write_report(json_of(config, outcome, chunk), options.json_path);
  } catch (const InputError& error) {
    if (outcome.fault.empty()) throw;
    throw InputError(fmt::format("{}; and {}", outcome.fault, error.what()));
  }
}

int run_stream(const StreamCommandOptions& options) {
  require_subject(options.subject, options.elsewhere);
  if (options.every < 0) throw InputError("--every: expected at least 0");
  const golden::ModelConfig config = stream_config(options.model);
  check_outputs(options);
  std::unique_ptr<golden::WeightSource> weights;
  if (options.model.checkpoint.empty()) {
    weights = std::make_unique<golden::SyntheticWeights>(config, options.model.seed);
  } else {
    weights = std::make_unique<golden::CheckpointWeights>(options.model.checkpoint, config);
  }
  // A subject may hand over the logits of a chunk's last position alone.
  const int64_t chunk =
      at_least_one("--chunk", options.chunk, options.subject == "reference" ? 64 : 1);
  const auto streamer = make_streamer(options, config, *weights, chunk);
  const StreamOutcome outcome = stream(options, config, *streamer, chunk);
  if (!options.quiet) print(config, outcome, chunk);
  write_json(options, config, outcome, chunk);
  if (outcome.signal != 0) return 128 + outcome.signal;
  if (!outcome.fault.empty()) throw InputError(outcome.fault);
  return 0;
}

// Options of runs over [B,T] that a stream has no use for.
void fit_model_options(CLI::App& command) {
  for (const char* name : {"--batch", "--seq"}) command.remove_option(command.get_option(name));
  command.get_option("--tokens")
      ->description(
          "file of tokens as other commands read it, of any length; - for standard input; rows are "
          "parts of one stream")
      ->required();
  command.get_option("--seed")->description("seed of weights");
  command.get_option("--score-positions")
      ->description(
          "positions that parameters are for, default with a preset: 1024; a longer stream is "
          "refused (methods 5.1A, 5.1B, 5.1C, C-base)");
}

}  // namespace

void add_stream(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand(
      "stream", "run a text of any length through a model, chunk by chunk, with a ring cache");
  auto options = std::make_shared<StreamCommandOptions>();
  add_model_options(*command, options->model);
  fit_model_options(*command);
  command
      ->add_option("model,--weights", options->model.checkpoint,
                   "Hugging Face folder with config.json and safetensors; default: a preset with "
                   "weights drawn from the seed")
      ->excludes("--preset")
      ->excludes("--config");
  command->add_option("--chunk", options->chunk,
                      "tokens evaluated at once; default 64, with --subject 1");
  command->add_option("--capacity", options->capacity,
                      "positions that the cache holds; default: the longer of window and chunk; "
                      "without a window, the longest stream");
  command->add_option("--most", options->most, "tokens after which it ends");
  command->add_option("--every", options->every,
                      "tokens between two samples of loss, rate and memory");
  command
      ->add_option("--subject", options->subject,
                   fmt::format("reference (default), or what decodes of {}", subject_spellings()))
      ->capture_default_str();
  add_precision_option(*command, options->precision);
  add_elsewhere_options(*command, options->elsewhere);
  command->add_option("--json", options->json_path, "JSON file to write");
  command->add_flag("--force", options->force, "replace an existing file that is no stream's");
  command->add_flag("--quiet", options->quiet, "print errors only");
  command->callback([options, &outcome] { outcome.exit_code = run_stream(*options); });
}

}  // namespace assay::cli
