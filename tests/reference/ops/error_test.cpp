// The error rule of every operation against simulated errors. Two sources are looked at apart: what
// comes in with the operands (no rounding of its own: unit roundoff 0), and what float arithmetic
// adds to exact operands. In both a bound must hold for every element, and may not be so wide that
// it says nothing.
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/precision.h"
#include "reference/ops/linear.h"
#include "tests/reference/ops/bench.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeeds[] = {21, 22, 23};
constexpr int kTrials = 400;
constexpr double kMostLoose = 1000;  // bound / largest observed error
// The differences are formed in double: their own rounding, relative to the largest result.
constexpr double kDoubleRounding = 1e-14;

Array bound_of(const Bench& bench, const ErrorModel& model, const std::vector<Array>& operands,
               const std::vector<Array>& errors) {
  const Array out = bench.value(operands);
  Array bound = Array::uninitialized(bench.result().shape);
  bench.op().error(model, operands, errors, out, bound);
  return bound;
}

// Bounds (or deviations) of the operands' errors, different in every element and 0 in some.
std::vector<Array> operand_errors(const OpCase& op_case, uint64_t seed) {
  std::vector<Array> errors;
  for (std::size_t i = 0; i < op_case.operands.size(); ++i) {
    const OperandCase& operand = op_case.operands[i];
    errors.emplace_back();
    if (operand.kind == Kind::whole) continue;
    errors.back() = random_array(operand.shape, seed, fmt::format("error {}", i));
    for (double& e : errors.back().values()) e = std::fmax(0.0, e) * 0x1p-10;
  }
  return errors;
}

bool has_errors(const std::vector<Array>& errors) {
  return std::any_of(errors.begin(), errors.end(), [](const Array& e) { return !e.absent(); });
}

// Operands moved by `size` of each element's error; size in [-1, 1].
template <class Size>
std::vector<Array> moved(const std::vector<Array>& operands, const std::vector<Array>& errors,
                         Size&& size) {
  std::vector<Array> result = operands;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (errors[i].absent()) continue;
    result[i] = copy(operands[i]);
    for (int64_t e = 0; e < result[i].size(); ++e) {
      result[i].data()[e] += errors[i].data()[e] * size();
    }
  }
  return result;
}

double largest(std::span<const double> values) {
  double most = 0;
  for (const double x : values) {
    if (std::isfinite(x)) most = std::fmax(most, std::fabs(x));
  }
  return most;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(error)

// Half of the trials go to corners of the box of allowed errors, where a bound is tightest.
BOOST_AUTO_TEST_CASE(worst_bound_covers_every_error_of_the_operands) {
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    for (const uint64_t seed : kSeeds) {
      BOOST_TEST_CONTEXT(op_case.what << ", seed " << seed) {
        const std::vector<Array> operands = bench.draw(seed);
        const std::vector<Array> errors = operand_errors(op_case, seed);
        const Array out = bench.value(operands);
        const Array bound = bound_of(bench, {ErrorNorm::worst, 0}, operands, errors);
        const double rounding = kDoubleRounding * largest(out.values());
        std::vector<double> observed(bound.values().size(), 0.0);
        for (int trial = 0; trial < kTrials; ++trial) {
          const std::vector<double> sizes = uniform(seed, fmt::format("trial {}", trial), 4096);
          std::size_t next = 0;
          const auto size = [&] {
            const double u = sizes[next++];
            return trial % 2 == 0 ? u : std::copysign(1.0, u);
          };
          const Array wrong = bench.value(moved(operands, errors, size));
          for (int64_t i = 0; i < out.size(); ++i) {
            if (!std::isfinite(out.data()[i])) continue;
            double& most = observed[static_cast<std::size_t>(i)];
            most = std::fmax(most, std::fabs(wrong.data()[i] - out.data()[i]));
          }
        }
        int64_t outside = 0;
        for (int64_t i = 0; i < out.size(); ++i) {
          if (!std::isfinite(out.data()[i])) continue;
          const double most = observed[static_cast<std::size_t>(i)];
          outside += !(most <= bound.data()[i] + rounding);
        }
        BOOST_TEST(outside == 0);
        const double most = largest(observed), widest = largest(bound.values());
        BOOST_TEST(widest <= kMostLoose * most + rounding, widest << " and " << most);
        if (has_errors(errors)) BOOST_TEST(most > 0);
      }
    }
  }
}

