// The production implementation as a caller sees it: a model made from a config and weights, a
// forward pass, taps and forced inputs by name. Two back ends run the same kernels: the host
// executor and the GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "golden/config.h"
#include "golden/precision.h"
#include "golden/tensor.h"
#include "golden/weights.h"

namespace assay::cuda {

struct Batch {
  int64_t batch = 0;
  int64_t positions = 0;
  std::span<const int32_t> tokens;          // [B,T]
  std::span<const uint8_t> attention_mask;  // [B,T], 1 = real token, 0 = padding
  std::span<const int32_t> labels;  // [B,T], -100 = not counted; position t predicts labels[t+1]
};

// Reads tensors out and puts others in, by the names of golden::tensor_list. Neither changes what a
// kernel computes.
class Probe {
 public:
  virtual ~Probe() = default;
  // Whether tap() wants this tensor; attn/scores and attn/probs are only formed if somebody does.
  virtual bool wants(const std::string& name) = 0;
  virtual void tap(const std::string& name, golden::TensorView value) = 0;
  // Called after tap(): fill `value` (its size is the tensor's) and return true, and every later
  // kernel reads that instead. Never called for attn/scores and attn/probs, which no kernel reads
  // back.
  virtual bool force(const std::string& name, std::span<double> value) = 0;
};

// Called once for every weight, learned parameters of the method included, by its checkpoint's name
// and shape: the gradient of the loss.
using ReceiveGradient = std::function<void(const std::string& name, golden::TensorView gradient)>;

class Model {
 public:
  virtual ~Model() = default;
  // Computes every tensor of golden::tensor_list in order. probe may be null. Throws InputError for
  // a batch that does not fit the config, and simt::Error (kernel, shape, cause) for a failed
  // launch.
  virtual void forward(const Batch& batch, Probe* probe) = 0;
  // A forward and a backward pass; returns the loss. With an empty `receive` the gradients stay where
  // they are formed. Throws Unsupported where the engine has no
  // backward pass for the method.
  virtual double gradients(const Batch& batch, const ReceiveGradient& receive) = 0;
  virtual golden::PrecisionSchedule precision() const = 0;
};

// The same sources on the host executor (fp64, fp32, bf16, fp16) and on the GPU (fp32, bf16, fp16).
std::unique_ptr<Model> make_host_model(const golden::ModelConfig& config,
                                       golden::Precision precision,
                                       const golden::WeightSource& weights);
std::unique_ptr<Model> make_device_model(const golden::ModelConfig& config,
                                         golden::Precision precision,
                                         const golden::WeightSource& weights);

// Why make_device_model cannot work here, for a message that says what was skipped; "" if it can.
std::string device_unavailable();

}  // namespace assay::cuda
