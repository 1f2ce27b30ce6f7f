// What a golden file says about errors: how far the reference itself is from exact arithmetic, and
// how far an implementation in a narrow type strays by rounding alone.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "golden/contract/precision.h"
#include "golden/file/golden_file.h"
#include "reference/graph/graph.h"
#include "reference/interpreters/value.h"

namespace assay::golden {

// The reference's own error of every named tensor: max over its elements of |double -
// double-double|. Memory: every tensor once.
std::map<std::string, double> own_errors(const reference::Graph& graph,
                                         const reference::Bindings& bindings);

// The noise of every named tensor under a schedule: per element, the root mean square over `runs`
// stochastic roundings of the whole model of the deviation from the double value; 0 where the value
// is not finite. Memory: every tensor twice.
std::map<std::string, Tensor> sample_noise(const reference::Graph& graph,
                                           const reference::Bindings& bindings,
                                           const PrecisionSchedule& schedule, int runs,
                                           uint64_t seed);

struct CalibrationRequest {
  bool bounds = false;            // /bound/<name>
  std::vector<Precision> sigmas;  // /sigma/<schedule>/<name>
  int sigma_runs = 8;
  uint64_t seed = 1;
};

// Writes what is asked for. Throws InputError for fewer than 8 runs, and for a golden that its own
// error makes unfit as a standard: one whose error exceeds 1e-3 of the noise it is to judge.
void calibrate(const CalibrationRequest& request, const reference::Graph& graph,
               const reference::Bindings& bindings, GoldenWriter& writer);

}  // namespace assay::golden
