#include "verify/decoders/rounding.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

using golden::Precision;

// Units that a pass adds up: one for each step of a sum in fp32 and fp64; a 16-bit type is rounded
// to after a sum, and a few of its units are much.
struct Units {
  Precision precision;
  int bits;  // of the significand
  double faint, whole;
};
constexpr Units kUnits[] = {{Precision::bf16, 8, 4, 16},
                            {Precision::fp16, 11, 8, 32},
                            {Precision::fp32, 24, 64, 1024},
                            {Precision::fp64, 53, 64, 16384}};

Rounding of(const Units& units, bool is_declared, std::size_t tensors = 0) {
  constexpr std::size_t kMany = 4;
  const double unit = golden::unit_roundoff(units.precision);
  const bool is_certain = is_declared || units.precision == Precision::fp64 || tensors >= kMany;
  return {units.precision, is_declared, is_certain, units.faint * unit, units.whole * unit};
}

// Bits of the significand that a value needs.
int bits_of(double x) {
  if (x == 0 || !std::isfinite(x)) return 0;
  const auto bits = std::bit_cast<uint64_t>(x) & ((uint64_t{1} << 52) - 1);
  return bits == 0 ? 1 : 53 - std::countr_zero(bits);
}

// Of a tensor with enough values to tell; 0 else.
int bits_of_tensor(const Observed& observed) {
  constexpr std::size_t kEnough = 64;
  if (observed.dtype == golden::DType::int32 || observed.dtype == golden::DType::uint8) return 0;
  std::set<double> distinct;
  int most = 0;
  for (const double x : observed.tensor.values) {
    most = std::max(most, bits_of(x));
    if (distinct.size() < kEnough && std::isfinite(x)) distinct.insert(x);
  }
  return distinct.size() < kEnough ? 0 : most;
}

}  // namespace

Rounding rounding_of(const Recording& recording, const std::string& declared) {
  for (const Units& units : kUnits) {
    if (declared == golden::precision_name(units.precision)) return of(units, true);
  }
  std::vector<int> bits;
  for (std::size_t i = 0; i < recording.tensors(); ++i) {
    if (const int most = bits_of_tensor(recording.tensor(i)); most > 0) bits.push_back(most);
  }
  if (bits.empty()) return of(kUnits[2], false);
  std::sort(bits.begin(), bits.end());
  const int typical = bits[bits.size() / 4];
  for (const Units& units : kUnits) {
    if (typical <= units.bits) return of(units, false, bits.size());
  }
  return of(kUnits[3], false);
}

Rounding declared_rounding(Precision precision) {
  if (precision == Precision::tf32) precision = Precision::fp16;  // factors of as many bits
  for (const Units& units : kUnits) {
    if (precision == units.precision) return of(units, true);
  }
  throw InternalError("declared_rounding: no such Precision");
}

Size size_of(const Rounding& rounding, double size) {
  if (size <= rounding.whole) return Size::rounding;
  const double coarsest = kUnits[0].whole * golden::unit_roundoff(kUnits[0].precision);
  return rounding.is_certain || size > coarsest ? Size::large : Size::doubtful;
}

std::string rounding_text(const Rounding& rounding) {
  return fmt::format("{} ({})", golden::precision_name(rounding.precision),
                     rounding.is_declared ? "as it says" : "by its values");
}

}  // namespace assay::verify
