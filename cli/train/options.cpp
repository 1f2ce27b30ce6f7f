#include "cli/train/options.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::cli {
namespace {

// Of one part of a run, not of the run.
const std::set<std::string>& session_options() {
  static const std::set<std::string> kNames{"--out",        "--resume", "--force", "--quiet",
                                            "--stop-after", "--seeds",  "--help"};
  return kNames;
}

void add_rule_options(CLI::App& command, TrainRunOptions& options) {
  command.add_option("--lr", options.rate, "largest learning rate")->capture_default_str();
  command.add_option("--lr-floor", options.rate_floor, "where half a cosine takes it")
      ->capture_default_str();
  command.add_option("--warmup", options.warmup, "steps of linear warm-up")->capture_default_str();
  command
      .add_option("--weight-decay", options.weight_decay,
                  "decoupled, of weights with two dimensions or more")
      ->capture_default_str();
  command.add_option("--clip", options.clip, "largest norm of all gradients; 0: no clipping")
      ->capture_default_str();
  command
      .add_option("--dropout", options.dropout, "share of O_l and U_l that is dropped, by counters")
      ->capture_default_str();
  command.add_option("--beta1", options.beta1, "of AdamW")->capture_default_str();
  command.add_option("--beta2", options.beta2, "of AdamW")->capture_default_str();
  command.add_option("--eps", options.eps, "of AdamW, outside of the root")->capture_default_str();
}

void add_data_options(CLI::App& command, TrainRunOptions& options) {
  command.add_option("--data", options.data,
                     "a source as of 'assay data' (markov:order=2,vocab=64), or a file of tokens: "
                     ".bin, .npy, .npz, .json, .jsonl, numbers, or text (bytes as tokens)");
  command.add_option("--rows", options.rows,
                     "rows of the training set; default: every step sees new ones");
  command.add_option("--val-rows", options.val_rows, "rows of val, and of fresh; default 128");
  command.add_option("--vocab", options.vocab,
                     "vocabulary of a preset; default: the source's (256 for a file), and a mask "
                     "of a masked language model");
}

void add_run_options(CLI::App& command, TrainRunOptions& options) {
  command.add_option("--steps", options.steps, "steps of the whole run")->capture_default_str();
  command.add_option("--accumulate", options.accumulate, "micro-batches of --batch rows a step")
      ->capture_default_str();
  command
      .add_option("--backend", options.backend,
                  "reference (double precision), simt (the kernels on the host), or cuda")
      ->capture_default_str();
  command.add_option("--precision", options.precision,
                     "of simt and cuda: fp64 (simt), fp32 (default), tf32, bf16, fp16");
  command
      .add_option("--keep", options.keep,
                  "of a forward pass for the backward one: all; shared (layers' inputs, and what "
                  "later layers read: A_j); inputs (layers' inputs alone)")
      ->capture_default_str();
  command.add_option("--out", options.out, "folder of the run")->required();
  command.add_flag("--resume", options.resume, "go on with the run in --out from where it saved");
  command.add_option("--save-every", options.save_every,
                     "steps between checkpoints; default: a tenth of the run");
  command.add_option("--eval-every", options.eval_every,
                     "steps between losses of val; default: a tenth of the run");
  command.add_option("--stop-after", options.stop_after,
                     "save and stop after this step, as Ctrl-C does");
  command
      .add_option("--seeds", options.seeds,
                  "of --method all: runs of each method, with --seed and the seeds behind it")
      ->capture_default_str();
  command.add_flag("--force", options.force, "replace the run in --out");
  command.add_flag("--quiet", options.quiet, "print nothing but errors");
}

std::string joined(const std::vector<std::string>& values) {
  return fmt::format("{}", fmt::join(values, ","));
}

}  // namespace

void add_train_run_options(CLI::App& command, TrainRunOptions& options) {
  options.model.batch = 8;
  add_model_options(command, options.model);
  command.remove_option(command.get_option("--tokens"));
  command
      .add_option("--weights", options.model.checkpoint,
                  "Hugging Face folder that training starts from; default: drawn from the seed")
      ->excludes("--preset")
      ->excludes("--config");
  add_data_options(command, options);
  add_rule_options(command, options);
  add_run_options(command, options);
}

