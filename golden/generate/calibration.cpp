#include "golden/generate/calibration.h"

#include <fmt/format.h>

#include <cmath>

#include "golden/contract/error.h"
#include "reference/interpreters/extended.h"
#include "reference/interpreters/rounding.h"

namespace assay::golden {
namespace {

using reference::Array;
using reference::NodeData;

constexpr int kFewestRuns = 8;
constexpr double kMostOfSigma = 1e-3;  // of the noise that a golden's own error may reach

class Values : public reference::Observer {
 public:
  Array observe(const NodeData& node, Array value) override {
    tensors[node.name] = value;
    return value;
  }

  std::map<std::string, Array> tensors;
};

std::map<std::string, Array> values_of(const reference::Graph& graph,
                                       const reference::Bindings& bindings) {
  Values values;
  reference::evaluate(graph, bindings, values);
  return std::move(values.tensors);
}

class OwnErrors : public reference::ExtendedObserver {
 public:
  explicit OwnErrors(const std::map<std::string, Array>& values) : values_(values) {}

  void observe(const NodeData& node, const Array& high, const Array& low) override {
    const Array& value = values_.at(node.name);
    double largest = 0;
    for (int64_t i = 0; i < value.size(); ++i) {
      const double x = value.data()[i];
      if (x == high.data()[i] && low.data()[i] == 0) continue;
      const double error = std::fabs((high.data()[i] - x) + low.data()[i]);
      if (!(error <= largest)) largest = error;  // a NaN stays
    }
    errors[node.name] = largest;
  }

  std::map<std::string, double> errors;

 private:
  const std::map<std::string, Array>& values_;
};

// Adds up squared deviations over runs.
class Scatter : public reference::Observer {
 public:
  explicit Scatter(const std::map<std::string, Array>& values) : values_(values) {}

  Array observe(const NodeData& node, Array sample) override {
    const Array& value = values_.at(node.name);
    Tensor& sum = squares[node.name];
    if (sum.values.empty()) sum = {value.shape(), std::vector<double>(value.values().size())};
    for (std::size_t i = 0; i < sum.values.size(); ++i) {
      const double x = value.values()[i], y = sample.values()[i];
      if (std::isfinite(x)) sum.values[i] += (y - x) * (y - x);
    }
    return sample;
  }

  std::map<std::string, Tensor> squares;

 private:
  const std::map<std::string, Array>& values_;
};

double rms(const std::vector<double>& values) {
  double squares = 0;
  for (const double x : values) squares += x * x / static_cast<double>(values.size());
  return std::sqrt(squares);
}

void check_fit(const std::string& schedule, const std::map<std::string, double>& errors,
               const std::map<std::string, Tensor>& noise) {
  for (const auto& [name, error] : errors) {
    const double sigma = rms(noise.at(name).values);
    if (error <= kMostOfSigma * sigma || sigma == 0) continue;
    throw InputError(fmt::format(
        "{}: the reference's own error is {:.2g}: expected at most {} of the {} noise {:.2g}; this "
        "golden cannot judge {}",
        name, error, kMostOfSigma, schedule, sigma, schedule));
  }
}

}  // namespace

std::map<std::string, double> own_errors(const reference::Graph& graph,
                                         const reference::Bindings& bindings) {
  const std::map<std::string, Array> values = values_of(graph, bindings);
  OwnErrors observer(values);
  reference::evaluate_extended(graph, bindings, observer);
  return std::move(observer.errors);
}

std::map<std::string, Tensor> sample_noise(const reference::Graph& graph,
                                           const reference::Bindings& bindings,
                                           const PrecisionSchedule& schedule, int runs,
                                           uint64_t seed) {
  const std::map<std::string, Array> values = values_of(graph, bindings);
  Scatter scatter(values);
  for (int run = 0; run < runs; ++run) {
    reference::evaluate_rounded(graph, bindings, schedule, reference::RoundingMode::stochastic,
                                seed + static_cast<uint64_t>(run), scatter);
  }
  for (auto& [name, tensor] : scatter.squares) {
    for (double& x : tensor.values) x = std::sqrt(x / runs);
  }
  return std::move(scatter.squares);
}

void calibrate(const CalibrationRequest& request, const reference::Graph& graph,
               const reference::Bindings& bindings, GoldenWriter& writer) {
  if (!request.sigmas.empty() && request.sigma_runs < kFewestRuns) {
    throw InputError(
        fmt::format("--sigma-runs {}: expected at least {}", request.sigma_runs, kFewestRuns));
  }
  if (!request.bounds && request.sigmas.empty()) return;
  const std::map<std::string, double> errors = own_errors(graph, bindings);
  for (const Precision precision : request.sigmas) {
    const std::string schedule = precision_name(precision);
    const std::map<std::string, Tensor> noise =
        sample_noise(graph, bindings, usual_schedule(precision), request.sigma_runs, request.seed);
    check_fit(schedule, errors, noise);
    writer.write_sigma_setup(schedule, request.sigma_runs, request.seed);
    for (const auto& [name, sigma] : noise) writer.write_sigma(schedule, name, sigma.view());
  }
  if (!request.bounds) return;
  for (const auto& [name, error] : errors) writer.write_bound(name, error);
}

}  // namespace assay::golden
