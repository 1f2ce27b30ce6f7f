// The rungs of product() against each other, and which of them it takes.
#include "cuda_impl/kernels/product_rungs.h"

#include <boost/test/unit_test.hpp>
#include <map>

#include "cases.h"

using namespace assay::kernel_test;

namespace {

template <class S>
std::vector<Case> product_cases() {
  std::vector<Case> cases;
  add_product_cases<S>(cases);
  add_product_backward_cases<S>(cases);
  return cases;
}

template <class S>
void check_rungs_agree(const std::string& suffix = "") {
  std::map<std::string, Values> tiled, mma, chosen;
  for (const Case& c : product_cases<S>()) {
    if (c.kernel == "product_tiled" + suffix) tiled[c.shape] = c.run();
    if (c.kernel == "product_mma" + suffix) mma[c.shape] = c.run();
    if (c.kernel == "product" + suffix) chosen[c.shape] = c.run();
  }
  BOOST_TEST_REQUIRE(tiled.size() > 1u);
  for (const auto& [shape, values] : tiled) {
    BOOST_TEST(same_bits(mma.at(shape), values), shape);
    BOOST_TEST(same_bits(chosen.at(shape), values), shape);
  }
}

}  // namespace

// On the host a fragment adds in float with k ascending, as the tiled kernel does, and products of
// 16-bit numbers, and of tf32 ones, are exact.
BOOST_AUTO_TEST_CASE(the_rungs_of_product_have_the_same_bits_on_the_host) {
  check_rungs_agree<simt::bf16>();
  check_rungs_agree<simt::f16>();
  check_rungs_agree<float>("_tf32");
}

// What reads floats as they are is outside the bounds of what reads them as tf32, in many elements,
// and the other way round; product() on floats is product_tiled, bit for bit.
BOOST_AUTO_TEST_CASE(fp32_products_never_read_tf32) {
  std::map<std::string, Case> cases;
  for (Case& c : product_cases<float>()) cases.emplace(c.kernel + " " + c.shape, std::move(c));
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
    if (suffix == std::string::npos || name.starts_with("product_mma")) continue;
    BOOST_TEST_CONTEXT(name) {
      const Case& as_stored = cases.at(std::string(name).erase(suffix, 5));
      const Values wide = as_stored.run(), narrow = as_tf32.run();
      BOOST_TEST(outside(wide, as_tf32.expect()) > wide.size() / 4);
      BOOST_TEST(outside(narrow, as_stored.expect()) > wide.size() / 4);
      if (as_stored.kernel == "product") {
        BOOST_TEST(same_bits(wide, cases.at("product_tiled " + as_stored.shape).run()));
      }
      ++compared;
    }
  }
  BOOST_TEST(compared >= 10);
}

// Where rows are whole 16-byte pieces and the sizes are worth a tile; whatever N.
BOOST_AUTO_TEST_CASE(product_takes_tensor_cores_by_its_rule) {
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
  const std::string narrow = "N M K bias shift = 33 31 70 0 0";
  const std::string wide = "N M K bias shift = 130 133 72 1 0";
  BOOST_TEST(warp_collectives(product_cases<simt::bf16>(), "product", narrow) == 0u);
  BOOST_TEST(warp_collectives(product_cases<simt::bf16>(), "product", wide) > 0u);
  BOOST_TEST(warp_collectives(product_cases<float>(), "product_tf32", narrow) == 0u);
  BOOST_TEST(warp_collectives(product_cases<float>(), "product_tf32", wide) > 0u);
  BOOST_TEST(warp_collectives(product_cases<float>(), "product", wide) == 0u);
}
