// The golden values: from the file, or made again by the reference where the file has only hashes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "golden/contract/precision.h"
#include "golden/file/golden_file.h"
#include "reference/numbers/array.h"

namespace assay::verify {

class GoldenValues {
 public:
  explicit GoldenValues(const golden::GoldenReader& golden) : golden_(golden) {}

  // `computed` is the reference's value of a declared tensor or gradient ("grad/logits") from the
  // file's inputs and weights.
  // Returns the golden value: the file's, else `computed` once its hash is the manifest's. Throws
  // InputError when the hash differs. What is not in the file is kept.
  reference::Array settle(const std::string& name, const reference::Array& computed);

  // Whether the file has its hash alone and it was not settled yet.
  bool lacks(const std::string& name) const;
  // Of a tensor that is in the file or was settled.
  reference::Array read(const std::string& name) const;
  reference::Array rounded(const std::string& name, golden::Precision precision) const;

  int64_t regenerated() const { return static_cast<int64_t>(kept_.size()); }
  int64_t settled() const { return static_cast<int64_t>(settled_.size()); }
  // Of those that are stored: what the reference gives bit for bit.
  int64_t reproduced() const;

 private:
  const golden::GoldenReader& golden_;
  std::map<std::string, reference::Array> kept_;
  std::map<std::string, bool> settled_;  // by name, whether the reference gives it
};

// Every element, nearest, ties to even.
reference::Array rounded_to(golden::Precision precision, const reference::Array& tensor);

// Root mean square of the finite elements; 0 where there are none.
double rms(std::span<const double> values);

// Why a golden tensor cannot show a defect ("NaN or infinite in ..", "all zero", "constant",
// "probabilities one-hot everywhere", ..), or "". Exempt are tensors that cannot be otherwise: a
// single element is not constant, a probability row with one allowed key not one-hot.
inline constexpr char kAllZero[] = "golden is all zero";
inline constexpr char kNotFinite[] = "golden is NaN or infinite";
std::string distrust(const std::string& name, const std::string& axes, const golden::Shape& shape,
                     std::span<const double> golden, std::span<const uint8_t> attention_mask,
                     golden::Precision storage);

}  // namespace assay::verify
