// All checks of a bundle, and what is told of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "check.h"

namespace assay::device_check {

// Throws Unsupported for a model that it has nothing for.
using MakeModel = std::function<std::unique_ptr<cuda::Model>(
    const golden::ModelConfig&, golden::Precision, const golden::WeightSource&,
    const cuda::ModelOptions&)>;

// Every check of one case in one precision. An engine that throws has failed; one that throws
// Unsupported is refused.
std::vector<Check> run_case(const BundledCase& bundled, golden::Precision precision,
                            const MakeModel& make);

// The checks that a case in one precision has to give: free-running, repeat, prefix, labels;
// batch with two rows or more; decode except for pt that is not causal; local where the bundle has
// it; gradients in fp32 where it has them. Methods that recompute layers also give stacked,
// stacked-decode and stacked-gradients.
std::vector<std::string> checks_due(const BundledCase& bundled, golden::Precision precision);

struct Report {
  std::string backend, bundle;
  std::vector<Check> checks = {};
  std::vector<std::string> absent = {};  // methods that no case of the bundle is for
  double seconds = 0;

  int count(Status status) const;
};

// 0 all passed; 1 a failure, or nothing checked; 3 something refused, or a method absent that is
// not in `without`.
int exit_code(const Report& report, const std::vector<std::string>& without);
std::string check_text(const Check& check, bool every_tensor);
std::string json_text(const Report& report, int code);

}  // namespace assay::device_check
