#include "cli/leak/decoder_leak.h"

#include <fmt/format.h>

#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "cli/judge.h"
#include "datasets/tokens.h"
#include "golden/contract/error.h"
#include "golden/contract/weights.h"
#include "verify/decoders/decoders.h"
#include "verify/recorded/dump_pair.h"
#include "verify/subjects/exec_subject.h"
#include "verify/subjects/library/lib_subject.h"
#include "verify/subjects/refusal.h"

namespace assay::cli {
namespace {

constexpr int64_t kUsualPositions = 47;  // no other axis is as long, and every cut is soon made

verify::AxesOptions axes_of(const DecoderLeakOptions& options) {
  verify::AxesOptions axes;
  for (const std::string& text : options.axes) {
    axes.given.push_back(verify::parse_given_axis(text));
  }
  axes.position_axis = options.position_axis;
  return axes;
}

// The rows that are run: drawn, or the beginning of a file.
verify::Batch drawn_batch(const ModelOptions& model, int64_t vocab_size, int64_t rows,
                          int64_t positions) {
  if (model.tokens_path.empty()) {
    return unpadded(golden::synthetic_tokens(vocab_size, rows, positions, model.seed), rows,
                    positions);
  }
  const auto read =
      datasets::read_tokens(model.tokens_path, datasets::parse_tokens_format(model.tokens_format),
                            rows, positions, vocab_size);
  return unpadded(read.values, rows, positions);
}

// What brings its own model.
struct OwnModel {
  std::unique_ptr<verify::Subject> subject;
  std::string storage;  // that it declares; "": none
};

template <class Made>
OwnModel own_model(std::unique_ptr<Made> made) {
  const std::string storage = made->declared_storage();
  return {std::move(made), storage};
}

// `first`: what a program is asked that starts anew for each answer, before anything is known of
// it.
OwnModel started(const std::string& subject, int64_t vocab_size, const SubjectOptions& elsewhere,
                 const verify::Batch& first) {
  constexpr std::string_view kExec = "exec:", kOnce = "exec-once:", kLib = "lib:";
  if (subject.starts_with(kLib)) {
    return own_model(std::make_unique<verify::LibSubject>(
        verify::LibOptions{.path = subject.substr(kLib.size())}));
  }
  const bool once = subject.starts_with(kOnce);
  if (!once && !subject.starts_with(kExec)) {
    throw InputError(
        fmt::format("--vocab: expected a program behind --subject, exec:COMMAND, "
                    "exec-once:COMMAND or lib:PATH, got {}",
                    subject));
  }
  verify::ExecOptions options;
  options.command = subject.substr(once ? kOnce.size() : kExec.size());
  if (once) options.mode = verify::Program::Mode::once;
  options.first = first;
  options.limits = elsewhere.limits;
  return own_model(std::make_unique<verify::ExecSubject>(options, vocab_size));
}

// Whether a program takes so many rows at all. One that dies of them is made anew.
bool takes(OwnModel& program, const std::string& subject, int64_t vocab_size,
           const SubjectOptions& elsewhere, const verify::Batch& batch) {
  try {
    program.subject->run(batch, {}, [](const verify::Observed&) {});
  } catch (const verify::SubjectFailure&) {
    program = started(subject, vocab_size, elsewhere, batch);
    return false;
  }
  return true;
}

}  // namespace

void add_decoder_leak_options(CLI::App& command, DecoderLeakOptions& options) {
  const char* group = "Any decoder";
  command
      .add_option("--vocab", options.vocab_size,
                  "tokens that a program of any kind takes: no golden file, no config")
      ->group(group)
      ->check(CLI::Range(int64_t{2}, int64_t{std::numeric_limits<int32_t>::max()}));
  command
      .add_option("--positions", options.positions,
                  fmt::format("positions in a row; default {}", kUsualPositions))
      ->group(group)
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20));
  command
      .add_option("--axis", options.axes,
                  "NAME=AXIS: which axis of the tensors of that name has the positions, from 0 or "
                  "from behind; NAME=AXIS:FIRST: index 0 is position FIRST; NAME=AXIS,AXIS: of "
                  "two positions the later one counts; NAME=none: it has none; several times; "
                  "default: found by running other lengths")
      ->group(group);
  command.add_option("--position-axis", options.position_axis, "the same for every tensor")
      ->group(group);
  command
      .add_option("--ignore", options.ignored,
                  "tensors that are not looked at; several times or with commas: any of them")
      ->group(group)
      ->join(',');
  command
      .add_option("dumps", options.dumps,
                  "file:A file:B, dumps of two runs whose tokens begin alike: what they hand over "
                  "there has to be the same")
      ->group(group);
  command
      .add_option("--tokens-a", options.tokens_a,
                  ".npy of the tokens of A; default: its tensor tokens or input_ids")
      ->group(group);
  command.add_option("--tokens-b", options.tokens_b, "the same of B")->group(group);
}

