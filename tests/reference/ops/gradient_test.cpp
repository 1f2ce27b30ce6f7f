// Gradients of every operation: against central differences element by element, and by the adjoint
// identity <y, J v> = <J^T y, v>, in which a wrong transpose, sign or factor does not cancel.
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>

#include "tests/reference/ops/bench.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeeds[] = {11, 12, 13};

bool differentiable(const OperandCase& operand) { return operand.kind != Kind::whole; }

// Differences of order h^4 with h = 2^-9 leave h^4/30 f^(5) + 2^-52/h, about 1e-12; where the
// operation is quadratic they are exact and h = 1 leaves rounding only.
struct Accuracy {
  double step, tolerance;
};
Accuracy accuracy(const OpCase& op_case) {
  return op_case.quadratic ? Accuracy{1.0, 1e-12} : Accuracy{0x1p-9, 1e-9};
}

// Fourth-order difference quotient at 0 of an array-valued function of one number. Elements that
// are not finite (scores that are not allowed) are constant.
std::vector<double> slope(const std::function<Array(double)>& f, double h) {
  const Array far = f(2 * h), near = f(h), back = f(-h), far_back = f(-2 * h);
  std::vector<double> result;
  for (int64_t i = 0; i < near.size(); ++i) {
    const bool finite = std::isfinite(near.data()[i]);
    result.push_back(
        !finite ? 0.0
                : (8 * (near.data()[i] - back.data()[i]) - (far.data()[i] - far_back.data()[i])) /
                      (12 * h));
  }
  return result;
}

double inner(std::span<const double> x, std::span<const double> y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

// J^T y for the operands for which `wanted` holds; absent for the others.
std::vector<Array> pull_back(const OpCase& op_case, const Bench& bench,
                             const std::vector<Array>& operands, const Array& y,
                             const std::function<bool(std::size_t)>& wanted) {
  std::vector<Array> grads(operands.size());
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (differentiable(op_case.operands[i]) && wanted(i)) {
      grads[i] = Array::zeros(operands[i].shape());
    }
  }
  bench.op().gradient(operands, bench.value(operands), y, grads);
  return grads;
}

bool all(std::size_t) { return true; }

// Runs body(case, bench, operands, y) for every operation and seed.
void for_cases(const std::function<void(const OpCase&, const Bench&, const std::vector<Array>&,
                                        const Array&)>& body) {
  for (const OpCase& op_case : op_cases()) {
    if (std::none_of(op_case.operands.begin(), op_case.operands.end(), differentiable)) continue;
    const Bench bench(op_case);
    for (const uint64_t seed : kSeeds) {
      BOOST_TEST_CONTEXT(op_case.what << ", seed " << seed) {
        body(op_case, bench, bench.draw(seed), random_array(bench.result().shape, seed, "y"));
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradient)

BOOST_AUTO_TEST_CASE(each_element_agrees_with_central_differences) {
  for_cases([](const OpCase& op_case, const Bench& bench, const std::vector<Array>& operands,
               const Array& y) {
    if (op_case.constant) return;
    const auto [step, tolerance] = accuracy(op_case);
    const std::vector<Array> grads = pull_back(op_case, bench, operands, y, all);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!differentiable(op_case.operands[i])) continue;
      std::vector<double> expected;
      for (int64_t element = 0; element < operands[i].size(); ++element) {
        const auto moved = [&](double by) {
          std::vector<Array> at = operands;
          at[i] = copy(at[i]);
          at[i].data()[element] += by;
          return bench.value(at);
        };
        expected.push_back(inner(y.values(), slope(moved, step)));
      }
      BOOST_TEST(relative_error(grads[i].values(), expected) <= tolerance, "operand " << i);
    }
  });
}

BOOST_AUTO_TEST_CASE(pull_back_is_the_adjoint_of_the_differential) {
  for_cases([](const OpCase& op_case, const Bench& bench, const std::vector<Array>& operands,
               const Array& y) {
    if (op_case.constant) return;
    const auto [step, tolerance] = accuracy(op_case);
    std::vector<Array> v;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      v.push_back(differentiable(op_case.operands[i])
                      ? random_array(operands[i].shape(), 17, fmt::format("v{}", i))
                      : Array::zeros(operands[i].shape()));
    }
    const auto moved = [&](double by) {
      std::vector<Array> at = operands;
      for (std::size_t i = 0; i < at.size(); ++i) {
        at[i] = copy(at[i]);
        for (int64_t e = 0; e < at[i].size(); ++e) at[i].data()[e] += by * v[i].data()[e];
      }
      return bench.value(at);
    };
    const std::vector<double> jv = slope(moved, step);
    const std::vector<Array> grads = pull_back(op_case, bench, operands, y, all);
    double pulled = 0;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!grads[i].absent()) pulled += inner(grads[i].values(), v[i].values());
    }
    const double pushed = inner(y.values(), jv);
    const double scale = std::sqrt(inner(y.values(), y.values()) * inner(jv, jv));
    BOOST_TEST(scale > 0);
    BOOST_TEST(std::fabs(pushed - pulled) <= tolerance * scale, pushed << " and " << pulled);
  });
}

