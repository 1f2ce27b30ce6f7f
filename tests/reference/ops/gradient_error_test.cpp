// Errors carried backwards through every operation: against gradients of drawn operands.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <vector>

#include "tests/reference/ops/bench.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

using Errors = Field<Uncertain>;

constexpr double kRelative = 1e-6;  // deviation of every number
constexpr int kRuns = 200;

Errors uncertain(const Array& x, double relative) {
  return Errors::from(x, [relative](double value, int64_t) {
    const double deviation = std::isfinite(value) ? relative * std::fabs(value) : 0;
    return Uncertain(value, deviation * deviation);
  });
}

// Every number off by a draw of that deviation.
Array drawn(const Array& x, double relative, uint64_t seed, const std::string& stream) {
  const Array u = random_array(x.shape(), seed, stream);  // in (-1, 1): variance 1/3
  Array moved = Array::copy_of(x.shape(), x.values());
  for (int64_t i = 0; i < x.size(); ++i) {
    if (std::isfinite(x.data()[i])) {
      moved.data()[i] += std::sqrt(3.0) * relative * std::fabs(x.data()[i]) * u.data()[i];
    }
  }
  return moved;
}

bool is_real(const OperandCase& operand) { return operand.kind != Kind::whole; }

// The gradients' rule on one set of values, in either number type.
template <class A, class Zeros, class Rule>
std::vector<A> pulled(const OpCase& op_case, Zeros&& zeros, Rule&& rule) {
  std::vector<A> grads(op_case.operands.size());
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (is_real(op_case.operands[i])) grads[i] = zeros(i);
  }
  rule(grads);
  return grads;
}

double relative_of(const OpCase& op_case, std::size_t operand) {
  return is_real(op_case.operands[operand]) ? kRelative : 0;
}

std::vector<Errors> analysed(const OpCase& op_case, const Bench& bench,
                             const std::vector<Array>& operands, const Array& y) {
  const ErrorModel exact{.norm = ErrorNorm::deviation};  // no roundings of its own
  const UncertainScope scope(rule_of(exact));
  std::vector<Errors> in;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    in.push_back(uncertain(operands[i], relative_of(op_case, i)));
  }
  return pulled<Errors>(
      op_case, [&](std::size_t i) { return Errors::zeros(operands[i].shape()); },
      [&](std::vector<Errors>& grads) {
        bench.op().gradient_error(in, uncertain(bench.value(operands), kRelative),
                                  uncertain(y, kRelative), grads);
      });
}

// Mean square of what the draws move each operand's gradient by, all its elements together.
std::vector<double> sampled(const OpCase& op_case, const Bench& bench,
                            const std::vector<Array>& operands, const Array& y) {
  const auto run = [&](uint64_t seed) {
    const double relative = seed == 0 ? 0 : kRelative;
    std::vector<Array> in;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const double own = seed == 0 ? 0 : relative_of(op_case, i);
      in.push_back(drawn(operands[i], own, seed, "operand " + std::to_string(i)));
    }
    const Array out = drawn(bench.value(operands), relative, seed, "out");
    return pulled<Array>(
        op_case, [&](std::size_t i) { return Array::zeros(operands[i].shape()); },
        [&](std::vector<Array>& grads) {
          bench.op().gradient(in, out, drawn(y, relative, seed, "y"), grads);
        });
  };
  const std::vector<Array> clean = run(0);
  std::vector<double> squares(operands.size());
  for (uint64_t seed = 1; seed <= kRuns; ++seed) {
    const std::vector<Array> moved = run(seed);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      for (int64_t e = 0; e < moved[i].size(); ++e) {
        squares[i] += std::pow(moved[i].data()[e] - clean[i].data()[e], 2) / kRuns;
      }
    }
  }
  return squares;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradient_error)

// Numbers that a rule reads twice have one error in both places, which analysis counts as two: by
// that it may be off in either direction.
BOOST_AUTO_TEST_CASE(deviations_are_those_of_drawn_operands) {
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    BOOST_TEST_CONTEXT(op_case.what) {
      const std::vector<Array> operands = bench.draw(21);
      const Array y = random_array(bench.result().shape, 21, "y");
      const std::vector<Errors> errors = analysed(op_case, bench, operands, y);
      const std::vector<double> squares = sampled(op_case, bench, operands, y);
      for (std::size_t i = 0; i < operands.size(); ++i) {
        if (errors[i].absent()) continue;
        double sum = 0;
        for (int64_t e = 0; e < errors[i].size(); ++e) sum += errors[i].data()[e].variance;
        BOOST_TEST(squares[i] <= 1.5 * sum, "operand " << i << ": " << squares[i] << ", " << sum);
        BOOST_TEST(sum <= 12 * squares[i], "operand " << i << ": " << squares[i] << ", " << sum);
      }
    }
  }
}

// The values beside the errors are those of the rule in double.
BOOST_AUTO_TEST_CASE(values_are_the_gradients) {
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    BOOST_TEST_CONTEXT(op_case.what) {
      const std::vector<Array> operands = bench.draw(22);
      const Array y = random_array(bench.result().shape, 22, "y");
      const std::vector<Errors> errors = analysed(op_case, bench, operands, y);
      const std::vector<Array> grads = pulled<Array>(
          op_case, [&](std::size_t i) { return Array::zeros(operands[i].shape()); },
          [&](std::vector<Array>& all) {
            bench.op().gradient(operands, bench.value(operands), y, all);
          });
      for (std::size_t i = 0; i < operands.size(); ++i) {
        for (int64_t e = 0; e < grads[i].size(); ++e) {
          const double due = grads[i].data()[e], got = errors[i].data()[e].value;
          BOOST_TEST(std::fabs(got - due) <= 1e-13 * (1 + std::fabs(due)));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
