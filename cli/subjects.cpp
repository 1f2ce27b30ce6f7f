#include "cli/subjects.h"

#include "cli/engine_subject.h"
#include "cuda_impl/engine/interface/backend_name.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "reference/methods/registry.h"
#include "verify/subjects/file_subject.h"
#include "verify/subjects/graph_subject.h"

namespace assay::cli {
namespace {

using golden::Precision;

// What an implementation elsewhere is taken to do: kernels compute in fp32 at least, and a dump
// holds scores and probabilities as it stores them.
golden::PrecisionSchedule schedule_of(Precision storage, bool wide_attention) {
  golden::PrecisionSchedule schedule = golden::usual_schedule(storage);
  schedule.wide_attention = wide_attention;
  return schedule;
}

}  // namespace

std::unique_ptr<verify::Subject> make_subject(const std::string& name, Precision precision,
                                              const golden::ModelConfig& config,
                                              const golden::WeightSource& weights) {
  if (name == "reference") {
    return std::make_unique<verify::GraphSubject>("reference", reference::build_model, config,
                                                  weights, schedule_of(precision, true));
  }
  if (name.starts_with("file:")) {
    return std::make_unique<verify::FileSubject>(name.substr(5), schedule_of(precision, false));
  }
  const auto [engine, options] = cuda::parse_backend_name(name);
  if (engine == "simt" || (engine == "auto" && !cuda::device_unavailable().empty())) {
    return std::make_unique<EngineSubject>(
        "simt", cuda::make_host_model(config, precision, weights, options), options);
  }
  if (engine == "cuda" || engine == "auto") {
    const std::string reason = cuda::device_unavailable();
    if (!reason.empty()) throw NoDevice("--subject cuda: skipped: " + reason);
    return std::make_unique<EngineSubject>(
        "cuda", cuda::make_device_model(config, precision, weights, options), options);
  }
  throw InputError("--subject " + name + ": expected simt, cuda, reference, file:PATH or auto");
}

}  // namespace assay::cli
