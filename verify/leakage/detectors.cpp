#include "verify/leakage/detectors.h"

#include <chrono>

#include "golden/contract/error.h"

namespace assay::verify {

// Each is defined in the file of its name.
Check detect_repeat(Experiment& experiment);
Check detect_state(Experiment& experiment);
Check detect_influence(Experiment& experiment);
Check detect_prefix(Experiment& experiment);
Check detect_batch(Experiment& experiment);
Check detect_labels(Experiment& experiment);

namespace {

// influence stands before prefix, which reports its first pair.
constexpr Detector kDetectors[] = {
    {"repeat", detect_repeat, true},        {"state", detect_state, false},
    {"influence", detect_influence, false}, {"prefix", detect_prefix, false},
    {"batch", detect_batch, false},         {"labels", detect_labels, false},
};

Check without_result(const char* name, Status status, const std::string& reason) {
  return {.name = name, .status = status, .summary = reason, .details = {}, .seconds = 0};
}

Check run_detector(const Detector& detector, Experiment& experiment) {
  if (detector.detect == detect_batch && experiment.subject().capabilities().fixed_batch == 1) {
    return without_result("batch", Status::skipped, "it takes one row at a time");
  }
  const auto start = std::chrono::steady_clock::now();
  Check check = detector.detect(experiment);
  check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ASSAY_CHECK(check.name == detector.name, check.name + ", " + detector.name);
  return check;
}

}  // namespace

std::span<const Detector> detectors() { return kDetectors; }

LeakResult detect_leaks(Subject& subject, const golden::ModelConfig& config, const Batch& batch,
                        const LeakOptions& options) {
  LeakResult result;
  if (!subject.capabilities().can_run) {
    result.checks = {without_result("leak detectors", Status::skipped,
                                    subject.describe() + " cannot run on other tokens")};
    return result;
  }
  if (config.vocab_size < 2) {
    throw InputError("leak detectors: vocab_size 1: expected at least 2 tokens to choose from");
  }
  Experiment experiment(subject, model_ground(config, batch), batch, options);
  if (experiment.base().elements() == 0) {
    result.checks = {
        without_result("prefix", Status::inconclusive, "no tensor with positions was handed over")};
  } else {
    for (const Detector& detector : detectors()) {
      if (options.begins) options.begins(detector.name);
      result.checks.push_back(run_detector(detector, experiment));
      if (detector.gates && result.checks.back().status == Status::inconclusive) break;
    }
  }
  if (const auto& leak = experiment.first_leak()) {
    result.leaks = true;
    result.tensor = leak->tensor;
    result.t = leak->t;
    result.s = leak->s;
  }
  result.influence = experiment.influence();
  result.runs = experiment.runs();
  return result;
}

}  // namespace assay::verify