// The float twin computes with operands that are floats, so its whole error is its own rounding.
BOOST_AUTO_TEST_CASE(worst_bound_covers_float_arithmetic) {
  const double unit = golden::unit_roundoff(golden::Precision::fp32);
  for (const OpCase& op_case : op_cases()) {
    if (!op_case.float_twin) continue;
    const Bench bench(op_case);
    double most = 0, widest = 0;
    for (const uint64_t seed : kSeeds) {
      BOOST_TEST_CONTEXT(op_case.what << ", seed " << seed) {
        std::vector<Array> operands = bench.draw(seed);
        std::vector<FloatTensor> floats;
        for (Array& operand : operands) {
          floats.push_back({operand.shape(), {}});
          for (double& x : operand.values()) {
            floats.back().values.push_back(static_cast<float>(x));
            x = floats.back().values.back();
          }
        }
        const Array out = bench.value(operands);
        const std::vector<Array> exact(operands.size());
        const Array bound = bound_of(bench, {ErrorNorm::worst, unit}, operands, exact);
        const std::vector<float> candidate = op_case.float_twin(floats);
        BOOST_TEST(candidate.size() == out.values().size());
        int64_t outside = 0;
        for (int64_t i = 0; i < out.size(); ++i) {
          if (!std::isfinite(out.data()[i])) continue;
          const double e = std::fabs(candidate[static_cast<std::size_t>(i)] - out.data()[i]);
          outside += !(e <= bound.data()[i]);
          most = std::fmax(most, e);
        }
        BOOST_TEST(outside == 0);
        widest = std::fmax(widest, largest(bound.values()));
      }
    }
    BOOST_TEST_MESSAGE(op_case.what << ": bound " << widest << ", observed " << most);
    BOOST_TEST(most > 0);
    BOOST_TEST(widest <= kMostLoose * most, op_case.what << ": " << widest << ", " << most);
  }
}

// The factors that a tensor core reads as tf32 with their low bits dropped, which errs most.
BOOST_AUTO_TEST_CASE(worst_bound_covers_factors_with_their_low_bits_dropped) {
  constexpr golden::Precision kTf32 = golden::Precision::tf32;
  for (const OpCase& op_case : op_cases()) {
    if (op_case.file != "linear" && op_case.file != "scores" && op_case.file != "attend") continue;
    const Bench bench(op_case);
    for (const uint64_t seed : kSeeds) {
      BOOST_TEST_CONTEXT(op_case.what << ", seed " << seed) {
        const std::vector<Array> operands = bench.draw(seed), exact(operands.size());
        std::vector<Array> read;
        for (std::size_t i = 0; i < operands.size(); ++i) {
          read.push_back(copy(operands[i]));
          for (double& x : read[i].values()) {
            if (i < 2) x = std::trunc(x / golden::spacing(kTf32, x)) * golden::spacing(kTf32, x);
          }
        }
        const Array out = bench.value(operands), candidate = bench.value(read);
        const Array bound = bound_of(bench, {ErrorNorm::worst, 0, kTf32}, operands, exact);
        int64_t outside = 0;
        double most = 0;
        for (int64_t i = 0; i < out.size(); ++i) {
          const double e = std::fabs(candidate.data()[i] - out.data()[i]);
          outside += !(e <= bound.data()[i]);
          most = std::fmax(most, e);
        }
        BOOST_TEST(outside == 0);
        BOOST_TEST(most > 0);
        BOOST_TEST(largest(bound.values()) <= 30 * most);
        // What was read has no more bits than tf32: reading it again changes nothing.
        const Array none = bound_of(bench, {ErrorNorm::worst, 0, kTf32}, read, exact);
        if (operands.size() < 3) BOOST_TEST(largest(none.values()) == 0);
      }
    }
  }
}

