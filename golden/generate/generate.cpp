#include "golden/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/precision.h"
#include "golden/generate/dependence.h"
#include "golden/generate/provenance.h"
#include "reference/interpreters/gradient.h"
#include "reference/methods/registry.h"

namespace assay::golden {
namespace {

using Clock = std::chrono::steady_clock;
using reference::Array;
using reference::NodeData;

void check_length(const char* what, std::size_t got, const GenerateRequest& request) {
  const auto expected = static_cast<std::size_t>(request.batch * request.positions);
  if (got != expected) {
    throw InputError(fmt::format("{}: expected [{},{}] = {} elements, got {}", what, request.batch,
                                 request.positions, expected, got));
  }
}

// Fills in the defaults and checks everything that can be checked before hours of work.
GenerateRequest completed(GenerateRequest request) {
  validate(request.config, "config");
  check_sizes(request.config, request.batch, request.positions);
  if (request.gradients && request.weight_memory) {
    throw InputError(
        "weight memory: a gradient keeps every weight: expected a bound or gradients, got both");
  }
  if (request.dependence) check_dependence_memory(request.config, request.positions);
  check_length("tokens", request.tokens.size(), request);
  if (request.attention_mask.empty()) request.attention_mask.assign(request.tokens.size(), 1);
  check_length("attention_mask", request.attention_mask.size(), request);
  const bool masked = find_method(request.config.method).family == Family::prob_transformer &&
                      request.config.pt.output == ProbTransformer::Output::mlm;
  if (request.labels.empty() && masked) {
    MaskedTokens asked = mask_tokens(request.tokens, request.attention_mask,
                                     request.config.vocab_size, request.seed);
    request.tokens = std::move(asked.tokens);
    request.labels = std::move(asked.labels);
  }
  if (request.labels.empty()) {
    request.labels = request.tokens;
    for (std::size_t i = 0; i < request.labels.size(); ++i) {
      if (request.attention_mask[i] == 0) request.labels[i] = -100;
    }
  }
  check_length("labels", request.labels.size(), request);
  for (std::size_t i = 0; i < request.tokens.size(); ++i) {
    if (request.tokens[i] < 0 || request.tokens[i] >= request.config.vocab_size) {
      throw InputError(fmt::format("tokens: element {}: expected 0 .. {}, got {}", i,
                                   request.config.vocab_size - 1, request.tokens[i]));
    }
  }
  return request;
}

uint64_t expected_bytes(const GenerateRequest& request) {
  if (request.capture != Capture::full) return 0;
  uint64_t elements = 0;
  for (const TensorInfo& t : tensor_list(request.config, request.batch, request.positions)) {
    elements += static_cast<uint64_t>(element_count(t.shape));
  }
  uint64_t weight_elements = 0;
  for (const TensorInfo& w : weight_list(request.config)) {
    weight_elements += static_cast<uint64_t>(element_count(w.shape));
  }
  if (request.gradients) elements += elements + weight_elements;
  const uint64_t weight_bytes = request.weights == nullptr ? 4 : 8;  // float32 if drawn
  return 8 * elements + weight_bytes * weight_elements;
}

template <class T>
Array as_doubles(const Shape& shape, const std::vector<T>& values) {
  Array array = Array::uninitialized(shape);
  std::copy(values.begin(), values.end(), array.data());
  return array;
}

// A weight that is NaN or infinite makes every tensor after it so, and nothing could be judged.
void require_finite(const GenerateRequest& request, const std::string& name,
                    std::span<const double> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw InputError(
        fmt::format("{}: weight {}: element {} of {}: expected a finite number, got {}",
                    request.out, name, i, values.size(), values[i]));
  }
}

// NaN or an infinity, but for what a mask writes over scores.
bool is_unusable(const std::string& name, double x) {
  if (std::isfinite(x)) return false;
  return !(is_attention_matrix(name) && x < 0);
}

// Writes what the interpreters hand over.
class Recorder : public reference::Observer, public reference::GradientObserver {
 public:
  Recorder(const GenerateRequest& request, GoldenWriter& writer)
      : request_(request), writer_(writer) {
    total_ =
        static_cast<int64_t>(tensor_list(request.config, request.batch, request.positions).size());
  }

