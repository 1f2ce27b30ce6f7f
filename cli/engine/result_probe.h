// Takes one result of a pass, "logits" or "loss", and looks at nothing inside of it.
#pragma once

#include <span>
#include <string>
#include <utility>

#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/tensor.h"

namespace assay::cli {

class ResultProbe : public cuda::Probe {
 public:
  explicit ResultProbe(std::string name) : name_(std::move(name)) {}
  bool looks_inside() override { return false; }
  bool wants(const std::string& name) override { return name == name_; }
  void tap(const std::string&, golden::TensorView value) override {
    result = {value.shape, {value.values.begin(), value.values.end()}};
  }
  bool force(const std::string&, std::span<double>) override { return false; }

  golden::Tensor result;

 private:
  std::string name_;
};

}  // namespace assay::cli
