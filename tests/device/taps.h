// Keeps what an engine hands over, each tensor once.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bundled_case.h"
#include "golden/contract/names.h"

namespace assay::device_check {

class Taps final : public cuda::Probe {
 public:
  using Force = std::function<bool(const std::string& name, std::span<double> values)>;

  // declared: names and shapes that are due.
  explicit Taps(std::vector<golden::TensorInfo> declared) : declared_(std::move(declared)) {}

  void force_with(Force force) { force_ = std::move(force); }

  bool wants(const std::string&) override { return true; }
  void tap(const std::string& name, golden::TensorView value) override { take(name, value); }
  bool force(const std::string& name, std::span<double> values) override {
    return force_ && force_(name, values);
  }

  void take(const std::string& name, const golden::TensorView& value) {
    const auto info = std::find_if(declared_.begin(), declared_.end(),
                                   [&](const auto& declared) { return declared.name == name; });
    if (info == declared_.end()) {
      faults_.push_back(fmt::format("{}: handed over, but not a tensor of the model", name));
    } else if (info->shape != value.shape) {
      faults_.push_back(fmt::format("{}: expected {}, got {}", name,
                                    golden::shape_text(info->shape),
                                    golden::shape_text(value.shape)));
    } else if (!kept_.try_emplace(name).second) {
      faults_.push_back(fmt::format("{}: handed over twice", name));
    } else {
      kept_[name] = {value.shape, {value.values.begin(), value.values.end()}};
    }
  }

  const golden::Tensor* find(const std::string& name) const {
    const auto found = kept_.find(name);
    return found == kept_.end() ? nullptr : &found->second;
  }
  const std::vector<golden::TensorInfo>& declared() const { return declared_; }
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  std::vector<golden::TensorInfo> declared_;
  Force force_;
  std::map<std::string, golden::Tensor> kept_;
  std::vector<std::string> faults_;
};

inline std::vector<golden::TensorInfo> tensors_of(const BundledCase& bundled,
                                                  bool stacked = false) {
  auto list = golden::tensor_list(bundled.config, bundled.inputs.batch, bundled.inputs.positions);
  if (stacked) {
    std::erase_if(list, [](const auto& tensor) { return golden::is_recomputed(tensor.name); });
  }
  return list;
}

}  // namespace assay::device_check