std::vector<std::string> decoder_leak_inputs(const DecoderLeakOptions& options) {
  std::vector<std::string> inputs;
  for (const std::string& dump : options.dumps) inputs.push_back(file_behind(dump));
  for (const std::string& path : {options.tokens_a, options.tokens_b}) {
    if (!path.empty()) inputs.push_back(path);
  }
  return inputs;
}

void require_no_model(const CLI::App& command, const char* instead) {
  for (const char* name : {"--preset",         "--config",          "--block",          "--family",
                           "--norm",           "--activation",      "--kv-heads",       "--window",
                           "--sink-tokens",    "--full-layers",     "--attention-bias", "--qk-norm",
                           "--method",         "--residual",        "--detach-stored",  "--form",
                           "--score-gate-eps", "--score-positions", "--params",         "--seq",
                           "--precision",      "--schedule",        "--angles",         "--map",
                           "--window-kind",    "--window-min"}) {
    const CLI::Option* option = command.get_option_no_throw(name);
    if (option == nullptr || option->count() == 0) continue;
    throw InputError(
        fmt::format("{}: of a model that Assay makes: expected none with {}", name, instead));
  }
}

verify::RunReport decoder_leak(const DecoderLeakOptions& options, const ModelOptions& model,
                               bool batch_is_given, const std::string& subject,
                               const SubjectOptions& elsewhere, const Outcome& outcome) {
  const int64_t vocab_size = *options.vocab_size;
  verify::RunReport report;
  report.command_line = outcome.command_line;
  report.seed = model.seed;
  report.subject = subject;
  report.title = fmt::format("any decoder, {} tokens; {}", vocab_size, subject);
  const verify::AxesOptions axes = axes_of(options);
  try {
    const verify::Batch first =
        drawn_batch(model, vocab_size, 1, options.positions.value_or(kUsualPositions));
    OwnModel program = started(subject, vocab_size, elsewhere, first);
    const verify::Capabilities can = program.subject->capabilities();
    const int64_t fixed = can.fixed_length > 0 ? can.fixed_length : kUsualPositions;
    const int64_t positions = options.positions.value_or(fixed);
    int64_t rows = batch_is_given || can.fixed_batch == 0 ? model.batch : can.fixed_batch;
    verify::Batch batch = drawn_batch(model, vocab_size, rows, positions);
    if (!batch_is_given && can.fixed_batch == 0 && rows > 1 &&
        !takes(program, subject, vocab_size, elsewhere, batch)) {
      rows = 1;
      batch = drawn_batch(model, vocab_size, rows, positions);
    }
    report.subject = program.subject->describe();
    report.title = fmt::format("any decoder, {} tokens, [{},{}]; {}", vocab_size, rows, positions,
                               report.subject);
    verify::LeakResult result = verify::judge_decoder(*program.subject, vocab_size, batch,
                                                      {.seed = model.seed,
                                                       .axes = axes,
                                                       .ignored = options.ignored,
                                                       .storage = program.storage,
                                                       .begins = options.begins});
    report.checks = std::move(result.checks);
    if (!result.influence.first_layer.empty()) report.influence = std::move(result.influence);
  } catch (const verify::SubjectFailure& failure) {
    report.checks.push_back(failed(failure));
  }
  return report;
}

verify::RunReport dump_pair_leak(const DecoderLeakOptions& options, const Outcome& outcome) {
  if (options.dumps.size() != 2) {
    throw InputError(fmt::format("leak: expected two dumps, file:A file:B, got {}: {}",
                                 options.dumps.size(), fmt::join(options.dumps, " ")));
  }
  for (const std::string& dump : options.dumps) {
    if (file_behind(dump).empty()) {
      throw InputError(fmt::format("leak: expected file:PATH, got {}", dump));
    }
  }
  const std::string a = file_behind(options.dumps[0]), b = file_behind(options.dumps[1]);
  verify::RunReport report;
  report.title = fmt::format("two dumps: {}, {}", a, b);
  report.command_line = outcome.command_line;
  report.subject = fmt::format("{}, {}", a, b);
  report.checks = verify::judge_dump_pair({.dump = a, .tokens = options.tokens_a},
                                          {.dump = b, .tokens = options.tokens_b}, axes_of(options),
                                          options.ignored);
  return report;
}

}  // namespace assay::cli
