// The error rules of operations that bend, where errors are far beyond first order, and where
// values and squares underflow. Operands are moved to corners of the box of allowed errors; the
// moved value has to stay within the bound, which may not be 0.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "golden/contract/precision.h"
#include "reference/graph/graph.h"
#include "reference/graph/op.h"
#include "reference/ops/exponential.h"
#include "reference/ops/gelu.h"
#include "reference/ops/layer_norm.h"
#include "reference/ops/rms_norm.h"
#include "reference/ops/rope.h"
#include "reference/ops/rules.h"
#include "reference/ops/softmax.h"
#include "reference/ops/swiglu.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

using Values = std::vector<double>;

// y = op(x, parameters) of one row x of D values, and its errors for errors of x alone.
class OneRow {
 public:
  using Make = Node (*)(Graph& graph, Node x);

  OneRow(Make op, std::vector<Values> parameters, bool second_is_row = false)
      : make_(op), parameters_(std::move(parameters)), second_is_row_(second_is_row) {}

  Values value(const Values& x) const {
    Graph graph;
    const Node y = make(graph, x.size());
    Array out = Array::uninitialized(y.data().shape());
    y.data().op->value(operands(x), out);
    return {out.values().begin(), out.values().end()};
  }

  Values error(const ErrorModel& model, const Values& x, const Values& e) const {
    Graph graph;
    const Node y = make(graph, x.size());
    const std::vector<Array> in = operands(x);
    Array out = Array::uninitialized(y.data().shape());
    Array error = Array::uninitialized(y.data().shape());
    y.data().op->value(in, out);
    std::vector<Array> errors(in.size());
    errors[0] = Array::copy_of(in[0].shape(), e);
    y.data().op->error(model, in, errors, out, error);
    return {error.values().begin(), error.values().end()};
  }

 private:
  Node make(Graph& graph, std::size_t size) const {
    return make_(graph, graph.input("x", {1, 1, static_cast<int64_t>(size)}, "BTD"));
  }
  std::vector<Array> operands(const Values& x) const {
    const auto size = static_cast<int64_t>(x.size());
    std::vector<Array> list{Array::copy_of({1, 1, size}, x)};
    for (const Values& p : parameters_) {
      list.push_back(Array::copy_of(second_is_row_ ? Shape{1, 1, size} : Shape{size}, p));
    }
    return list;
  }

  Make make_;
  std::vector<Values> parameters_;
  bool second_is_row_;
};

struct Far {
  const char* what;
  OneRow op;
  Values x;
};

// The rows are what trained models have: one score far above the others, values in the tails of an
// activation, a mean far beyond the spread.
std::vector<Far> far_cases() {
  const Values ones(6, 1.0), zeros(6, 0.0), peaked{40, 38.5, -20, 0, 12, -300};
  const Values tails{-90, -12, -2.4, -1.3, 0.5, 30}, shifted{100.5, 99, 101, 100, 100.25, 98.5};
  const auto softmax_of = [](Graph&, Node x) { return softmax(x); };
  const auto exponential_of = [](Graph&, Node x) { return exponential(x, -1.5, 0.5); };
  const auto gelu_exact = [](Graph&, Node x) { return gelu(x, Gelu::exact); };
  const auto gelu_tanh = [](Graph&, Node x) { return gelu(x, Gelu::tanh); };
  const auto gate = [](Graph& graph, Node x) {
    return swiglu(x, graph.input("up", {1, 1, 6}, "BTD"));
  };
  const auto norm = [](Graph& graph, Node x) {
    return rms_norm(x, graph.weight("gain", {6}), 1e-5);
  };
  const auto centred = [](Graph& graph, Node x) {
    return layer_norm(x, graph.weight("gain", {6}), graph.weight("bias", {6}), 1e-5);
  };
  return {{"softmax", {softmax_of, {}}, peaked},
          {"exponential", {exponential_of, {}}, tails},
          {"gelu", {gelu_exact, {}}, tails},
          {"gelu_tanh", {gelu_tanh, {}}, tails},
          {"swiglu", {gate, {ones}, true}, tails},
          {"rms_norm", {norm, {ones}}, peaked},
          {"layer_norm", {centred, {ones, zeros}}, shifted}};
}

