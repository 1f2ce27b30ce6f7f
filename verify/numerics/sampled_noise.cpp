#include "verify/numerics/sampled_noise.h"

#include <map>
#include <set>
#include <vector>

#include "reference/interpreters/error.h"
#include "reference/interpreters/tangent.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

// By name, the deviation of what each declared checkpoint adds to the errors of its inputs.
using Deviations = std::map<std::string, std::vector<float>>;

class OwnDeviations : public reference::ErrorObserver {
 public:
  OwnDeviations(const Case& file, const golden::PrecisionSchedule& schedule,
                const GoldenValues& golden)
      : file_(file), schedule_(schedule), golden_(golden) {}

  bool wants(const NodeData& node) override { return file_.declares(node.name); }
  bool gives(const NodeData& node) override { return file_.declares(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    return {golden_.read(node.name), Array()};
  }
  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }
  void observe(const NodeData& node, const Array&, const Array& error) override {
    found[node.name] = {error.values().begin(), error.values().end()};
  }

  Deviations found;

 private:
  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const GoldenValues& golden_;
};

// One draw of every checkpoint's own error, and what it grows to along the way, to first order.
class Draw : public reference::TangentObserver {
 public:
  Draw(const Case& file, const GoldenValues& golden, const Deviations& own,
       const std::set<std::string>& asked, uint64_t seed, RowNoise& noise)
      : file_(file), golden_(golden), own_(own), asked_(asked), seed_(seed), noise_(noise) {}

  Array direction(const NodeData& node) override {
    const auto found = own_.find(node.name);
    if (found == own_.end()) return {};
    const uint64_t stream = (seed_ << 32) + static_cast<uint64_t>(file_.graph->find(node.name));
    return errors_alike(golden_.read(node.name), found->second, stream);
  }

  void observe(const NodeData& node, const Array&, const Array& tangent) override {
    if (asked_.contains(node.name)) noise_.add(node.name, tangent);
  }

 private:
  const Case& file_;
  const GoldenValues& golden_;
  const Deviations& own_;
  const std::set<std::string>& asked_;
  uint64_t seed_;
  RowNoise& noise_;
};

}  // namespace

SampledNoise::SampledNoise(const Case& file, const golden::PrecisionSchedule& schedule,
                           const GoldenValues& golden) {
  OwnDeviations own(file, schedule, golden);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule,
                                 reference::ErrorNorm::deviation, own);
  std::set<std::string> asked;
  for (const Checkpoint& checkpoint : file.asked) asked.insert(checkpoint.name);
  for (uint64_t run = 1; run <= RowNoise::kRuns; ++run) {
    Draw draw(file, golden, own.found, asked, run, noise_);
    reference::evaluate_with_tangent(*file.graph, file.bindings, draw);
  }
}

int SampledNoise::runs() const { return RowNoise::kRuns; }

}  // namespace assay::verify
