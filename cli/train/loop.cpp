#include "cli/train/loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/process/stop.h"
#include "cli/train/backend.h"
#include "cli/train/progress.h"
#include "cli/train/rows.h"
#include "cli/train/run_folder.h"
#include "datasets/known/law.h"
#include "datasets/known/sets.h"
#include "golden/contract/error.h"
#include "golden/exchange/checkpoint.h"
#include "reference/numbers/array.h"
#include "reference/training/schedule.h"

namespace assay::cli {
namespace {

golden::ModelConfig trained_config(const TrainRunOptions& options, const TrainSource& source) {
  golden::ModelConfig config = model_config(options.model);
  const bool is_preset = options.model.config_path.empty() && options.model.checkpoint.empty();
  if (options.vocab && !is_preset) {
    throw InputError(fmt::format("--vocab {}: an option of presets; the config says {}",
                                 *options.vocab, config.vocab_size));
  }
  if (is_preset) {
    const int64_t masks = labels_ahead(config) == 0 ? 1 : 0;  // the last token stands for a mask
    config.vocab_size = options.vocab.value_or(source_vocab(source) + masks);
  }
  if (options.model.params.empty() && options.model.checkpoint.empty()) {
    config.params = golden::Params::initial;
  }
  golden::validate(config, "options");
  golden::check_sizes(config, options.model.batch, options.model.positions);
  if (options.model.positions <= labels_ahead(config)) {
    throw InputError(fmt::format("--seq {}: expected at least 2: a row of one predicts nothing",
                                 options.model.positions));
  }
  return config;
}

std::unique_ptr<golden::WeightSource> start_weights(const TrainRunOptions& options,
                                                    const golden::ModelConfig& config,
                                                    const std::string& checkpoint) {
  const std::string folder = checkpoint.empty() ? options.model.checkpoint : checkpoint;
  if (!folder.empty()) return std::make_unique<golden::CheckpointWeights>(folder, config);
  return std::make_unique<InitialWeights>(config, options.model.seed);
}

double mean_of(const std::vector<double>& losses, const TrainRows& rows) {
  double sum = 0;
  for (const double loss : losses) sum += loss;
  const auto columns = static_cast<int64_t>(losses.size()) / rows.rows;
  const int64_t ahead = rows.positions - columns;
  int64_t counted = 0;
  for (int64_t i = 0; i < rows.rows * rows.positions; ++i) {
    counted += i % rows.positions >= ahead && rows.labels[static_cast<std::size_t>(i)] != -100;
  }
  return sum / static_cast<double>(std::max<int64_t>(1, counted));
}

// Of mean_of as a quotient of sums over rows: sqrt(N / (N - 1) sum_i (r_i - m n_i)^2) / sum_i n_i,
// r_i the losses and n_i the labels of row i.
double standard_error(const std::vector<double>& losses, const TrainRows& rows) {
  const auto columns = static_cast<int64_t>(losses.size()) / rows.rows;
  const int64_t ahead = rows.positions - columns;
  const double mean = mean_of(losses, rows);
  double squares = 0, counted = 0;
  for (int64_t row = 0; row < rows.rows; ++row) {
    double off = 0;
    for (int64_t t = 0; t < columns; ++t) {
      const auto label = static_cast<std::size_t>(row * rows.positions + t + ahead);
      if (rows.labels[label] == -100) continue;
      off += losses[static_cast<std::size_t>(row * columns + t)] - mean;
      counted += 1;
    }
    squares += off * off;
  }
  const auto n = static_cast<double>(rows.rows);
  return n > 1 && counted > 0 ? std::sqrt(squares * n / (n - 1)) / counted : NAN;
}

class TrainLoop {
 public:
  TrainLoop(const TrainRunOptions& options, const TrainSource& source,
            const golden::ModelConfig& config, RunFolder& folder, TrainBackend& backend)
      : options_(options),
        config_(config),
        source_(source),
        data_(config, source),
        folder_(folder),
        backend_(backend),
        schedule_{.peak = options.rate,
                  .floor = options.rate_floor,
                  .warmup = options.warmup,
                  .steps = options.steps} {}

  const std::string& tokens_hash() const { return data_.tokens_hash(); }

  bool run(int64_t done) {
    const StopOnSignals signals;
    reference::reset_peak_bytes();
    TrainProgress progress(done, options_.steps, options_.quiet);
    const int64_t tenth = std::max<int64_t>(1, options_.steps / 10);
    const int64_t save_every = options_.save_every > 0 ? options_.save_every : tenth;
    const int64_t eval_every = options_.eval_every > 0 ? options_.eval_every : tenth;
    for (int64_t step = done + 1; step <= options_.steps; ++step) {
      const TrainStep report = take(step, progress);
      const bool last = step == options_.steps;
      if (last || step % eval_every == 0) evaluate(step, report, progress);
      const bool stops = stop_signal() != 0 || step == options_.stop_after;
      if (last || stops || step % save_every == 0) {
        folder_.save(backend_, config_, options_.known_wrong, step);
      }
      if (stops && !last) {
        progress.say(fmt::format("saved after step {}; --resume goes on", step));
        return false;
      }
    }
    finish(progress);
    return true;
  }

 private:
  TrainStep take(int64_t step, TrainProgress& progress) {
    const double rate = reference::learning_rate(schedule_, step - 1);
    const int64_t B = options_.model.batch;
    for (int64_t k = 0; k < options_.accumulate; ++k) {
      backend_.accumulate(data_.batch(step - 1, k, B, options_.accumulate));
    }
    const double scale = backend_.progress().loss_scale;  // that this step's gradients had
    TrainStep report = backend_.step(rate);
    CurveRow row{static_cast<double>(step),
                 {{"train_loss", report.loss},
                  {"lr", rate},
                  {"grad_norm", report.gradient_norm},
                  {"loss_scale", scale},
                  {"skipped", report.skipped ? 1 : 0}}};
    for (const auto& [part, norm] : report.layer_norms) {
      row.values.emplace_back("grad_norm/" + part, norm);
    }
    folder_.add(row);
    progress.stepped(step, report.loss, B * options_.accumulate * options_.model.positions);
    return report;
  }

