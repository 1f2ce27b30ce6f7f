// The scalar that carries dependences: its numbers are double's, its sources those of all operands.
#include "cuda_impl/simt/tainted.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <vector>

namespace simt = assay::simt;
using simt::SourceSet;
using simt::Tainted;

namespace {

Tainted from(double value, int source) {
  SourceSet sources{};
  sources.add(source);
  return {value, sources};
}

SourceSet set_of(std::initializer_list<int> sources) {
  SourceSet set{};
  for (const int source : sources) set.add(source);
  return set;
}

void check(const Tainted& x, double value, const SourceSet& sources) {
  BOOST_TEST(x.value == value);
  for (int i = 0; i < simt::kMaxSources; ++i) {
    BOOST_TEST(x.sources.contains(i) == sources.contains(i), i);
  }
}

template <class A>
concept Comparable = requires(A a, A b) {
  a < b;
}
|| requires(A a, A b) { a == b; }
|| requires(A a) { a ? 1 : 0; };
template <class A>
concept BecomesANumber = requires(A a) {
  static_cast<double>(a);
}
|| requires(A a) { static_cast<float>(a); }
|| requires(A a) { static_cast<int>(a); };

// The checks see what they look for, in double.
static_assert(Comparable<double> && BecomesANumber<double>);
static_assert(!Comparable<Tainted> && !BecomesANumber<Tainted>);
static_assert(std::is_trivially_copyable_v<Tainted>);
static_assert(std::is_same_v<simt::accum_t<Tainted>, Tainted>);

constexpr int kLast = simt::kMaxSources - 1;

}  // namespace

BOOST_AUTO_TEST_CASE(arithmetic_unites_sources_whatever_the_values) {
  const Tainted a = from(3, 0), b = from(-2, kLast), zero = from(0, 64);
  const SourceSet both = set_of({0, kLast});
  check(a + b, 1, both);
  check(a - b, 5, both);
  check(a * b, -6, both);
  check(a / b, -1.5, both);
  check(-a, -3, set_of({0}));
  check(a - a, 0, set_of({0}));
  check(a * zero, 0, set_of({0, 64}));
  check(a * 0.0, 0, set_of({0}));
  check(2.0 * a + 1, 7, set_of({0}));
  Tainted sum = 0.0;
  sum += a;
  sum *= b;
  check(sum, -6, both);
  sum -= zero;
  sum /= 2;
  check(sum, -3, set_of({0, 64, kLast}));
}

BOOST_AUTO_TEST_CASE(functions_keep_sources) {
  volatile double unfolded = 0.25;  // the compiler's erf and the library's differ in a last bit
  const double number = unfolded;
  const Tainted x = from(number, 5);
  check(simt::exp(x), std::exp(number), x.sources);
  check(simt::log(x), std::log(number), x.sources);
  check(simt::sqrt(x), 0.5, x.sources);
  check(simt::rsqrt(x), 2, x.sources);
  check(simt::tanh(x), std::tanh(number), x.sources);
  check(simt::erf(x), std::erf(number), x.sources);
  check(simt::abs(-x), 0.25, x.sources);
  check(simt::max(x, from(7, 6)), 7, set_of({5, 6}));
  check(simt::max(x, -1.0), 0.25, x.sources);
}

BOOST_AUTO_TEST_CASE(constants_come_from_nowhere) {
  check(Tainted(2), 2, {});
  check(std::numeric_limits<Tainted>::lowest(), std::numeric_limits<double>::lowest(), {});
  check(std::numeric_limits<Tainted>::infinity(), INFINITY, {});
}

namespace {

// Static arrays that would not fit as bytes, but do as doubles; only lane 3 writes the first one.
__global__ void through_shared_memory(Tainted* out, const Tainted* in) {
  SIMT_SHARED(Tainted, s_mine, 32);
  SIMT_SHARED(Tainted, s_large, 6000);
  const unsigned lane = threadIdx.x;
  if (lane == 3) s_mine[lane] = in[lane];
  s_large[lane * 187] = in[lane];
  __syncthreads();
  out[lane] = s_mine[lane];
  out[32 + lane] = s_large[(lane + 1) % 32 * 187];
  out[64 + lane] = simt::warp_sum(in[lane]);
}

__global__ void too_many_doubles(Tainted* out) {
  SIMT_SHARED(Tainted, s, 6145);
  s[0] = 1.0;
  out[0] = s[0];
}

}  // namespace

BOOST_AUTO_TEST_CASE(memory_nobody_wrote_comes_from_everywhere) {
  std::vector<Tainted> in;
  for (int i = 0; i < 32; ++i) in.push_back(from(i, i));
  const simt::Buffer<Tainted> source(in), target(96);
  simt::launch("through_shared_memory", through_shared_memory, dim3(1), dim3(32), 0, nullptr,
               target.get(), source.get());
  std::vector<Tainted> out;
  target.to(out);
  SourceSet everywhere{}, warp{};
  for (int i = 0; i < simt::kMaxSources; ++i) everywhere.add(i);
  for (int i = 0; i < 32; ++i) warp.add(i);
  for (int lane = 0; lane < 32; ++lane) {
    const auto i = static_cast<std::size_t>(lane);
    const int next = (lane + 1) % 32;
    if (lane == 3) {
      check(out[i], 3, set_of({3}));
    } else {
      BOOST_TEST(std::isnan(out[i].value));
      BOOST_TEST((out[i].sources == everywhere));
    }
    check(out[32 + i], next, set_of({next}));
    check(out[64 + i], 496, warp);
  }
}

BOOST_AUTO_TEST_CASE(shared_arrays_count_as_doubles) {
  const simt::Buffer<Tainted> target(1);
  BOOST_CHECK_EXCEPTION(
      simt::launch("too_many_doubles", too_many_doubles, dim3(1), dim3(1), 0, nullptr,
                   target.get()),
      simt::Error, [](const simt::Error& error) {
        const std::string text = error.what();
        return text.find("static shared memory: expected at most 49152 bytes, got 49168") !=
               std::string::npos;
      });
}