// Dropped bits make every term of a sum smaller: where the terms have one sign, by as much as a
// deviation of independent errors would not allow for.
BOOST_AUTO_TEST_CASE(deviation_covers_dropped_bits_of_terms_of_one_sign) {
  constexpr int64_t kTerms = 4096;
  constexpr golden::Precision kTf32 = golden::Precision::tf32;
  Array x = random_array({1, 1, kTerms}, 25, "x"), w = random_array({1, kTerms}, 25, "w");
  double sum = 0, read = 0, squares = 0;
  for (int64_t k = 0; k < kTerms; ++k) {
    const auto dropped = [](double y) {
      return std::trunc(y / golden::spacing(kTf32, y)) * golden::spacing(kTf32, y);
    };
    double &a = x.data()[k], &b = w.data()[k];
    a = 1 + std::fabs(a), b = 1 + std::fabs(b);
    sum += a * b;
    read += dropped(a) * dropped(b);
    squares += a * a * b * b;
  }
  Graph graph;
  const Node product =
      linear(graph.input("x", {1, 1, kTerms}, "BTD"), graph.input("w", {1, kTerms}, "DD"));
  Array out = Array::uninitialized({1, 1, 1}), error = Array::uninitialized({1, 1, 1});
  *out.data() = sum;
  product.data().op->error({ErrorNorm::deviation, 0, kTf32}, std::vector<Array>{x, w},
                           std::vector<Array>(2), out, error);
  const double independent = std::sqrt(2 * squares / 3) * 0x1p-10;
  BOOST_TEST(sum - read > 4 * independent);
  BOOST_TEST(sum - read <= *error.data());
}

BOOST_AUTO_TEST_CASE(moving_exact_values_makes_no_error) {
  for (const OpCase& op_case : op_cases()) {
    if (!op_case.moves_only) continue;
    const Bench bench(op_case);
    const std::vector<Array> operands = bench.draw(24);
    for (const ErrorNorm norm : {ErrorNorm::worst, ErrorNorm::deviation}) {
      const std::vector<Array> exact(operands.size());
      const Array bound = bound_of(bench, {norm, 0x1p-24}, operands, exact);
      for (const double b : bound.values()) BOOST_TEST(b == 0.0, op_case.what);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_operation_moves_values_or_has_a_float_twin) {
  for (const OpCase& op_case : op_cases()) {
    bool twin = op_case.moves_only;
    for (const OpCase& other : op_cases()) {
      twin = twin || (other.file == op_case.file && other.float_twin);
    }
    BOOST_TEST(twin, op_case.what);
  }
}

// Independent errors, uniform with the stated deviation: the observed deviation of the result is
// not above the stated one (1.25 covers the spread of 400 trials: its own deviation is 3.5 %), nor
// far below it where errors are largest.
BOOST_AUTO_TEST_CASE(deviation_covers_independent_errors) {
  for (const OpCase& op_case : op_cases()) {
    if (!has_errors(operand_errors(op_case, kSeeds[0]))) continue;
    const Bench bench(op_case);
    for (const uint64_t seed : kSeeds) {
      BOOST_TEST_CONTEXT(op_case.what << ", seed " << seed) {
        const std::vector<Array> operands = bench.draw(seed);
        const std::vector<Array> errors = operand_errors(op_case, seed);
        const Array out = bench.value(operands);
        const Array stated = bound_of(bench, {ErrorNorm::deviation, 0}, operands, errors);
        std::vector<double> squares(stated.values().size(), 0.0);
        for (int trial = 0; trial < kTrials; ++trial) {
          const std::vector<double> sizes = uniform(seed, fmt::format("trial {}", trial), 4096);
          std::size_t next = 0;
          const auto size = [&] { return std::sqrt(3.0) * sizes[next++]; };
          const Array wrong = bench.value(moved(operands, errors, size));
          for (int64_t i = 0; i < out.size(); ++i) {
            if (!std::isfinite(out.data()[i])) continue;
            const double e = wrong.data()[i] - out.data()[i];
            squares[static_cast<std::size_t>(i)] += e * e / kTrials;
          }
        }
        const double rounding = kDoubleRounding * largest(out.values());
        int64_t outside = 0;
        for (int64_t i = 0; i < out.size(); ++i) {
          if (!std::isfinite(out.data()[i])) continue;
          const double observed = std::sqrt(squares[static_cast<std::size_t>(i)]);
          outside += !(observed <= 1.25 * stated.data()[i] + rounding);
        }
        BOOST_TEST(outside == 0);
        const double observed = std::sqrt(largest(squares)), widest = largest(stated.values());
        BOOST_TEST(widest <= 30 * observed, widest << " and " << observed);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
