// The variants of gemm(), gemm_nn() and gemm_tn() against each other, and which of them these
// take.
#include "cuda_impl/kernels/gemm/gemm_backward_variants.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>

#include "cases.h"

using namespace assay::kernel_test;

namespace {

template <class S>
std::vector<Case> gemm_cases() {
  std::vector<Case> cases;
  add_gemm_cases<S>(cases);
  add_gemm_backward_cases<S>(cases);
  return cases;
}

const std::vector<std::string> kGemms{"gemm", "gemm_nn", "gemm_tn"};

template <class S>
void check_variants_agree(const std::string& suffix = "") {
  const std::vector<Case> cases = gemm_cases<S>();
  // An array may be asked for in S and in float: each variant has both, in one order.
  const auto results = [&](const std::string& kernel) {
    std::map<std::string, std::vector<Values>> by_shape;
    for (const Case& c : cases) {
      if (c.kernel == kernel + suffix) by_shape[c.shape].push_back(c.run());
    }
    return by_shape;
  };
  for (const std::string& gemm : kGemms) {
    const auto tiled = results(gemm + "_tiled"), mma = results(gemm + "_mma"),
               chosen = results(gemm);
    BOOST_TEST_REQUIRE(tiled.size() > 1u);
    for (const auto& [shape, values] : tiled) {
      BOOST_TEST_REQUIRE(mma.at(shape).size() == values.size());
      BOOST_TEST_REQUIRE(chosen.at(shape).size() == values.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        BOOST_TEST(same_bits(mma.at(shape)[i], values[i]), gemm << " " << shape);
        BOOST_TEST(same_bits(chosen.at(shape)[i], values[i]), gemm << " " << shape);
      }
    }
  }
}

}  // namespace

// On the host a fragment adds in float with k ascending, as the tiled kernel does, and products of
// 16-bit numbers, and of tf32 ones, are exact.
BOOST_AUTO_TEST_CASE(the_variants_of_gemm_have_the_same_bits_on_the_host) {
  check_variants_agree<simt::bf16>();
  check_variants_agree<simt::f16>();
  check_variants_agree<float>("_tf32");
}

// What reads floats as they are is outside the bounds of what reads them as tf32, in many elements,
// and the other way round; on floats every gemm is its tiled variant, bit for bit.
BOOST_AUTO_TEST_CASE(fp32_gemms_never_read_tf32) {
  std::map<std::string, Case> cases;
  for (Case& c : gemm_cases<float>()) cases.emplace(c.kernel + " " + c.shape, std::move(c));
  const auto outside = [](const Values& got, const std::vector<Expected>& expected) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      count += !(std::fabs(got[i] - expected[i].value) <= expected[i].bound);
    }
    return count;
  };
  int compared = 0;
  for (const auto& [name, as_tf32] : cases) {
    const std::size_t suffix = name.find("_tf32");
    if (suffix == std::string::npos || name.find("_mma") != std::string::npos) continue;
    BOOST_TEST_CONTEXT(name) {
      const Case& as_stored = cases.at(std::string(name).erase(suffix, 5));
      const Values wide = as_stored.run(), narrow = as_tf32.run();
      BOOST_TEST(outside(wide, as_tf32.expect()) > wide.size() / 4);
      BOOST_TEST(outside(narrow, as_stored.expect()) > wide.size() / 4);
      if (std::ranges::find(kGemms, as_stored.kernel) != kGemms.end()) {
        const std::string tiled = as_stored.kernel + "_tiled " + as_stored.shape;
        BOOST_TEST(same_bits(wide, cases.at(tiled).run()));
        ++compared;
      }
    }
  }
  BOOST_TEST(compared >= 10);
}

// Where rows are whole 16-byte pieces and the sizes are worth a tile; whatever N.
BOOST_AUTO_TEST_CASE(gemm_takes_tensor_cores_by_its_rule) {
  using assay::cuda::prefers_mma;
  BOOST_TEST(prefers_mma<simt::bf16>(64, 64));
  BOOST_TEST(prefers_mma<simt::f16>(1000, 72));
  BOOST_TEST(!prefers_mma<simt::bf16>(63, 64));
  BOOST_TEST(!prefers_mma<simt::bf16>(64, 56));
  BOOST_TEST(!prefers_mma<simt::bf16>(64, 100));
  BOOST_TEST(!prefers_mma<float>(64, 64));
  BOOST_TEST(!prefers_mma<double>(64, 64));
  BOOST_TEST(prefers_mma<simt::tf32>(64, 68));
  BOOST_TEST(!prefers_mma<simt::tf32>(64, 66));

  using assay::cuda::prefers_mma_backward;
  BOOST_TEST(prefers_mma_backward<simt::bf16>(64, 72));
  BOOST_TEST(!prefers_mma_backward<simt::bf16>(64, 68));
  BOOST_TEST(!prefers_mma_backward<simt::bf16>(68, 64));
  BOOST_TEST(!prefers_mma_backward<simt::f16>(56, 64));
  BOOST_TEST(!prefers_mma_backward<simt::f16>(64, 56));
  BOOST_TEST(!prefers_mma_backward<float>(64, 64));
  BOOST_TEST(prefers_mma_backward<simt::tf32>(64, 68));
  BOOST_TEST(!prefers_mma_backward<simt::tf32>(66, 64));
}

// Only tensor cores take a warp together: what the gemms launch for a small or ragged shape, and
// for one of whole tiles.
BOOST_AUTO_TEST_CASE(gemms_launch_the_variant_of_their_rule) {
  const auto warp_collectives = [](const auto& cases, const std::string& kernel,
                                   const std::string& shape) {
    for (const Case& c : cases) {
      if (c.kernel != kernel || c.shape != shape) continue;
      simt::host::reset_stats();
      c.run();
      return simt::host::stats().warp_collectives;
    }
    throw std::invalid_argument(shape);
  };
  struct Pair {
    std::string kernel, narrow, wide;
  };
  const std::string shift = "N M K bias shift = ",
                    layout = "N M K accumulate count unread shared shift = ";
  for (const auto& [kernel, narrow, wide] :
       {Pair{"gemm", shift + "33 31 70 0 0", shift + "130 133 72 1 0"},
        Pair{"gemm_nn", layout + "33 70 31 0 1 0 0 0", layout + "33 72 136 1 1 0 0 0"},
        Pair{"gemm_tn", layout + "33 70 31 0 1 0 0 0", layout + "70 136 72 1 1 0 0 0"}}) {
    BOOST_TEST_CONTEXT(kernel) {
      BOOST_TEST(warp_collectives(gemm_cases<simt::bf16>(), kernel, narrow) == 0u);
      BOOST_TEST(warp_collectives(gemm_cases<simt::bf16>(), kernel, wide) > 0u);
      BOOST_TEST(warp_collectives(gemm_cases<float>(), kernel + "_tf32", narrow) == 0u);
      BOOST_TEST(warp_collectives(gemm_cases<float>(), kernel + "_tf32", wide) > 0u);
      BOOST_TEST(warp_collectives(gemm_cases<float>(), kernel, wide) == 0u);
    }
  }
}
