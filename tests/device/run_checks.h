// All checks of a pack, and what is told of them.
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
std::vector<Check> run_case(const PackedCase& packed, golden::Precision precision,
                            const MakeModel& make);

// Of the checks that a case in one precision has to give: free-running, repeat, prefix, labels;
// batch with two rows or more, decode but of pt that is not causal, local where the pack has it, gradients in fp32
// where it has them; of methods that run layers again stacked, stacked-decode, stacked-gradients too.
std::vector<std::string> checks_due(const PackedCase& packed, golden::Precision precision);

struct Report {
  std::string backend, pack;
  std::vector<Check> checks = {};
  std::vector<std::string> absent = {};  // methods that no case of the pack is for
  double seconds = 0;

  int count(Status status) const;
};

// 0 all passed; 1 a failure, or nothing checked; 3 something refused, or a method absent that is
// not in `without`.
int exit_code(const Report& report, const std::vector<std::string>& without);
std::string check_text(const Check& check, bool every_tensor);
std::string json_text(const Report& report, int code);

}  // namespace assay::device_check
