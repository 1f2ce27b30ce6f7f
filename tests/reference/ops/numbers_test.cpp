// The value rule of every operation over every number type: duals against the hand-written gradient
// rule, double-doubles and rounded numbers against doubles within the error rule's bound.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/precision.h"
#include "tests/reference/ops/bench.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeeds[] = {41, 42, 43};

template <class Body>
void for_cases(Body&& body) {
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    for (const uint64_t seed : kSeeds) {
      BOOST_TEST_CONTEXT(op_case.what << ", seed " << seed) { body(op_case, bench, seed); }
    }
  }
}

template <class X, class Make>
std::vector<Field<X>> fields(const std::vector<Array>& operands, Make&& make) {
  std::vector<Field<X>> result;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    result.push_back(Field<X>::from(
        operands[i], [&](double x, int64_t element) { return make(i, element, x); }));
  }
  return result;
}

// Directions of the operands that are differentiable, zero for the others and for excluded scores.
std::vector<Array> directions(const OpCase& op_case, const std::vector<Array>& operands,
                              uint64_t seed) {
  std::vector<Array> result;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    Array v = random_array(operands[i].shape(), seed, fmt::format("v{}", i));
    for (int64_t e = 0; e < v.size(); ++e) {
      const bool moves =
          op_case.operands[i].kind != Kind::whole && std::isfinite(operands[i].data()[e]);
      if (!moves) v.data()[e] = 0;
    }
    result.push_back(std::move(v));
  }
  return result;
}

Field<Dual> push_forward(const Bench& bench, const std::vector<Array>& operands,
                         const std::vector<Array>& v) {
  const auto duals = fields<Dual>(operands, [&](std::size_t i, int64_t element, double x) {
    return Dual(x, v[i].data()[element]);
  });
  auto out = Field<Dual>::uninitialized(bench.result().shape);
  bench.op().tangent(duals, out);
  return out;
}

Array rounded_value(const Bench& bench, const std::vector<Array>& operands, const Rounding& rule) {
  const RoundingScope scope(rule);
  const auto numbers = fields<Rounded>(operands, [](std::size_t, int64_t, double x) {
    Rounded exact;
    exact.value = x;
    return exact;
  });
  auto out = Field<Rounded>::uninitialized(bench.result().shape);
  bench.op().rounded(numbers, out);
  return out.map([](Rounded x) { return x.value; });
}

// The worst-case bound of the operation's own rounding in arithmetic of this unit roundoff.
Array own_rounding(const Bench& bench, const std::vector<Array>& operands, double unit_roundoff) {
  const Array out = bench.value(operands);
  Array bound = Array::uninitialized(bench.result().shape);
  bench.op().error({ErrorNorm::worst, unit_roundoff}, operands, std::vector<Array>(operands.size()),
                   out, bound);
  return bound;
}

std::vector<Array> draw_floats(const Bench& bench, uint64_t seed) {
  std::vector<Array> operands = bench.draw(seed);
  for (Array& operand : operands) {
    for (double& x : operand.values()) x = static_cast<float>(x);
  }
  return operands;
}

// Random numbers of 32 bits add up exactly in doubles; their thirds do not.
std::vector<Array> draw_thirds(const OpCase& op_case, const Bench& bench, uint64_t seed) {
  std::vector<Array> operands = bench.draw(seed);
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (op_case.operands[i].kind == Kind::whole) continue;
    for (double& x : operands[i].values()) x /= 3;
  }
  return operands;
}

bool has_activation(const OpCase& op_case) {
  return op_case.operands[0].kind == Kind::real || op_case.operands.size() > 1;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(numbers)

BOOST_AUTO_TEST_CASE(tangent_carries_the_value_bit_for_bit) {
  for_cases([](const OpCase& op_case, const Bench& bench, uint64_t seed) {
    const std::vector<Array> operands = bench.draw(seed);
    const Field<Dual> pushed = push_forward(bench, operands, directions(op_case, operands, seed));
    const Array value = pushed.map([](Dual x) { return x.value; });
    BOOST_TEST(same_bits(value.values(), bench.value(operands).values()));
  });
}

// <y, J v> = <J^T y, v>: J v by differentiating the value rule itself, J^T y by the rule written by
// hand. Both are sums of the same terms in another order; 1e-12 is some hundred roundings of their
// norm.
BOOST_AUTO_TEST_CASE(gradient_rule_is_the_adjoint_of_the_value_rules_tangent) {
  int checked = 0;
  for_cases([&](const OpCase& op_case, const Bench& bench, uint64_t seed) {
    const std::vector<Array> operands = bench.draw(seed);
    const std::vector<Array> v = directions(op_case, operands, seed);
    const Field<Dual> jv = push_forward(bench, operands, v);
    const Array y = random_array(bench.result().shape, seed, "y");
    std::vector<Array> grads(operands.size());
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (op_case.operands[i].kind != Kind::whole) grads[i] = Array::zeros(operands[i].shape());
    }
    bench.op().gradient(operands, bench.value(operands), y, grads);
    double pushed = 0, pulled = 0, size = 0;
    for (int64_t i = 0; i < jv.size(); ++i) {
      const double term = y.data()[i] * jv.data()[i].tangent;
      pushed += term;
      size += std::fabs(term);
    }
    for (std::size_t i = 0; i < operands.size(); ++i) {
      for (int64_t e = 0; !grads[i].absent() && e < grads[i].size(); ++e) {
        pulled += grads[i].data()[e] * v[i].data()[e];
      }
    }
    BOOST_TEST(std::fabs(pushed - pulled) <= 1e-12 * size, pushed << " and " << pulled);
    if (has_activation(op_case) && !op_case.constant) BOOST_TEST(size > 0);
    ++checked;
  });
  BOOST_TEST(checked == static_cast<int>(3 * op_cases().size()));
}

