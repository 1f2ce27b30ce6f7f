#include "verify/subjects/training/exec_trainer.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/exchange/safetensors.h"
#include "verify/subjects/exec_request.h"

namespace assay::verify {
namespace {

using golden::Tensor;
using nlohmann::json;

// weight/<name>, first/<name>, second/<name>, float64.
void write_state(const std::string& path, const TrainingState& state) {
  std::map<std::string, const Tensor*> tensors;
  for (const auto& [kind, held] :
       {std::pair("weight/", &state.weights), std::pair("first/", &state.first),
        std::pair("second/", &state.second)}) {
    for (const auto& [name, tensor] : *held) tensors[kind + name] = &tensor;
  }
  std::vector<golden::ExchangeTensor> list;
  for (const auto& [name, tensor] : tensors) {
    list.push_back({name, golden::Element::f64, tensor->shape});
  }
  golden::write_safetensors(
      path, list, {}, [&](const std::string& name) { return tensors.at(name)->values; },
      golden::Rounding::refuse, true);
}

// Throws InputError for a tensor that cannot be read.
TrainedStep read_step(const golden::MappedDump& answer) {
  TrainedStep step;
  step.unknown = answer.left_out();  // "weights/.." for "weight/.."
  const auto number = [&](const std::string& name) {
    const Tensor tensor = answer.read(name);
    if (tensor.values.size() == 1) return tensor.values.front();
    throw InputError(
        fmt::format("{}: expected a number, got {}", name, golden::shape_text(tensor.shape)));
  };
  for (const golden::DumpEntry& entry : answer.entries()) {
    const std::size_t slash = entry.name.find('/');
    const std::string kind = entry.name.substr(0, slash);
    if (slash == std::string::npos) {
      if (kind == "loss") {
        step.loss = number(entry.name);
      } else if (kind == "grad_norm") {
        step.gradient_norm = number(entry.name);
      } else {
        step.unknown.push_back(entry.name);
      }
      continue;
    }
    const std::map<std::string, Tensors*> kinds{{"grad", &step.gradients},
                                                {"weight", &step.weights},
                                                {"first", &step.first},
                                                {"second", &step.second}};
    const auto found = kinds.find(kind);
    if (found == kinds.end()) {
      step.unknown.push_back(entry.name);
    } else {
      (*found->second)[entry.name.substr(slash + 1)] = answer.read(entry.name);
    }
  }
  return step;
}

bool is_skipped(const json& said) {
  const auto skipped = said.find("skipped");
  if (skipped == said.end()) return false;
  if (skipped->is_boolean()) return skipped->get<bool>();
  throw InputError("'skipped': expected true or false, got " + golden::printable(skipped->dump()));
}

json rule_json(const reference::AdamwRule& rule) {
  return {{"beta1", rule.beta1},
          {"beta2", rule.beta2},
          {"eps", rule.eps},
          {"weight_decay", rule.weight_decay},
          {"max_norm", rule.max_norm}};
}

}  // namespace

ExecTrainer::ExecTrainer(const ExecOptions& options, const golden::ModelConfig& config,
                         const golden::WeightSource& weights, const reference::AdamwRule& rule)
    : program_(options, config, weights), rule_(rule) {
  if (!program_.description().can_do("train")) {
    throw InputError(fmt::format(
        "--train: {}: expected a program that says \"can\": [\"train\"] (docs/programs.md), got "
        "one that does not",
        program_.describe()));
  }
  if (program_.map() != nullptr) {
    throw InputError(fmt::format(
        "--train: {}: expected no 'map': tensors of a step go by Assay's names (docs/programs.md), "
        "got one",
        program_.describe()));
  }
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    if (info.shape.size() >= 2) decaying_.push_back(info.name);
  }
}

std::string ExecTrainer::describe() const { return program_.describe(); }

TrainingArithmetic ExecTrainer::arithmetic() const {
  const ProgramDescription& said = program_.description();
  TrainingArithmetic made;
  made.schedule = program_.precision();
  made.master =
      said.master.empty() ? made.schedule.accumulate : golden::parse_precision(said.master);
  made.double_scalars = said.scalars == "double";
  made.clip_epsilon = said.clip_epsilon;
  return made;
}

json ExecTrainer::write(const std::vector<Batch>& micro_batches, double rate,
                        const std::string& folder, int64_t id) const {
  json message{{"type", "step"}, {"lr", rate}, {"rule", rule_json(rule_)}, {"decay", decaying_}};
  message["inputs"] = json::array();
  for (const Batch& batch : micro_batches) {
    const std::string file = fmt::format("request-{}-{}.npz", id, message["inputs"].size());
    write_inputs(fmt::format("{}/{}", folder, file), batch);
    message["inputs"].push_back(file);
  }
  if (state_) {
    message["steps"] = state_->steps;
    message["state"] = fmt::format("state-{}.safetensors", id);
    write_state(folder + "/" + message["state"].get<std::string>(), *state_);
  }
  return message;
}

TrainedStep ExecTrainer::step(const std::vector<Batch>& micro_batches, double rate) {
  const auto expect = [&](int64_t taken, int64_t got, const char* what) {
    if (taken == 0 || got == taken) return;
    throw InputError(fmt::format("{}: training: expected a batch of {} {}, which it takes, got {}",
                                 describe(), taken, what, got));
  };
  const Capabilities can = program_.capabilities();
  for (const Batch& batch : micro_batches) {
    expect(can.fixed_batch, batch.batch, "rows");
    expect(can.fixed_length, batch.positions, "positions");
  }
  TrainedStep step;
  program_.converse(
      [&](const std::string& folder, int64_t id) { return write(micro_batches, rate, folder, id); },
      [&](const json& said, const golden::MappedDump* file) {
        const bool skipped = is_skipped(said);
        if (file == nullptr && !skipped) throw InputError("expected a 'file', got none");
        if (file != nullptr) step = read_step(*file);
        step.skipped = skipped;
      });
  state_.reset();
  return step;
}

}  // namespace assay::verify
