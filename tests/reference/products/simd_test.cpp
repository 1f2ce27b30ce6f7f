// The choice of an instruction set.
#include "reference/products/simd.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

#include "reference/products/products.h"

namespace assay::reference::products_test {

BOOST_AUTO_TEST_SUITE(simd)

BOOST_AUTO_TEST_CASE(scalar_is_available_everywhere) {
  BOOST_TEST(simd_available(Simd::scalar));
  BOOST_TEST((parse_simd("scalar") == Simd::scalar));
}

// CMakeLists.txt runs this program with ASSAY_SIMD=scalar, which no x86 with AVX2 would choose.
BOOST_AUTO_TEST_CASE(the_environment_variable_decides) {
  const char* name = std::getenv("ASSAY_SIMD");
  BOOST_TEST_REQUIRE(name != nullptr);
  BOOST_TEST(simd_name() == std::string(name));
}

BOOST_AUTO_TEST_CASE(an_unknown_name_is_an_error_that_lists_the_known_ones) {
  BOOST_CHECK_EXCEPTION(
      parse_simd("sse9"), std::invalid_argument, [](const std::invalid_argument& error) {
        return error.what() == std::string(
                                   "ASSAY_SIMD=sse9: no such instruction set: expected "
                                   "avx512, avx2 or scalar");
      });
}

BOOST_AUTO_TEST_CASE(an_instruction_set_the_cpu_lacks_is_an_error) {
  for (const auto& [simd, name] : {std::pair{Simd::avx2, "avx2"}, {Simd::avx512, "avx512"}}) {
    if (simd_available(simd)) {
      BOOST_TEST((parse_simd(name) == simd));
    } else {
      BOOST_CHECK_THROW(parse_simd(name), std::invalid_argument);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_selected_one_is_the_one_that_is_named) {
  const Simd before = active_simd();
  select_simd(Simd::scalar);
  BOOST_TEST(simd_name() == std::string("scalar"));
  select_simd(before);
  BOOST_TEST(!blas_core_name().empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::products_test
