// Which variant attention_backward() takes.
#include "cuda_impl/kernels/attention/attention_backward_variants.h"

#include <boost/test/unit_test.hpp>

#include "attention_backward_problem.h"

using namespace assay::kernel_test;
using namespace assay::kernel_test::attention_backward;
using assay::simt::bf16;
using assay::simt::f16;

namespace {

// asks_coefficients: for their gradient too.
template <class S>
Values run(const Shape& shape, bool asks_coefficients, Differentiate<S> differentiate) {
  const OnDevice<S> g(Problem<S>(shape, !asks_coefficients));
  g.run(differentiate);
  return g.outputs();
}

// The bits tell: on tensor cores P and dS are rounded.
template <class S>
void check_takes(bool tensor_cores, const Shape& shape, bool asks_coefficients = false) {
  BOOST_TEST_CONTEXT(shape.text() << " asks for coefficients: " << asks_coefficients) {
    const Values taken = run<S>(shape, asks_coefficients, assay::cuda::attention_backward<S>);
    const Values tiled = run<S>(shape, asks_coefficients, assay::cuda::attention_backward_tiled<S>);
    BOOST_TEST(same_bits(taken, tiled) == !tensor_cores);
    if (!tensor_cores) return;
    if constexpr (assay::cuda::kHasMma<S>) {
      BOOST_TEST(same_bits(
          taken, run<S>(shape, asks_coefficients, assay::cuda::attention_backward_mma<S>)));
    }
  }
}

}  // namespace

// By type and shape, whatever T; and where a gradient with respect to the coefficients is asked
// for, not.
BOOST_AUTO_TEST_CASE(tensor_cores_are_taken_wherever_they_can_be) {
  const Shape ordinary{2, 9, 4, 2, 16, 1, "left"};
  check_takes<bf16>(true, ordinary);
  check_takes<f16>(true, ordinary);
  check_takes<bf16>(true, {1, 70, 2, 1, 32, 1, "none"});
  check_takes<bf16>(true, {1, 5, 2, 1, 64, 1, "holes", true});
  check_takes<bf16>(true, {1, 5, 2, 1, 128, 1, "none", false, "batch", 3, 1});
  check_takes<float>(false, ordinary);
  check_takes<double>(false, ordinary);
  check_takes<bf16>(false, ordinary, true);
  check_takes<bf16>(false, {2, 9, 4, 2, 20, 1, "left"});
  check_takes<bf16>(false, {2, 9, 4, 2, 16, 2, "left"});
  check_takes<f16>(false, {2, 9, 4, 2, 16, 1, "left", false, "element"});
}

BOOST_AUTO_TEST_CASE(tensor_cores_refuse_what_they_have_no_tile_for) {
  const auto refused = [](const Shape& shape, bool asks_coefficients) {
    BOOST_CHECK_EXCEPTION(
        run<bf16>(shape, asks_coefficients, assay::cuda::attention_backward_mma<bf16>), simt::Error,
        [](const simt::Error& error) {
          return error.what() ==
                 std::string(
                     "attention_backward_mma: scores: expected one layer of head size 16, 32, 64 "
                     "or 128, no offset, a coefficient by neither query nor key and no gradient "
                     "with respect to "
                     "it");
        });
  };
  refused({1, 3, 1, 1, 16, 1, "none"}, true);
  refused({1, 3, 1, 1, 20, 1, "none"}, false);
  refused({1, 3, 1, 1, 16, 2, "none"}, false);
  refused({1, 3, 1, 1, 16, 1, "none", false, "element"}, false);
}
