// All checks of a test bundle, and what is reported of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/gpu_check/checks.h"

namespace assay::gpu_check {

// Throws Unsupported for a model that it has nothing for.
using MakeModel = std::function<std::unique_ptr<cuda::Model>(
    const golden::ModelConfig&, golden::Precision, const golden::WeightSource&,
    const cuda::ModelOptions&)>;

// Every check of one case in one precision: free-running; every leak detector of the judge; local
// where the bundle has it; decode except for pt that is not causal; gradients in fp32 where it has
// them. Methods that recompute layers also give stacked, stacked-decode and stacked-gradients.
// An engine that throws has failed; one that throws Unsupported is refused, which is inconclusive.
std::vector<CaseCheck> run_case(const BundledCase& bundled, golden::Precision precision,
                                const MakeModel& make);

// The judge's detectors on the bundle's batch. The engine adds up in a fixed order, so one whose
// bits differ from run to run has failed, where the judge would say inconclusive.
std::vector<CaseCheck> check_leaks(const BundledCase& bundled, verify::Subject& subject,
                                   golden::Precision precision);

struct Report {
  std::string backend, bundle;
  std::vector<CaseCheck> checks = {};
  std::vector<std::string> absent = {};  // methods that no case of the bundle is for
  double seconds = 0;

  int count(verify::Status status) const;
};

// The judge's (verify/verdict.h); a method that is absent and not in `without` is inconclusive.
int exit_code(const Report& report, const std::vector<std::string>& without);
std::string check_text(const CaseCheck& check, bool every_tensor);
std::string json_text(const Report& report, int code);

}  // namespace assay::gpu_check
