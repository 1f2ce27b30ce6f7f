#include "verify/subjects/bindings.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"

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

bool is_learned(const std::string& method, const std::string& weight) {
  const std::vector<golden::Parameter>& learned = golden::find_method(method).parameters;
  return std::any_of(learned.begin(), learned.end(), [&](const golden::Parameter& parameter) {
    return weight.ends_with(parameter.suffix);
  });
}

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

Unheld weights_not_in(const golden::GoldenReader& golden, golden::Precision storage) {
  static const std::string kFolder = "/weights/";
  Unheld unheld;
  if (storage == golden::Precision::fp64) return unheld;
  const bool is_fp32 = storage == golden::Precision::fp32;
  for (const golden::ManifestRow& row : golden.manifest()) {
    if (row.role != "weight" || is_learned(golden.header().config.method, row.path)) continue;
    if (is_fp32 && row.dtype == golden::DType::float32) continue;
    std::vector<double> values(static_cast<std::size_t>(golden::element_count(row.shape)));
    golden.read(row.path.substr(kFolder.size()), values);
    const int64_t before = unheld.values;
    for (const double x : values) {
      if (std::isnan(x) || golden::round_to(storage, x) == x) continue;
      if (unheld.values++ == 0) unheld.first = row.path, unheld.example = x;
    }
    unheld.weights += unheld.values > before;
  }
  return unheld;
}

void require_weights_in(const golden::GoldenReader& golden, golden::Precision storage) {
  const Unheld unheld = weights_not_in(golden, storage);
  if (unheld.values == 0) return;
  throw InputError(fmt::format(
      "{0}: {1}: expected values that {2} holds, got {3}: a candidate in {2} computes with "
      "other weights; 'assay export {0} --to DIR --dtype {2} --round' makes a checkpoint that "
      "it can hold, for 'assay generate --weights DIR'",
      golden.path(), unheld.first, golden::precision_name(storage), unheld.example));
}

void HeldWeights::read(const std::string& name, std::span<double> out) const {
  given_.read(name, out);
  if (storage_ == golden::Precision::fp64 || is_learned(method_, name)) return;
  for (double& x : out) {
    const double rounded = golden::round_to(storage_, x);
    if (std::isinf(rounded) && std::isfinite(x)) {
      throw InputError(
          fmt::format("weight {}: {} is beyond the range of {}: judge it in bf16 or "
                      "fp32, or make a smaller one",
                      name, x, golden::precision_name(storage_)));
    }
    x = rounded;
  }
}

reference::Array learned_rounding(const std::string& method, golden::Precision storage,
                                  const reference::NodeData& input, const reference::Array& value) {
  if (!input.weight || !is_learned(method, input.name)) return {};
  reference::Array error = reference::Array::uninitialized(value.shape());
  bool any = false;
  for (int64_t i = 0; i < value.size(); ++i) {
    const double x = value.data()[i];
    error.data()[i] = std::fabs(golden::round_to(storage, x) - x);
    any = any || error.data()[i] > 0;
  }
  return any ? std::move(error) : reference::Array();
}

}  // namespace assay::verify
