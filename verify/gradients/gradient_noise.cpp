#include "verify/gradients/gradient_noise.h"

#include <map>
#include <utility>
#include <vector>

#include "reference/interpreters/gradient.h"
#include "reference/interpreters/gradient_error.h"
#include "verify/subjects/bindings.h"
#include "verify/subjects/subject.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

using Arrays = std::map<std::string, Array>;
using FloatsByName = std::map<std::string, std::vector<float>>;

// The reference's run as it is.
class CleanRun : public reference::Observer, public reference::GradientObserver {
 public:
  Array observe(const NodeData& node, Array value) override { return values[node.name] = value; }
  void observe_gradient(const NodeData& node, const Array& gradient) override {
    gradients[node.name] = gradient;
  }

  Arrays values, gradients;
};

// The deviation of what each tensor and each gradient adds to the errors of what it is made from.
class OwnErrors : public reference::GradientErrorObserver {
 public:
  OwnErrors(const NoisyRun& run, const golden::PrecisionSchedule& schedule, const CleanRun& clean)
      : run_(run), schedule_(schedule), clean_(clean) {}

  bool gives(const NodeData& node) override { return clean_.values.contains(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    return {clean_.values.at(node.name), Array()};
  }
  Array error_of_input(const NodeData& node, const Array& value) override {
    return learned_rounding(run_.method, schedule_.storage, node, value);
  }
  void observe(const NodeData& node, const Array&, const Array& error) override {
    values[node.name] = {error.values().begin(), error.values().end()};
  }
  bool gives_gradient(const NodeData&) override { return true; }
  std::pair<Array, Array> given_gradient(const NodeData& node) override {
    return {clean_.gradients.at(node.name), Array()};
  }
  void observe_gradient(const NodeData& node, const Array&, const Array& deviation) override {
    gradients[node.name] = {deviation.values().begin(), deviation.values().end()};
  }

  FloatsByName values, gradients;

 private:
  const NoisyRun& run_;
  const golden::PrecisionSchedule& schedule_;
  const CleanRun& clean_;
};

Array plus(const Array& a, const Array& b) {
  Array sum = Array::copy_of(a.shape(), a.values());
  for (int64_t i = 0; i < sum.size(); ++i) sum.data()[i] += b.data()[i];
  return sum;
}
Array minus(const Array& a, const Array& b) {
  Array difference = Array::copy_of(a.shape(), a.values());
  for (int64_t i = 0; i < a.size(); ++i) difference.data()[i] -= b.data()[i];
  return difference;
}

// One run with drawn errors.
class DrawnRun : public reference::Observer, public reference::GradientObserver {
 public:
  DrawnRun(const NoisyRun& run, const CleanRun& clean, const OwnErrors& own, uint64_t seed,
           const GivenGradient* given, RowNoise& noise)
      : run_(run), clean_(clean), own_(own), seed_(seed), given_(given), noise_(noise) {}

  Array observe(const NodeData& node, Array value) override {
    if (given_ != nullptr) return value;  // exact
    const Array& clean = clean_.values.at(node.name);
    const auto own = own_.values.find(node.name);
    if (own != own_.values.end()) {
      value = plus(value, errors_alike(clean, own->second, stream_of(node.name, 0)));
    }
    if (node.name == "loss") noise_.add(node.name, minus(value, clean));
    return value;
  }
  void observe_gradient(const NodeData&, const Array&) override {}
  Array pass_on(const NodeData& node, Array gradient) override {
    const Array& clean = clean_.gradients.at(node.name);
    const auto own = own_.gradients.find(node.name);
    if (own != own_.gradients.end()) {
      gradient = plus(gradient, errors_alike(clean, own->second, stream_of(node.name, 1)));
    }
    noise_.add(kGrad + node.name, minus(gradient, clean));
    return given_ != nullptr && (*given_)(node.name) ? clean : gradient;
  }

 private:
  uint64_t stream_of(const std::string& name, uint64_t pass) const {
    return (seed_ << 33) + (static_cast<uint64_t>(run_.graph.find(name)) << 1) + pass;
  }

  const NoisyRun& run_;
  const CleanRun& clean_;
  const OwnErrors& own_;
  uint64_t seed_;
  const GivenGradient* given_;  // nullptr: the whole run errs
  RowNoise& noise_;
};

RowNoise sampled(const NoisyRun& run, const golden::PrecisionSchedule& schedule,
                 const GivenGradient* given) {
  const int loss = run.graph.find("loss");
  CleanRun clean;
  reference::evaluate_with_gradient(run.graph, run.bindings, loss, clean, clean);
  OwnErrors own(run, schedule, clean);
  reference::evaluate_gradient_with_error(run.graph, run.bindings, loss, schedule, own, 1);
  RowNoise noise;
  for (uint64_t seed = 1; seed <= RowNoise::kRuns; ++seed) {
    DrawnRun drawn(run, clean, own, seed, given, noise);
    reference::evaluate_with_gradient(run.graph, run.bindings, loss, drawn, drawn);
  }
  return noise;
}

NoisyRun run_of(const Case& file) {
  return {*file.graph, file.bindings, file.golden.header().config.method};
}

}  // namespace

RowNoise free_gradient_noise(const NoisyRun& run, const golden::PrecisionSchedule& schedule) {
  return sampled(run, schedule, nullptr);
}

RowNoise free_gradient_noise(const Case& file, const golden::PrecisionSchedule& schedule) {
  return sampled(run_of(file), schedule, nullptr);
}

RowNoise local_gradient_noise(const Case& file, const golden::PrecisionSchedule& schedule,
                              const GivenGradient& given) {
  return sampled(run_of(file), schedule, &given);
}

}  // namespace assay::verify