  Array observe(const NodeData& node, Array value) override {
    writer_.write_forward(node.name, value.view());
    if (node.name == "loss") loss_ = value.data()[0];
    const auto values = value.values();
    if (std::any_of(values.begin(), values.end(),
                    [&](double x) { return is_unusable(node.name, x); }) &&
        nonfinite_++ == 0) {
      first_nonfinite_ = node.name;
    }
    ++done_;
    if (request_.progress) request_.progress(done_, total_);
    return value;
  }

  void observe_gradient(const NodeData& node, const Array& gradient) override {
    writer_.write_grad(node.name, gradient.view());
  }

  int64_t done() const { return done_; }
  double loss() const { return loss_; }
  int64_t nonfinite() const { return nonfinite_; }
  const std::string& first_nonfinite() const { return first_nonfinite_; }

 private:
  const GenerateRequest& request_;
  GoldenWriter& writer_;
  int64_t done_ = 0, total_ = 0;
  double loss_ = 0;
  int64_t nonfinite_ = 0;
  std::string first_nonfinite_;
};

}  // namespace

GenerateResult generate(const GenerateRequest& incomplete) {
  const auto start = Clock::now();
  const GenerateRequest request = completed(incomplete);
  const Shape shape{request.batch, request.positions};
  const auto graph = reference::build_model(request.config, request.batch, request.positions);
  GoldenWriter writer(request.out,
                      {request.config, request.seed,
                       provenance(request.recipe, request.weights_origin), request.store_weights},
                      request.capture, request.force, expected_bytes(request));
  writer.write_input("tokens", shape, request.tokens);
  writer.write_mask("attention_mask", shape, request.attention_mask);
  writer.write_input("labels", shape, request.labels);
  std::vector<int32_t> position_ids(static_cast<std::size_t>(request.positions));
  std::iota(position_ids.begin(), position_ids.end(), 0);
  writer.write_input("position_ids", {request.positions}, position_ids);

  const SyntheticWeights synthetic(request.config, request.seed);
  const WeightSource& weights = request.weights == nullptr ? synthetic : *request.weights;
  const reference::Bindings values = [&](const NodeData& input) {
    if (input.name == "tokens") return as_doubles(shape, request.tokens);
    if (input.name == "attention_mask") return as_doubles(shape, request.attention_mask);
    if (input.name == "labels") return as_doubles(shape, request.labels);
    Array weight = Array::uninitialized(input.shape());
    weights.read(input.name, weight.values());
    require_finite(request, input.name, weight.values());
    return weight;
  };
  std::set<std::string> written;  // weights; one that was let go is asked for again
  const reference::Bindings bindings = [&](const NodeData& input) {
    Array value = values(input);
    if (input.weight && written.insert(input.name).second)
      writer.write_weight(input.name, value.view());
    return value;
  };

  Recorder recorder(request, writer);
  if (request.gradients) {
    reference::evaluate_with_gradient(*graph, bindings, graph->find("loss"), recorder, recorder);
  } else {
    reference::evaluate(*graph, bindings, recorder,
                        request.weight_memory.value_or(reference::kNoLimit));
  }
  calibrate(request.calibration, *graph, values, writer);
  if (request.dependence) write_dependences(request.config, request.positions, writer);
  GenerateResult result;
  result.root_hash = writer.finish();
  result.tensors = recorder.done();
  result.loss = recorder.loss();
  result.nonfinite = recorder.nonfinite();
  result.first_nonfinite = recorder.first_nonfinite();
  result.bytes_written = writer.bytes_written();
  result.write_seconds = writer.write_seconds();
  result.total_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

}  // namespace assay::golden
