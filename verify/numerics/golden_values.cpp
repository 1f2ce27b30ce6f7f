#include "verify/numerics/golden_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/file/hasher.h"

namespace assay::verify {
namespace {

// What probability rows with at least two allowed keys look like; `steps` is what a storage type
// cannot tell apart.
struct ProbRows {
  int64_t rows = 0, one_hot = 0, uniform = 0;
};

ProbRows look_at_rows(const golden::Shape& shape, std::span<const double> probs,
                      std::span<const uint8_t> attention_mask, double steps) {
  const int64_t heads = shape[1], positions = shape[2], keys = shape[3];
  ProbRows seen;
  for (int64_t row = 0; row < shape[0] * heads * positions; ++row) {
    const int64_t b = row / (heads * positions), t = row % positions;
    double least = INFINITY, most = 0;
    int64_t allowed = 0;
    for (int64_t s = 0; s <= t && s < keys; ++s) {
      if (attention_mask[static_cast<std::size_t>(b * keys + s)] == 0) continue;
      const double p = probs[static_cast<std::size_t>(row * keys + s)];
      least = std::min(least, p);
      most = std::max(most, p);
      ++allowed;
    }
    if (allowed < 2) continue;
    ++seen.rows;
    seen.one_hot += 1 - most <= steps;
    seen.uniform += most - least <= steps * most;
  }
  return seen;
}

std::string distrust_probs(const golden::Shape& shape, std::span<const double> probs,
                           std::span<const uint8_t> attention_mask, golden::Precision storage) {
  const ProbRows seen = look_at_rows(shape, probs, attention_mask, golden::unit_roundoff(storage));
  if (seen.rows == 0) return "";
  if (seen.one_hot == seen.rows) return "golden probabilities are one-hot everywhere";
  if (seen.uniform == seen.rows) return "golden probabilities are uniform everywhere";
  return "";
}

}  // namespace

std::vector<double> GoldenValues::settle(const std::string& name,
                                         const reference::Array& computed) {
  const std::string path = "/forward/" + name;
  const golden::ManifestRow* row = golden_.find(path);
  ASSAY_CHECK(row != nullptr, path);
  const std::span<const double> values = computed.values();
  const bool same = golden::hash_hex(values.data(), values.size_bytes()) == row->hash;
  ++settled_;
  if (row->stored) {
    reproduced_ += same;
    return golden_.read_tensor(path).values;
  }
  if (!same) {
    throw InputError(fmt::format(
        "{}: {}: cannot be reproduced here: expected hash {}, got {}; products engine or CPU "
        "differs: generate with --capture full",
        golden_.path(), path, row->hash, golden::hash_hex(values.data(), values.size_bytes())));
  }
  const golden::Tensor& kept =
      kept_[name] = {computed.shape(), std::vector<double>(values.begin(), values.end())};
  return kept.values;
}

golden::Tensor GoldenValues::read(const std::string& name) const {
  const auto found = kept_.find(name);
  return found != kept_.end() ? found->second : golden_.read_tensor("/forward/" + name);
}

golden::Tensor GoldenValues::rounded(const std::string& name, golden::Precision precision) const {
  golden::Tensor tensor = read(name);
  for (double& x : tensor.values) x = golden::round_to(precision, x);
  return tensor;
}

std::string distrust(const std::string& name, const std::string& axes, const golden::Shape& shape,
                     std::span<const double> golden, std::span<const uint8_t> attention_mask,
                     golden::Precision storage) {
  const bool masks = golden::is_attention_matrix(name);  // with -inf
  const auto unusable = std::count_if(golden.begin(), golden.end(), [&](double x) {
    return !std::isfinite(x) && !(masks && x < 0);
  });
  if (unusable > 0) {
    return fmt::format("golden is NaN or infinite in {} of {} elements", unusable, golden.size());
  }
  const auto is_zero = [](double x) { return x == 0; };
  if (std::all_of(golden.begin(), golden.end(), is_zero)) return "golden is all zero";
  if (axes == "BHTS" && name.ends_with("probs")) {
    return distrust_probs(shape, golden, attention_mask, storage);
  }
  double least = INFINITY, most = -INFINITY;
  int64_t finite = 0;
  for (const double x : golden) {
    if (!std::isfinite(x)) continue;
    least = std::min(least, x);
    most = std::max(most, x);
    ++finite;
  }
  if (finite == 0) return "golden has no finite element";
  return finite > 1 && least == most ? "golden is constant" : "";
}

}  // namespace assay::verify
