#include "verify/training/resolution.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace assay::verify::training {
namespace {

constexpr double kFloatError = 1.2e-7;  // relative, of a decimal that was stored as a float

bool has_decimals(std::span<const double> values, int decimals, double relative_error) {
  const double scale = std::pow(10.0, decimals);
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    const double scaled = value * scale;
    if (std::abs(scaled - std::round(scaled)) > 1e-9 + relative_error * std::abs(scaled)) {
      return false;
    }
  }
  return true;
}

// The lower bits of the float that every value is; false where one is no float.
bool low_bits_are_zero(std::span<const double> values, uint32_t mask) {
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    const float narrow = static_cast<float>(value);
    if (static_cast<double>(narrow) != value) return false;
    if ((std::bit_cast<uint32_t>(narrow) & mask) != 0) return false;
  }
  return true;
}

}  // namespace

Resolution resolution_of(std::span<const double> values) {
  for (int decimals = 1; decimals <= 4; ++decimals) {
    if (!has_decimals(values, decimals, kFloatError)) continue;
    return {0.5 * std::pow(10.0, -decimals), 0, fmt::format("{} decimals", decimals)};
  }
  if (low_bits_are_zero(values, 0xffff)) return {0, std::ldexp(1.0, -7), "bfloat16"};
  if (low_bits_are_zero(values, 0x1fff)) {
    return {std::ldexp(1.0, -24), std::ldexp(1.0, -10), "float16"};
  }
  // The log of a sum of exponentials is near 10, a unit of it 1e-6, whatever the loss is.
  if (low_bits_are_zero(values, 0)) return {2e-6, std::ldexp(1.0, -22), "float32"};
  return {1e-12, 1e-14, "float64"};
}

double decimal_half_step(std::span<const double> values) {
  for (int decimals = 0; decimals <= 5; ++decimals) {
    if (has_decimals(values, decimals, 1e-13)) return 0.5 * std::pow(10.0, -decimals);
  }
  return 0;
}

}  // namespace assay::verify::training