  void evaluate(int64_t step, const TrainStep& report, TrainProgress& progress) {
    const TrainRows val = data_.val();
    const double loss = mean_of(losses_in_batches(val), val);
    folder_.add({static_cast<double>(step), {{"val_loss", loss}}});
    progress.say(
        fmt::format("step {:>6}/{}  train {:.5f}  val {:.5f}  |g| {:.4g}  {:.0f} tokens/s{}", step,
                    options_.steps, report.loss, loss, report.gradient_norm,
                    progress.tokens_per_second(), report.skipped ? "  skipped" : ""));
  }

  std::vector<double> losses_in_batches(const TrainRows& rows) {
    std::vector<double> all;
    for (int64_t first = 0; first < rows.rows; first += options_.model.batch) {
      const std::vector<double> part = backend_.losses(rows.some(first, options_.model.batch));
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

  // The fresh set comes into being here, from the seed that was committed to.
  void finish(const TrainProgress& progress) {
    const int64_t seen = data_.rows_seen(options_.steps, options_.model.batch, options_.accumulate);
    std::vector<RunFolder::SetLosses> sets;
    nlohmann::json means, errors;
    for (auto& [name, rows] : {std::pair{"train", data_.train(std::min(seen, source_.val_rows))},
                               {"val", data_.val()},
                               {"fresh", data_.fresh()}}) {
      sets.push_back({name, rows, losses_in_batches(rows)});
      means[name] = mean_of(sets.back().losses, rows);
      errors[name] = standard_error(sets.back().losses, rows);
    }
    folder_.write_losses(sets, source_.text);
    const uint64_t seed = fresh_seed(source_.seed);
    const nlohmann::json result = {{"steps", options_.steps},
                                   {"mean_losses", means},
                                   {"standard_errors", errors},
                                   {"fresh_seed", seed},
                                   {"fresh_seed_commitment", datasets::seed_commitment(seed)},
                                   {"peak_bytes", backend_.peak_bytes()},
                                   {"seconds_of_last_part", progress.seconds()},
                                   {"tokens_per_second", progress.tokens_per_second()}};
    folder_.write_result(result.dump(2) + "\n");
    if (options_.quiet) return;
    for (const RunFolder::SetLosses& set : sets) {
      fmt::print("{:<5} {:.5f} nats a token\n", set.name, mean_of(set.losses, set.rows));
    }
    fmt::print("{}: 'assay overfit {}' judges it\n", folder_.path(), folder_.path());
  }

  const TrainRunOptions& options_;
  const golden::ModelConfig& config_;
  const TrainSource& source_;
  TrainData data_;
  RunFolder& folder_;
  TrainBackend& backend_;
  reference::Schedule schedule_;
};

}  // namespace

bool train(const TrainRunOptions& typed, const GivenOptions& given) {
  TrainRunOptions options = typed;
  RunStart start{.options = given, .config = "", .tokens_hash = "", .known_wrong = ""};
  if (typed.resume) {
    if (typed.force) throw InputError("--force: expected one of --resume and --force, got both");
    start = read_run_start(typed.out);
    if (start.known_wrong != typed.known_wrong) {
      throw InputError(fmt::format(
          "--resume: {}: expected a run of the method, got one of its form {}, which is known to "
          "be wrong; only the study that began it goes on with it: --method all",
          typed.out, start.known_wrong.empty() ? "as it is" : start.known_wrong));
    }
    options = resumed_options(start.options, given, typed);
  }
  check_train_options(options);
  RunFolder folder(options.out);
  if (!typed.resume) folder.check(options);
  TrainSource source = train_source(options);
  if (typed.resume && !source.is_law) {  // a longer run does not train on what was val before
    source.train_rows = start.train_rows;
    source.tokens_hash = start.tokens_hash;
  }
  const golden::ModelConfig config = trained_config(options, source);
  const std::string own = nlohmann::json::parse(golden::to_json(config)).dump();
  if (typed.resume && own != start.config) {
    throw InputError(
        fmt::format("--resume: {}/config.json: its model is not the one that its options give now: "
                    "expected {}, "
                    "got {}",
                    typed.out, start.config, own));
  }
  const auto [checkpoint, done] =
      typed.resume ? latest_checkpoint(typed.out) : std::pair<std::string, int64_t>{"", 0};
  if (options.steps < done) {
    throw InputError(fmt::format("--steps {}: the run has done {}", options.steps, done));
  }
  if (options.stop_after > 0 && options.stop_after <= done) {
    throw InputError(
        fmt::format("--stop-after {}: expected a step behind {}, which the run has done",
                    options.stop_after, done));
  }
  const auto weights = start_weights(options, config, checkpoint);
  const auto backend = make_train_backend(options, config, *weights);
  TrainLoop loop(options, source, config, folder, *backend);  // reads the tokens
  source.tokens_hash = loop.tokens_hash();
  if (!typed.resume) {
    start.config = golden::to_json(config);
    start.parameters = parameters_of(config);
    folder.begin(start, options, source);
  } else {
    if (!checkpoint.empty()) folder.load(*backend, checkpoint);
    folder.resume(done, options.steps);
    if (given.contains("--steps")) {
      start.options["--steps"] = given.at("--steps");
      folder.write_config(start, options, source);
    }
  }
  return loop.run(done);
}

}  // namespace assay::cli
