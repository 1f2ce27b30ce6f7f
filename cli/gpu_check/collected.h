// What an engine hands over, each tensor once.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "golden/contract/names.h"
#include "golden/contract/tensor.h"

namespace assay::gpu_check {

class Collected {
 public:
  // declared: names and shapes that are due.
  explicit Collected(std::vector<golden::TensorInfo> declared) : declared_(std::move(declared)) {}

  void take(const std::string& name, const golden::TensorView& value) {
    const auto info = std::find_if(declared_.begin(), declared_.end(),
                                   [&](const auto& declared) { return declared.name == name; });
    if (info == declared_.end()) {
      faults_.push_back(fmt::format("{}: handed over, but not a tensor of the model", name));
    } else if (info->shape != value.shape) {
      faults_.push_back(fmt::format("{}: expected {}, got {}", name,
                                    golden::shape_text(info->shape),
                                    golden::shape_text(value.shape)));
    } else if (!tensors_.try_emplace(name).second) {
      faults_.push_back(fmt::format("{}: handed over twice", name));
    } else {
      tensors_[name] = {value.shape, {value.values.begin(), value.values.end()}};
    }
  }

  const golden::Tensor* find(const std::string& name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second;
  }
  const std::vector<golden::TensorInfo>& declared() const { return declared_; }
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  std::vector<golden::TensorInfo> declared_;
  std::map<std::string, golden::Tensor> tensors_;
  std::vector<std::string> faults_;
};

}  // namespace assay::gpu_check