// The double value differs from the double-double one by its own rounding, which the error rule
// bounds, and does differ wherever an operation computes.
BOOST_AUTO_TEST_CASE(extended_value_differs_by_the_rounding_of_doubles) {
  for_cases([](const OpCase& op_case, const Bench& bench, uint64_t seed) {
    const std::vector<Array> operands = draw_thirds(op_case, bench, seed);
    const Array value = bench.value(operands);
    const Array bound = own_rounding(bench, operands, 0x1p-53);
    const auto exact = fields<DoubleDouble>(
        operands, [](std::size_t, int64_t, double x) { return DoubleDouble(x); });
    auto out = Field<DoubleDouble>::uninitialized(bench.result().shape);
    bench.op().extended(exact, out);
    int64_t outside = 0, different = 0;
    for (int64_t i = 0; i < out.size(); ++i) {
      if (!std::isfinite(value.data()[i])) {
        outside += !(out.data()[i].hi == value.data()[i]);
        continue;
      }
      const double error = std::fabs((out.data()[i].hi - value.data()[i]) + out.data()[i].lo);
      outside += !(error <= bound.data()[i]);
      different += error > 0;
    }
    BOOST_TEST(outside == 0);
    BOOST_TEST((different > 0) == !op_case.moves_only);
  });
}

// The reference's products are chains of fused multiply-adds, and so are those of rounded numbers:
// without rounding both are one thing.
BOOST_AUTO_TEST_CASE(rounding_to_fp64_is_the_value_bit_for_bit) {
  for_cases([](const OpCase&, const Bench& bench, uint64_t seed) {
    const std::vector<Array> operands = bench.draw(seed);
    const Array rounded = rounded_value(bench, operands, Rounding{});
    BOOST_TEST(same_bits(rounded.values(), bench.value(operands).values()));
  });
}

// In fp32, to nearest and stochastically (where a rounding errs by a whole spacing, not half of
// one).
BOOST_AUTO_TEST_CASE(rounded_value_stays_within_the_error_rules_bound) {
  for_cases([](const OpCase& op_case, const Bench& bench, uint64_t seed) {
    const std::vector<Array> operands = draw_floats(bench, seed);
    const Array value = bench.value(operands);
    for (const bool stochastic : {false, true}) {
      const Array bound = own_rounding(bench, operands, stochastic ? 0x1p-23 : 0x1p-24);
      const Array rounded = rounded_value(
          bench, operands,
          {.accumulate = golden::Precision::fp32, .stochastic = stochastic, .seed = seed});
      int64_t outside = 0, narrow = 0, different = 0;
      for (int64_t i = 0; i < rounded.size(); ++i) {
        const double x = rounded.data()[i];
        narrow += x == value.data()[i] || static_cast<float>(x) == x;
        if (!std::isfinite(value.data()[i])) {
          outside += !(x == value.data()[i]);
          continue;
        }
        outside += !(std::fabs(x - value.data()[i]) <= bound.data()[i]);
        different += x != value.data()[i];
      }
      BOOST_TEST(outside == 0, outside << " outside, stochastic " << stochastic);
      BOOST_TEST(narrow == rounded.size());
      BOOST_TEST((different > 0) == !op_case.moves_only);
    }
  });
}

BOOST_AUTO_TEST_CASE(stochastic_rounding_is_a_function_of_the_seed) {
  for_cases([](const OpCase& op_case, const Bench& bench, uint64_t seed) {
    const std::vector<Array> operands = draw_floats(bench, seed);
    const auto run = [&](uint64_t draw) {
      return rounded_value(
          bench, operands,
          {.accumulate = golden::Precision::bf16, .stochastic = true, .seed = draw});
    };
    const Array first = run(1), again = run(1), other = run(2);
    BOOST_TEST(same_bits(first.values(), again.values()));
    // A single number may round the same way twice.
    if (!op_case.moves_only && first.size() > 1) {
      BOOST_TEST(!same_bits(first.values(), other.values()));
    }
  });
}

// Moving data costs nothing; computing costs at least one operation per element of the result.
BOOST_AUTO_TEST_CASE(every_operation_states_its_cost) {
  for (const OpCase& op_case : op_cases()) {
    BOOST_TEST_CONTEXT(op_case.what) {
      const Bench bench(op_case);
      std::vector<Operand> operands;
      for (const OperandCase& operand : op_case.operands) {
        operands.push_back({operand.shape, operand.axes});
      }
      const double flops = bench.op().flops(operands, bench.result());
      const auto elements = static_cast<double>(golden::element_count(bench.result().shape));
      BOOST_TEST((op_case.moves_only ? flops == 0 : flops >= elements), flops);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
