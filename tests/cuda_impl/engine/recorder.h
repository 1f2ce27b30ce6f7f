// Runs a model on the host executor, and reads out and replaces its tensors.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "golden/contract/precision.h"
#include "models.h"

namespace assay::engine_test {

using Tensors = std::map<std::string, golden::Tensor>;

// Reads everything out; replaces what stands in `forced`.
struct Recorder final : cuda::Probe {
  Tensors forced;
  Tensors seen;
  std::vector<std::string> order;

  bool wants(const std::string&) override { return true; }
  void tap(const std::string& name, golden::TensorView value) override {
    order.push_back(name);
    seen[name] = {value.shape, {value.values.begin(), value.values.end()}};
  }
  bool force(const std::string& name, std::span<double> value) override {
    BOOST_TEST(!golden::is_attention_matrix(name));
    const auto found = forced.find(name);
    if (found == forced.end()) return false;
    BOOST_REQUIRE_EQUAL(found->second.values.size(), value.size());
    std::copy(found->second.values.begin(), found->second.values.end(), value.begin());
    return true;
  }
  const std::vector<double>& operator[](const std::string& name) const {
    return seen.at(name).values;
  }
};

inline std::unique_ptr<cuda::Model> make(const golden::ModelConfig& config,
                                         golden::Precision precision,
                                         const cuda::ModelOptions& options = {}) {
  return cuda::make_host_model(config, precision, golden::SyntheticWeights(config, 7), options);
}

inline Recorder record(cuda::Model& model, const Tokens& tokens, Tensors forced = {}) {
  Recorder recorder;
  recorder.forced = std::move(forced);
  model.forward(tokens.view(), &recorder);
  return recorder;
}

// By every weight, of the loss of a batch.
inline Tensors gradients_of(cuda::Model& model, const Tokens& tokens) {
  Tensors all;
  model.gradients(tokens.view(), [&](const std::string& name, golden::TensorView gradient) {
    all[name] = {gradient.shape, {gradient.values.begin(), gradient.values.end()}};
  });
  return all;
}

inline bool same(const Recorder& a, const Recorder& b) {
  if (a.order != b.order) return false;
  for (const auto& [name, tensor] : a.seen) {
    if (tensor.shape != b.seen.at(name).shape || tensor.values != b[name]) return false;
  }
  return true;
}

template <class Call>
void check_refused(const Call& call, const std::string& message) {
  BOOST_CHECK_EXCEPTION(call(), InputError, [&](const InputError& error) {
    BOOST_TEST(error.what() == message);
    return true;
  });
}

// Of a message that says more.
template <class Call>
void check_refused_with(const Call& call, const std::string& part) {
  BOOST_CHECK_EXCEPTION(call(), InputError, [&](const InputError& error) {
    return std::string(error.what()).find(part) != std::string::npos;
  });
}

}  // namespace assay::engine_test
