// The engine's own rounding of doubles to what kernels store.
#include "cuda_impl/engine/memory/convert.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "golden/contract/precision.h"

namespace {

using namespace assay;

// Numbers whose rounding is decided by their last bits: halfway between two 16-bit numbers, a hair
// beside that (which a float does not hold: rounding by way of the nearest float is wrong there),
// subnormals, overflow.
std::vector<double> awkward_numbers(golden::Precision precision) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> mantissa(1, 2);
  std::uniform_int_distribution<int> exponent(precision == golden::Precision::fp16 ? -26 : -136,
                                              precision == golden::Precision::fp16 ? 16 : 128);
  std::vector<double> numbers{0.0,   -0.0, INFINITY, -INFINITY, std::numeric_limits<double>::max(),
                              5e-324};
  for (int i = 0; i < 20000; ++i) {
    const double x = std::ldexp(mantissa(random), exponent(random));
    const double low = golden::round_to(precision, x);
    const double half = low + golden::spacing(precision, low) / 2;
    for (const double y :
         {x, half, half * (1 + 0x1p-40), half * (1 - 0x1p-40), half * (1 + 0x1p-52)}) {
      numbers.insert(numbers.end(), {y, -y});
    }
  }
  return numbers;
}

template <class T>
std::size_t rounded_otherwise(golden::Precision precision) {
  std::size_t others = 0;
  for (const double x : awkward_numbers(precision)) {
    const double got = cuda::widen(cuda::narrow<T>(x)), due = golden::round_to(precision, x);
    others += got != due || std::signbit(got) != std::signbit(due);
  }
  return others;
}

// The contract's rounding is written another way: by the spacing of the type's numbers.
BOOST_AUTO_TEST_CASE(doubles_are_rounded_once_to_nearest_even) {
  BOOST_TEST(rounded_otherwise<simt::bf16>(golden::Precision::bf16) == 0u);
  BOOST_TEST(rounded_otherwise<simt::f16>(golden::Precision::fp16) == 0u);
  BOOST_TEST(rounded_otherwise<float>(golden::Precision::fp32) == 0u);
  BOOST_TEST(std::isnan(cuda::widen(cuda::narrow<simt::bf16>(std::nan("")))));
}

}  // namespace