GivenOptions given_options(const CLI::App& command) {
  GivenOptions given;
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0 || option->get_lnames().empty()) continue;
    const std::string name = "--" + option->get_lnames().front();
    if (!session_options().contains(name)) given[name] = option->results();
  }
  return given;
}

TrainRunOptions resumed_options(const GivenOptions& stored, const GivenOptions& given,
                                const TrainRunOptions& now) {
  for (const auto& [name, values] : given) {
    if (name == "--steps" || name == "--save-every") continue;  // a run may be made longer
    const auto known = stored.find(name);
    if (known != stored.end() && known->second == values) continue;
    throw InputError(fmt::format(
        "--resume: {} {}: the run was started with {}; leave it out, or begin another run", name,
        joined(values),
        known == stored.end() ? "its default" : golden::one_line(joined(known->second))));
  }
  TrainRunOptions options;
  CLI::App app;
  add_train_run_options(app, options);
  std::vector<std::string> words;  // CLI11 takes them from the last one on
  for (const auto& [name, values] : stored) {
    for (const std::string& value : values) words.push_back(fmt::format("{}={}", name, value));
  }
  words.push_back("--out=" + now.out);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::ParseError& error) {
    throw InputError(fmt::format("{}/config.json: options: {}", now.out, error.what()));
  }
  options.resume = true;
  if (given.contains("--steps")) options.steps = now.steps;
  options.quiet = now.quiet;
  options.stop_after = now.stop_after;
  options.known_wrong = now.known_wrong;
  if (given.contains("--save-every")) options.save_every = now.save_every;
  return options;
}

void check_train_options(const TrainRunOptions& options) {
  const auto positive = [&](const char* name, const std::optional<int64_t>& value) {
    if (value) require_at_least(name, *value, 1);
  };
  const auto expect = [](const char* name, double value, bool fits, const std::string& expected) {
    if (fits && std::isfinite(value)) return;
    throw InputError(fmt::format("{} {}: expected {}", name, value, expected));
  };
  if (options.out.empty()) throw InputError("--out: expected the folder of the run, got \"\"");
  require_at_least("--steps", options.steps, 1);
  require_at_least("--accumulate", options.accumulate, 1);
  require_at_least("--warmup", options.warmup, 0);
  require_at_least("--save-every", options.save_every, 0);
  require_at_least("--eval-every", options.eval_every, 0);
  require_at_least("--stop-after", options.stop_after, 0);
  require_at_least("--seeds", options.seeds, 1);
  positive("--rows", options.rows);
  positive("--val-rows", options.val_rows);
  positive("--vocab", options.vocab);
  if (options.warmup > options.steps) {
    throw InputError(
        fmt::format("--warmup {}: expected at most the steps, {}", options.warmup, options.steps));
  }
  expect("--lr", options.rate, options.rate >= 0, "0 or more");
  expect("--lr-floor", options.rate_floor,
         options.rate_floor >= 0 && options.rate_floor <= options.rate,
         fmt::format("0 .. the largest rate, {}", options.rate));
  expect("--weight-decay", options.weight_decay, options.weight_decay >= 0, "0 or more");
  expect("--clip", options.clip, options.clip >= 0, "0 (no clipping) or more");
  expect("--beta1", options.beta1, options.beta1 >= 0 && options.beta1 < 1, "0 .. 1, without 1");
  expect("--beta2", options.beta2, options.beta2 >= 0 && options.beta2 < 1, "0 .. 1, without 1");
  expect("--dropout", options.dropout, options.dropout >= 0 && options.dropout < 1,
         "0 .. 1, without 1");
  expect("--eps", options.eps, options.eps > 0, "a positive number");
  if (options.data.empty()) {
    throw InputError(
        "--data: expected a source, as in markov:order=2,vocab=64 ('assay data --list' lists "
        "them), or a file of tokens, got none");
  }
  const bool reference = options.backend == "reference";
  if (!reference && options.backend != "simt" && options.backend != "cuda") {
    throw InputError(
        fmt::format("--backend {}: expected reference, simt or cuda", options.backend));
  }
  if (reference && !options.precision.empty() && options.precision != "fp64") {
    throw InputError(
        fmt::format("--precision {}: the reference computes in fp64; --backend simt has others",
                    options.precision));
  }
  if (options.keep != "all" && options.keep != "shared" && options.keep != "inputs") {
    throw InputError(fmt::format("--keep {}: expected all, shared or inputs", options.keep));
  }
}

}  // namespace assay::cli