// Counts the elements of y that some corner of x +- e moves beyond the bound, give or take the
// rounding of the corner and of y in double.
int64_t outside_at_corners(const Far& far, const Values& e, const Values& bound) {
  const Values y = far.op.value(far.x);
  int64_t outside = 0;
  for (int corner = 0; corner < 64; ++corner) {
    Values moved = far.x;
    for (std::size_t d = 0; d < moved.size(); ++d)
      moved[d] += (corner >> d & 1) != 0 ? e[d] : -e[d];
    const Values got = far.op.value(moved);
    for (std::size_t d = 0; d < y.size(); ++d) {
      outside += !(std::fabs(got[d] - y[d]) <= bound[d] * (1 + 1e-12) + 1e-13 * std::fabs(y[d]));
    }
  }
  return outside;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(far_errors)

BOOST_AUTO_TEST_CASE(worst_bounds_hold_for_errors_of_every_size) {
  for (const Far& far : far_cases()) {
    for (const double size : {1e-3, 0.1, 1.0, 5.0, 30.0}) {
      const Values e(far.x.size(), size);
      const Values bound = far.op.error({ErrorNorm::worst, 0}, far.x, e);
      BOOST_TEST(outside_at_corners(far, e, bound) == 0, far.what << ", errors " << size);
    }
  }
}

// What a report bounds is k deviations: a single operand that is k deviations off has to stay
// within k times the result's. A slope times a deviation does not: exp(k e) - 1 against k e.
BOOST_AUTO_TEST_CASE(deviations_hold_as_far_as_they_reach) {
  constexpr double kReach = 14;
  for (const Far& far : far_cases()) {
    for (const double size : {1e-3, 0.05, 0.5, 3.0}) {
      for (std::size_t only = 0; only < far.x.size(); ++only) {
        Values e(far.x.size(), size / 1024);
        e[only] = size;
        Values bound = far.op.error({ErrorNorm::deviation, 0, std::nullopt, kReach}, far.x, e);
        for (double& b : bound) b *= kReach;
        Values alone(far.x.size(), 0.0);
        alone[only] = kReach * size;
        BOOST_TEST(outside_at_corners(far, alone, bound) == 0,
                   far.what << ", deviation " << size << " of element " << only);
      }
    }
  }
}

// What torch.nn.functional.gelu of PyTorch 2.15 gives for floats on a CPU, where it is worst.
BOOST_AUTO_TEST_CASE(gelu_of_pytorch_in_float) {
  const OneRow op([](Graph&, Node x) { return gelu(x, Gelu::exact); }, {});
  const Values x{-0x1.bd37d6p+1, -0x1.39d428p+1, 0x1.7f2ff6p+1, 0x1.befe64p+1};
  const Values got{-0.0008788330596871674, -0.017425628378987312, 2.9895238876342773,
                   3.491302967071533};
  const double unit = golden::unit_roundoff(golden::Precision::fp32);
  const Values due = op.value(x);
  const Values bound = op.error({ErrorNorm::worst, unit}, x, Values(x.size(), 0.0));
  for (std::size_t i = 0; i < x.size(); ++i) {
    BOOST_TEST(std::fabs(got[i] - due[i]) <= bound[i], "gelu(" << x[i] << ")");
    BOOST_TEST(bound[i] < 3 * std::fabs(got[0] - due[0]));
  }
}

// Eager in fp16 with gates of odd multiples of 2^-24, whose halves it does not hold: silu is off by
// half a subnormal, of a gate of 21 by 5 %, which no relative error covers.
BOOST_AUTO_TEST_CASE(eager_silu_underflows) {
  const OneRow op(
      [](Graph& graph, Node x) {
        return swiglu(x, graph.input("up", {1, 1, 4}, "BTD"));
      },
      {{0.75, -3, 1, 100}}, true);
  const Values up{0.75, -3, 1, 100};
  const Values gate{-21 * 0x1p-24, 21 * 0x1p-24, -3 * 0x1p-24, 0x1p-24};
  const golden::Precision half = golden::Precision::fp16;
  ErrorModel model{.unit_roundoff = golden::unit_roundoff(golden::Precision::fp32),
                   .eager_roundoff = golden::unit_roundoff(half),
                   .eager_least = golden::smallest(half) / 2};
  const Values due = op.value(gate);
  const Values bound = op.error(model, gate, Values(4, 0.0));
  model.eager_least = 0;
  const Values relative = op.error(model, gate, Values(4, 0.0));
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double sigmoid = golden::round_to(half, 1 / (1 + std::exp(-gate[i])));
    const double got = golden::round_to(half, gate[i] * sigmoid) * up[i];
    BOOST_TEST(std::fabs(got - due[i]) <= bound[i], "gate " << gate[i]);
    BOOST_TEST(std::fabs(got - due[i]) > relative[i], "gate " << gate[i]);
  }
}

// Eager with a sigmoid of three operations, as JAX has it, each rounded: more than a sigmoid that
// is rounded once, and in fp16 nothing is left of one whose exponential overflows.
BOOST_AUTO_TEST_CASE(eager_silu_in_steps) {
  const OneRow op(
      [](Graph& graph, Node x) {
        return swiglu(x, graph.input("up", {1, 1, 4}, "BTD"));
      },
      {{1, 1, 1, 1}}, true);
  for (const golden::Precision storage : {golden::Precision::bf16, golden::Precision::fp16}) {
    const double unit = golden::unit_roundoff(storage);
    const ErrorModel model{.unit_roundoff = golden::unit_roundoff(golden::Precision::fp32),
                           .eager_roundoff = unit,
                           .eager_least = golden::smallest(storage) / 2,
                           .eager_most = golden::largest(storage)};
    const auto round = [&](double x) { return golden::round_to(storage, x); };
    double most_units = 0;
    for (double gate = -14; gate < 14; gate += 0.03125) {
      const Values x(4, round(gate));
      const double got = round(x[0] * round(1 / round(1 + round(std::exp(-x[0])))));
      const double due = op.value(x)[0], error = std::fabs(got - due);
      BOOST_TEST(error <= op.error(model, x, Values(4, 0.0))[0], "gate " << gate);
      if (due != 0) most_units = std::max(most_units, error / (unit * std::fabs(due)));
    }
    BOOST_TEST(most_units > 2);  // a sigmoid that is rounded once, and its product
  }
}

