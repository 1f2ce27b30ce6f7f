#include "cli/verify/training_subjects.h"

#include <fmt/format.h>

#include "cli/engine/engine_subject.h"
#include "cli/engine/engine_trainer.h"
#include "cuda_impl/engine/interface/backend_name.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "verify/lockstep/reference_trainer.h"
#include "verify/subjects/training/exec_trainer.h"

namespace assay::cli {
namespace {

using Pointer = std::unique_ptr<verify::TrainingSubject>;
using MakeEngineTrainer = std::unique_ptr<cuda::Trainer> (*)(const golden::ModelConfig&,
                                                             golden::Precision,
                                                             const golden::WeightSource&,
                                                             const cuda::TrainingOptions&);

// The subject that is judged elsewhere describes itself, and says what it computes in.
Pointer engine_trainer(const SubjectRequest& request, const reference::AdamwRule& rule,
                       const reference::Dropout& dropout, MakeEngineTrainer make_trainer) {
  const cuda::ModelOptions options = cuda::parse_backend_name(request.name).options;
  const auto subject =
      make_subject(request.name, request.precision, request.config, request.weights, request);
  return std::make_unique<EngineTrainer>(
      subject->describe() + ", trainer", subject->precision(),
      [make_trainer, &config = request.config, precision = request.precision,
       options = engine_rule(rule, dropout, options)](const golden::WeightSource& weights) {
        return make_trainer(config, precision, weights, options);
      });
}

}  // namespace

Pointer make_training_subject(const std::string& name, golden::Precision precision,
                              const golden::ModelConfig& config,
                              const golden::WeightSource& weights, const reference::AdamwRule& rule,
                              const reference::Dropout& dropout, const SubjectOptions& options) {
  require_subject(name, options);
  const std::string kind = name.substr(0, name.find(':'));
  const SubjectRequest request{{options}, name, argument_of(name), precision, config, weights};
  const bool device = cuda::device_unavailable().empty();
  if (kind == "simt" || (kind == "auto" && !device)) {
    SubjectRequest host = request;
    host.name = "simt" + name.substr(kind.size());
    return engine_trainer(host, rule, dropout, cuda::make_host_trainer);
  }
  if (kind == "cuda" || kind == "auto") {
    SubjectRequest on_device = request;
    on_device.name = "cuda" + name.substr(kind.size());
    return engine_trainer(on_device, rule, dropout, cuda::make_device_trainer);
  }
  if (kind == "reference") {
    return std::make_unique<verify::ReferenceTrainer>(config, weights, rule, dropout);
  }
  if (kind == "exec" && dropout.rate > 0) {
    throw InputError(fmt::format(
        "--dropout {:g}: --subject {}: a program is told of no masks: expected simt, cuda or "
        "reference with dropout; leave it out, or switch it off in the program",
        dropout.rate, name));
  }
  if (kind == "exec") {
    return std::make_unique<verify::ExecTrainer>(exec_options(request), config, weights, rule);
  }
  const char* why = kind == "file" ? "a dump cannot train, it has said all that it has to say"
                    : kind == "exec-once"
                        ? "a program that is started for each answer keeps no state between steps"
                        : "a library has no function that trains";
  throw InputError(fmt::format(
      "--train: --subject {}: {}: expected simt, cuda, reference or exec:COMMAND", name, why));
}

}  // namespace assay::cli
