#include "cli/subjects.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <vector>

#include "cli/command.h"
#include "cli/engine/engine_subject.h"
#include "cuda_impl/engine/interface/backend_name.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "golden/exchange/dump_tokens.h"
#include "verify/subjects/bindings.h"
#include "verify/subjects/exec_subject.h"
#include "verify/subjects/file_subject.h"
#include "verify/subjects/library/lib_subject.h"
#include "verify/subjects/reference_subject.h"

namespace assay::cli {
namespace {

using golden::Precision;
using SubjectPointer = std::unique_ptr<verify::Subject>;

using MakeBackend = std::unique_ptr<cuda::Model> (*)(const golden::ModelConfig&, Precision,
                                                     const golden::WeightSource&,
                                                     const cuda::ModelOptions&);

SubjectPointer make_engine(const char* backend, MakeBackend make_backend,
                           const SubjectRequest& request) {
  const cuda::ModelOptions given = cuda::parse_backend_name(request.name).options;
  const EngineSubject::MakeModel make = [=, &config = request.config, &weights = request.weights,
                                         precision =
                                             request.precision](const cuda::ModelOptions& options) {
    return make_backend(config, precision, weights, options);
  };
  return std::make_unique<EngineSubject>(backend, make(given), given, make);
}

SubjectPointer make_simt(const SubjectRequest& request) {
  return make_engine("simt", cuda::make_host_model, request);
}

SubjectPointer make_cuda(const SubjectRequest& request) {
  cuda::parse_backend_name(request.name);  // a bad name is said with and without a device
  const std::string reason = cuda::device_unavailable();
  if (!reason.empty()) throw NoDevice("--subject cuda: skipped: " + reason);
  return make_engine("cuda", cuda::make_device_model, request);
}

SubjectPointer make_auto(const SubjectRequest& request) {
  return cuda::device_unavailable().empty() ? make_cuda(request) : make_simt(request);
}

SubjectPointer make_reference(const SubjectRequest& request) {
  const golden::PrecisionSchedule schedule = golden::usual_schedule(request.precision);
  return std::make_unique<verify::ReferenceSubject>(
      request.config,
      std::make_shared<verify::HeldWeights>(request.weights, request.config.method,
                                            schedule.storage),
      schedule);
}

// What was computed from other tokens is no candidate, whoever is right.
void require_same_tokens(const std::string& dump, const verify::Batch& batch) {
  const std::vector<double> own = golden::dump_tokens(dump).values;
  if (own.size() != batch.tokens.size()) return;  // no tokens, or those of a part
  const auto [expected, got] = std::mismatch(batch.tokens.begin(), batch.tokens.end(), own.begin());
  if (expected == batch.tokens.end()) return;
  const int64_t at = expected - batch.tokens.begin();
  throw InputError(fmt::format(
      "{}: its tokens are not those of the golden file: at ({},{}) expected {}, got {}; "
      "'assay generate --tokens {}' makes a golden file of them",
      dump, at / batch.positions, at % batch.positions, *expected, *got, dump));
}

SubjectPointer make_file(const SubjectRequest& request) {
  auto subject = std::make_unique<verify::FileSubject>(request.argument, request.precision,
                                                       request.schedule, request.angles);
  if (!request.map.empty()) {
    subject->read_through(golden::NameMap::load(request.map), request.config, request.batch,
                          request.positions);
  }
  require_same_tokens(request.argument, request.first_batch);
  return subject;
}

SubjectPointer make_program(const SubjectRequest& request, verify::Program::Mode mode) {
  return std::make_unique<verify::ExecSubject>(exec_options(request, mode), request.config,
                                               request.weights);
}

SubjectPointer make_lib(const SubjectRequest& request) {
  return std::make_unique<verify::LibSubject>(
      verify::LibOptions{request.argument, request.precision, request.schedule, request.angles},
      request.config, request.weights);
}

SubjectPointer make_exec(const SubjectRequest& request) {
  return make_program(request, verify::Program::Mode::lines);
}

SubjectPointer make_exec_once(const SubjectRequest& request) {
  return make_program(request, verify::Program::Mode::once);
}

constexpr const char* kEngineSuffixes =
    ":stacked (earlier layers run again all at once), :stack=BYTES (in groups that fit), "
    ":stored=BYTES (they read stored probabilities where these fit), :head=BYTES (logits in tiles "
    "that fit, where only the loss is asked for), :span=KEYS (a step of decoding reads its keys in "
    "parts of so many, side by side), :block=POSITIONS and :blocks=COUNT (its cache is in blocks "
    "that sequences share, and there are so many), :keep=all|shared|inputs (of a forward pass for "
    "the backward one), :fast-atomics";

constexpr verify::Capabilities kAll{
    .can_run = true, .can_force = true, .can_grad = true, .can_decode = true};
constexpr verify::Capabilities kEngine{.can_run = true,
                                       .can_force = true,
                                       .can_grad = true,
                                       .can_run_untapped = true,
                                       .can_decode = true};

constexpr SubjectRow kSubjects[] = {
    {"simt", "our kernels on the host executor", kEngineSuffixes, kEngine, make_simt},
    {"cuda", "our kernels on the GPU", kEngineSuffixes, kEngine, make_cuda},
    {"reference", "the reference itself, which must pass", "", kAll, make_reference},
    {"file:PATH", "a dump made elsewhere: HDF5, .npz or .safetensors", "", {}, make_file},
    {"exec:COMMAND",
     "any program, by the protocol of docs/programs.md",
     "",
     {.can_run = true},
     make_exec},
    {"exec-once:COMMAND",
     "the same, started anew for each answer",
     "",
     {.can_run = true},
     make_exec_once},
    {"lib:PATH",
     "a shared library with the functions of assay_subject.h",
     "",
     {.can_run = true, .can_force = true},
     make_lib},
    {"auto", "cuda where there is a GPU, else simt", kEngineSuffixes, kEngine, make_auto},
};

// "cannot run on other tokens, cannot be forced"; "" if it can do everything.
std::string limits(const verify::Capabilities& can) {
  std::vector<std::string> list;
  if (!can.can_run) list.push_back("cannot run on other tokens");
  if (!can.can_force) list.push_back("cannot be forced");
  return fmt::format("{}", fmt::join(list, ", "));
}

// The suffixes, each list of them once behind the subjects that take it.
std::string suffix_text() {
  std::string text;
  std::vector<std::string> told;
  for (const SubjectRow& row : kSubjects) {
    const std::string suffixes = row.suffixes;
    if (suffixes.empty() || std::find(told.begin(), told.end(), suffixes) != told.end()) continue;
    told.push_back(suffixes);
    std::vector<std::string> takers;
    for (const SubjectRow& taker : kSubjects) {
      if (taker.suffixes == suffixes) takers.push_back(taker.spelling);
    }
    text +=
        fmt::format("{}behind {}: {}", text.empty() ? "" : "\n", fmt::join(takers, ", "), suffixes);
  }
  return text;
}

void show_subjects() {
  constexpr const char* kRow = "{:<17} {:<52} {:<13} {}\n";
  const auto yes = [](bool can) { return can ? "yes" : "no"; };
  fmt::print(kRow, "subject", "what it is", "other tokens", "forced inputs");
  for (const SubjectRow& row : kSubjects) {
    fmt::print(kRow, row.spelling, row.what, yes(row.can.can_run), yes(row.can.can_force));
  }
  fmt::print("\n{}\n", suffix_text());
}

const SubjectRow& row_of(const std::string& name) {
  const std::size_t colon = name.find(':');
  for (const SubjectRow& row : kSubjects) {
    const std::string spelling = row.spelling;
    const std::size_t end = spelling.find(':');
    if (name.substr(0, colon) != spelling.substr(0, end)) continue;
    const bool wants_argument = end != std::string::npos;
    const bool takes_suffix = *row.suffixes != '\0';
    if (wants_argument ? argument_of(name).empty() : colon != std::string::npos && !takes_suffix) {
      break;
    }
    return row;
  }
  throw InputError(fmt::format("--subject {}: expected {}", name, subject_spellings()));
}

void require_options(const SubjectRow& row, const std::string& name,
                     const SubjectOptions& options) {
  if (name.starts_with("lib:") && !options.map.empty()) {
    throw InputError(
        fmt::format("--map: expected with a dump or a program, got {}: a library hands its tensors "
                    "over by our names",
                    name));
  }
  const bool elsewhere = std::string(row.spelling).find(':') != std::string::npos;
  if (elsewhere || (options.schedule + options.angles + options.map).empty()) return;
  throw InputError(
      fmt::format("--{}: expected with a dump or a program only, got {}; it knows its own",
                  !options.schedule.empty() ? "schedule"
                  : !options.angles.empty() ? "angles"
                                            : "map",
                  name));
}

}  // namespace

std::string argument_of(const std::string& name) {
  const std::size_t colon = name.find(':');
  return colon == std::string::npos ? "" : name.substr(colon + 1);
}

verify::ExecOptions exec_options(const SubjectRequest& request, verify::Program::Mode mode) {
  verify::ExecOptions options;
  options.command = request.argument;
  options.mode = mode;
  options.first = request.first_batch;
  options.storage = request.precision;
  options.schedule = request.schedule;
  options.angles = request.angles;
  options.limits = request.limits;
  if (!request.map.empty()) {
    options.map = std::make_shared<golden::NameMap>(golden::NameMap::load(request.map));
  }
  return options;
}

std::span<const SubjectRow> subjects() { return kSubjects; }

std::string subject_spellings() {
  std::string text;
  for (const SubjectRow& row : kSubjects) {
    const bool last = &row == std::end(kSubjects) - 1;
    text += fmt::format("{}{}", text.empty() ? "" : last ? " or " : ", ", row.spelling);
  }
  return text;
}

bool is_spelled_as_subject(const std::string& text) {
  const std::string word = text.substr(0, text.find(':'));
  return std::any_of(std::begin(kSubjects), std::end(kSubjects), [&](const SubjectRow& row) {
    const std::string spelling = row.spelling;
    const std::size_t end = spelling.find(':');
    return word == spelling.substr(0, end) && (end == std::string::npos || word != text);
  });
}

bool is_made_elsewhere(const std::string& subject) {
  return std::string(row_of(subject).spelling).find(':') != std::string::npos;
}

std::string file_behind(const std::string& subject) {
  const bool is_file = subject.starts_with("file:") || subject.starts_with("lib:");
  return is_file ? argument_of(subject) : "";
}

void require_subject(const std::string& name, const SubjectOptions& options) {
  const SubjectRow& row = row_of(name);
  if (*row.suffixes != '\0') cuda::parse_backend_name(name);
  require_options(row, name, options);
}

SubjectPointer make_subject(const std::string& name, Precision precision,
                            const golden::ModelConfig& config, const golden::WeightSource& weights,
                            const SubjectOptions& options) {
  const SubjectRow& row = row_of(name);
  require_options(row, name, options);
  return row.make({{options}, name, argument_of(name), precision, config, weights});
}

void add_subject_option(CLI::App& command, std::string& subject) {
  std::string text;
  for (const SubjectRow& row : kSubjects) {
    const std::string limit = limits(row.can);
    text += fmt::format("{} ({}{})\n", row.spelling, row.what, limit.empty() ? "" : "; " + limit);
  }
  command.add_option("--subject", subject, text + suffix_text())->capture_default_str();
}

void add_precision_option(CLI::App& command, std::string& precision) {
  command
      .add_option("--precision", precision,
                  "storage type judged for: fp32, bf16, fp16, fp64, or tf32: fp32 whose products "
                  "read their factors as tf32")
      ->capture_default_str();
}

void add_elsewhere_options(CLI::App& command, SubjectOptions& options) {
  command
      .add_option_function<double>(
          "--timeout",
          [&options](double seconds) {
            options.limits.timeout =
                std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds));
          },
          "seconds that a program may take for an answer; default 60")
      ->check(CLI::Range(0.001, 1e6));
  command
      .add_option("--max-response", options.limits.folder_bytes,
                  "bytes that the files of a program may have, K, M and G for powers of 1024; "
                  "default 16G, at most half of what is free there")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  command
      .add_option("--memory", options.limits.memory_bytes,
                  "bytes of memory that all processes of a program may have in use, K, M and G for "
                  "powers of 1024; default: no limit")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  command.add_option(
      "--schedule", options.schedule,
      "what a program, or a dump's, rounds to its storage type: eager (every "
      "operation) or fused (what it hands over); default: as it declares, else eager");
  command.add_option("--map", options.map,
                     "where our tensors are in a dump or a program's answer (docs/maps.md): a "
                     "file, or a name of 'assay map list'");
  command.add_option("--angles", options.angles,
                     "what it forms rotation angles in: double, float32 or storage; default: as it "
                     "declares, else float32");
}

void add_subjects(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand("subjects", "list what can be judged");
  command->callback(show_subjects);
}

}  // namespace assay::cli
