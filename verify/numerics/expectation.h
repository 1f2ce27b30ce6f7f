// What a candidate has to be, within which bounds, as arrays: for a judge that runs elsewhere and
// has no reference. The rules are those of views.h, where the two views are explained.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "verify/numerics/case.h"
#include "verify/numerics/golden_values.h"
#include "verify/numerics/views.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {

struct Expectation {
  std::string name;
  golden::Shape shape;
  std::vector<double> expected, bound;  // every bound is finite
};

using ReceiveExpectation = std::function<void(Expectation)>;

// Of every checkpoint that is asked for, in execution order. Throws InputError, naming the
// checkpoint, where the judge would not trust the golden value or has no finite bound.
void free_expectations(const Case& file, const golden::PrecisionSchedule& schedule,
                       const Tolerance& tolerance, GoldenValues& golden,
                       const ReceiveExpectation& receive);

// The same for the local view of a candidate that starts from forced_inputs(file, schedule,
// golden).
void local_expectations(const Case& file, const golden::PrecisionSchedule& schedule,
                        const GoldenValues& golden, const ReceiveExpectation& receive);

}  // namespace assay::verify