// exp(-350) = 1e-152: its square underflows, and so does that of its error.
BOOST_AUTO_TEST_CASE(probabilities_whose_squares_underflow_have_an_error) {
  const OneRow op([](Graph&, Node x) { return softmax(x); }, {});
  const Values x{0, -350, -700, -744, -760};
  for (const ErrorNorm norm : {ErrorNorm::worst, ErrorNorm::deviation}) {
    const double unit = golden::unit_roundoff(golden::Precision::fp64);
    const double least = golden::smallest_normal(golden::Precision::fp64);
    const Values p = op.value(x);
    const Values e =
        op.error({.norm = norm, .unit_roundoff = unit, .least = least}, x, Values(5, 1e-12));
    for (std::size_t s = 1; s < x.size(); ++s) BOOST_TEST(e[s] >= 1e-12 * p[s]);
    for (std::size_t s = 1; s < x.size(); ++s) BOOST_TEST(e[s] >= least);
    BOOST_TEST(e[1] <= 1e-11 * p[1]);
  }
}

// All others together have 4e-18: an error of the scores cannot move the largest by more.
BOOST_AUTO_TEST_CASE(a_sure_probability_moves_by_what_the_others_can) {
  const OneRow op([](Graph&, Node x) { return softmax(x); }, {});
  const Values e = op.error({ErrorNorm::worst, 0}, {0, -41, -41}, Values(3, 0.25));
  BOOST_TEST(e[0] <= 1e-17);
  BOOST_TEST(e[0] > 0);
}

// Frequencies by a power in float and angles t f in float, as Hugging Face transformers forms them:
// off by 1e-4 of a turn at position 4000.
BOOST_AUTO_TEST_CASE(angles_in_float_stay_within_their_bound) {
  constexpr int64_t kPositions = 4000, kSize = 8;
  const Array x = random_array({1, 1, kPositions, kSize}, 31, "x");
  Graph graph;
  const Node y = rope(graph.input("x", x.shape(), "BHTD"), 10000, std::nullopt);
  Array out = Array::uninitialized(x.shape()), bound = Array::uninitialized(x.shape());
  y.data().op->value(std::vector<Array>{x}, out);
  const auto bounds_for = [&](double angle_roundoff) {
    const ErrorModel model{.norm = ErrorNorm::worst, .angle_roundoff = angle_roundoff};
    y.data().op->error(model, std::vector<Array>{x}, std::vector<Array>(1), out, bound);
  };
  const auto outside = [&] {
    int64_t count = 0;
    for (int64_t t = 0; t < kPositions; ++t) {
      for (int64_t i = 0; i < kSize / 2; ++i) {
        const float exponent = 2.0F * static_cast<float>(i) / static_cast<float>(kSize);
        const float angle = static_cast<float>(t) * (1.0F / std::pow(10000.0F, exponent));
        const double c = std::cos(double{angle}), s = std::sin(double{angle});
        const int64_t first = t * kSize + i, second = first + kSize / 2;
        const double x1 = x.data()[first], x2 = x.data()[second];
        const auto far = [&](double got, int64_t at) {
          return !(std::fabs(got - out.data()[at]) <= bound.data()[at] + 1e-11);
        };
        count += far(x1 * c - x2 * s, first) + far(x2 * c + x1 * s, second);
      }
    }
    return count;
  };
  bounds_for(0x1p-24);
  BOOST_TEST(outside() == 0);
  double widest = 0;
  for (const double b : bound.values()) widest = std::fmax(widest, b);
  BOOST_TEST(widest < 4000 * 6 * 0x1p-24);
  bounds_for(0x1p-53);
  BOOST_TEST(outside() > 1000);
}

BOOST_AUTO_TEST_CASE(roots_of_summed_squares_have_no_range) {
  for (const double scale : {1e-320, 1e-200, 1.0, 1e200, 1e307}) {
    BOOST_TEST(root_sum_square(3 * scale, 4 * scale) == 5 * scale,
               boost::test_tools::tolerance(scale < 1e-310 ? 1e-3 : 1e-15));
  }
  BOOST_TEST(root_sum_square(1e-200, 1) == 1.0);
  BOOST_TEST(root_sum_square(1e200, 1) == 1e200);
  BOOST_TEST(std::isnan(root_sum_square(std::nan(""), 1)));
  BOOST_TEST(std::isinf(root_sum_square(INFINITY, 1e-300)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
