#include "verify/numerics/bindings.h"

#include <fmt/core.h>

#include <algorithm>

#include "golden/error.h"

namespace assay::verify {
namespace {

template <class T>
reference::Array widen(const reference::NodeData& input, const std::vector<T>& values) {
  if (golden::element_count(input.shape()) != static_cast<int64_t>(values.size())) {
    throw InputError(fmt::format("{}: wrong size: expected {}, got {} elements", input.name,
                                 golden::shape_text(input.shape()), values.size()));
  }
  reference::Array out = reference::Array::uninitialized(input.shape());
  std::copy(values.begin(), values.end(), out.values().begin());
  return out;
}

}  // namespace

Batch read_batch(const golden::GoldenReader& golden) {
  return {.batch = golden.batch(),
          .positions = golden.positions(),
          .tokens = golden.read_int32("/inputs/tokens"),
          .attention_mask = golden.read_uint8("/inputs/attention_mask"),
          .labels = golden.read_int32("/inputs/labels")};
}

reference::Bindings bind(const Batch& batch, const golden::WeightSource& weights) {
  return [&batch, &weights](const reference::NodeData& input) {
    if (input.weight) {
      reference::Array out = reference::Array::uninitialized(input.shape());
      weights.read(input.name, out.values());
      return out;
    }
    if (input.name == "tokens") return widen(input, batch.tokens);
    if (input.name == "attention_mask") return widen(input, batch.attention_mask);
    if (input.name == "labels") return widen(input, batch.labels);
    throw InputError(fmt::format(
        "graph input '{}': nothing to bind it to: have tokens, attention_mask, labels, weights",
        input.name));
  };
}

}  // namespace assay::verify