// The reverse pass relies on both: several readers add into one gradient, and a gradient that
// nobody wants is not computed.
BOOST_AUTO_TEST_CASE(gradients_are_added_and_each_operand_stands_alone) {
  for_cases([](const OpCase& op_case, const Bench& bench, const std::vector<Array>& operands,
               const Array& y) {
    const std::vector<Array> grads = pull_back(op_case, bench, operands, y, all);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!differentiable(op_case.operands[i])) continue;
      const auto only_this = [&](std::size_t operand) { return operand == i; };
      const std::vector<Array> alone = pull_back(op_case, bench, operands, y, only_this);
      BOOST_TEST(same_bits(alone[i].values(), grads[i].values()));

      std::vector<Array> onto(operands.size());
      onto[i] = Array::zeros(operands[i].shape());
      std::fill(onto[i].values().begin(), onto[i].values().end(), 3.0);
      bench.op().gradient(operands, bench.value(operands), y, onto);
      for (double& value : onto[i].values()) value -= 3.0;
      BOOST_TEST(relative_error(onto[i].values(), grads[i].values()) <= 1e-12, "operand " << i);
    }
  });
}

// The reverse pass frees what a rule does not claim to read.
BOOST_AUTO_TEST_CASE(rules_read_no_values_but_those_they_name) {
  for_cases([](const OpCase& op_case, const Bench& bench, const std::vector<Array>& operands,
               const Array& y) {
    const std::vector<Array> grads = pull_back(op_case, bench, operands, y, all);
    std::vector<Array> read = operands, again(operands.size());
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!bench.op().gradient_reads(i)) read[i] = Array::shape_only(operands[i].shape());
      if (!grads[i].absent()) again[i] = Array::zeros(operands[i].shape());
    }
    const Array out =
        bench.op().gradient_reads_result() ? bench.value(operands) : Array::shape_only(y.shape());
    bench.op().gradient(read, out, y, again);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!grads[i].absent()) BOOST_TEST(same_bits(again[i].values(), grads[i].values()));
    }
  });
}

// A constant by definition: nothing comes back and nothing goes on, though the value follows.
BOOST_AUTO_TEST_CASE(a_detached_value_has_neither_gradient_nor_tangent) {
  int detached = 0;
  for_cases([&](const OpCase& op_case, const Bench& bench, const std::vector<Array>& operands,
                const Array& y) {
    if (!op_case.constant) return;
    ++detached;
    for (const Array& grad : pull_back(op_case, bench, operands, y, all)) {
      for (const double g : grad.values()) BOOST_TEST(g == 0.0);
    }
    std::vector<Field<Dual>> moving;
    for (const Array& operand : operands) {
      moving.push_back(Field<Dual>::from(operand, [](double x, int64_t) { return Dual(x, 1.0); }));
    }
    auto out = Field<Dual>::uninitialized(bench.result().shape);
    bench.op().tangent(moving, out);
    const Array value = bench.value(operands);
    for (int64_t i = 0; i < out.size(); ++i) {
      BOOST_TEST(out.data()[i].value == value.data()[i]);
      BOOST_TEST(out.data()[i].tangent == 0.0);
    }
  });
  BOOST_TEST(detached > 0);
}

BOOST_AUTO_TEST_CASE(whole_numbers_are_not_differentiable) {
  int refused = 0;
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    for (std::size_t i = 0; i < op_case.operands.size(); ++i) {
      if (differentiable(op_case.operands[i])) continue;
      const std::vector<Array> operands = bench.draw(14);
      std::vector<Array> grads(operands.size());
      grads[i] = Array::zeros(operands[i].shape());
      const Array out = bench.value(operands);
      const Array y = random_array(bench.result().shape, 14, "y");
      BOOST_CHECK_EXCEPTION(bench.op().gradient(operands, out, y, grads), NotDifferentiable,
                            [&](const NotDifferentiable& e) {
                              return std::string(e.what()).starts_with(bench.op().name() + ": ");
                            });
      ++refused;
    }
  }
  BOOST_TEST(refused == 14);  // tokens, labels twice, attention_mask eleven times
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
