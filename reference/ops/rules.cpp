#include "reference/ops/rules.h"

#include <fmt/format.h>

#include <atomic>

namespace assay::reference {
namespace {

std::atomic<Engine> g_engine = Engine::ordered;

// Applies f to every element of a matrix view (and of a second one of the same shape, if it has
// data).
template <class F>
Array map_matrix(ConstMatrix a, ConstMatrix b, F&& f) {
  Array result = Array::uninitialized({a.rows, a.cols});
  for_rows(a.rows, a.cols, [&](int64_t r) {
    double* out = result.data() + r * a.cols;
    for (int64_t c = 0; c < a.cols; ++c) {
      out[c] = f(*a.at(r, c), b.data == nullptr ? 0.0 : *b.at(r, c));
    }
  });
  return result;
}

ConstMatrix matrix_of(const Array& array) {
  return ConstMatrix::row_major(array.data(), array.shape()[0], array.shape()[1]);
}

// Of what a factor is read as: the distance of its neighbours, relative to it.
double reading_error(const ErrorModel& model) {
  return model.operands ? 2 * golden::unit_roundoff(*model.operands) : 0;
}

// |error| of a factor as it is read.
Array error_as_read(const ErrorModel& model, ConstMatrix x, ConstMatrix x_error) {
  const bool worst = model.norm == ErrorNorm::worst;
  const double relative = reading_error(model) / (worst ? 1.0 : std::sqrt(3.0));
  const double least = golden::smallest(*model.operands);  // what is lost of a subnormal
  return map_matrix(x, x_error, [=, precision = *model.operands](double value, double e) {
    if (e == 0 && golden::round_to(precision, value) == value) return 0.0;
    const double read = relative * (std::fabs(value) + (worst ? e : 0)) + least;
    return worst ? e + read : root_sum_square(e, read);
  });
}

}  // namespace

Engine products_engine() { return g_engine; }
void set_products_engine(Engine engine) { g_engine = engine; }

void expect_axes(const Op& op, std::span<const Operand> in, std::size_t operand,
                 const std::string& axes) {
  ASSAY_CHECK(operand < in.size(), op.name());
  if (in[operand].axes != axes) {
    throw InputError(fmt::format("{}: operand {}: expected axes {}, got {} {}", op.name(), operand,
                                 axes, in[operand].axes, golden::shape_text(in[operand].shape)));
  }
}

void expect_extent(const Op& op, const std::string& what, int64_t expected, int64_t got) {
  if (expected != got) {
    throw InputError(fmt::format("{}: {}: expected {}, got {}", op.name(), what, expected, got));
  }
}

double chain_error(const ErrorModel& model, double steps) {
  return model.unit_roundoff * (model.norm == ErrorNorm::worst ? steps : std::sqrt(steps / 3));
}

double step_error(const ErrorModel& model, double steps) {
  ErrorModel step = model;
  step.unit_roundoff = std::max(model.unit_roundoff, model.eager_roundoff);
  return chain_error(step, steps);
}

namespace {

constexpr double kSafeSquare = 1e-280;  // a sum of squares above it has lost nothing that counts

// With the errors that the factors have as they are read.
void product_error_of_read(const ErrorModel& model, ConstMatrix a, ConstMatrix a_error,
                           ConstMatrix b, ConstMatrix b_error, ConstMatrix c, Matrix c_error) {
  const bool worst = model.norm == ErrorNorm::worst;
  const double chain = chain_error(model, static_cast<double>(a.cols));
  const auto size = [&](double x) { return worst ? std::fabs(x) : x * x; };
  // |A| (eB + chain |B|)
  const Array a_size = map_matrix(a, {}, [&](double x, double) { return size(x); });
  const Array b_noise =
      map_matrix(b, b_error, [&](double x, double e) { return size(e) + size(chain * x); });
  multiply(c_error, matrix_of(a_size), matrix_of(b_noise), false, products_engine());
  if (a_error.data != nullptr) {  // eA (|B| + eB)
    const Array a_noise = map_matrix(a_error, {}, [&](double e, double) { return size(e); });
    const Array b_size =
        map_matrix(b, b_error, [&](double x, double e) { return size(x) + size(model.reach * e); });
    multiply(c_error, matrix_of(a_noise), matrix_of(b_size), true, products_engine());
  }
  if (worst) return;
  // Squares that underflow or overflow: the same sum again, element by element.
  const auto squares_of = [&](int64_t r, int64_t n) {
    RootSumSquare sum;
    for (int64_t k = 0; k < a.cols; ++k) {
      const double x = *a.at(r, k), y = *b.at(k, n);
      const double ex = a_error.data == nullptr ? 0 : *a_error.at(r, k);
      const double ey = b_error.data == nullptr ? 0 : *b_error.at(k, n);
      sum.add(x * ey);
      sum.add(chain * x * y);
      sum.add(ex * y);
      sum.add(model.reach * ex * ey);
    }
    return sum.result();
  };
  for_rows(c.rows, c.cols, [&](int64_t r) {
    for (int64_t n = 0; n < c.cols; ++n) {
      const double own = root_sum_square(chain, reading_error(model)) * *c.at(r, n);
      double& error = *c_error.at(r, n);
      const bool exact_squares = error > kSafeSquare && error < 1 / kSafeSquare;
      error = root_sum_square(exact_squares ? std::sqrt(error) : squares_of(r, n), own);
    }
  });
}

}  // namespace

void normalized_error(const ErrorModel& model, std::span<const double> c, std::span<const double> e,
                      double common, double eps, std::span<double> error) {
  const auto count = static_cast<double>(c.size());
  const double k = model.reach;
  const bool worst = model.norm == ErrorNorm::worst;
  RootSumSquare length, moved, along;
  double squares = 0, most = 0, fall = 0, rise = 0;
  for (std::size_t d = 0; d < c.size(); ++d) {
    const double size = std::fabs(c[d]);
    squares += size * size / count;
    if (worst) {
      fall += (e[d] < size ? e[d] * (2 * size - e[d]) : size * size) / count;
      rise += e[d] * (2 * size + e[d]) / count;
    }
    length.add(size);
    moved.add(e[d]);
    along.add(size * e[d]);
    most = std::max(most, e[d]);
  }
  if (!worst) {
    const double far = moved.result() + k * most, all = length.result();
    const double turned = 2 * k * along.result();
    fall = std::min(turned, far < all ? far * (2 * all - far) : all * all) / count;
    rise = (turned + far * far) / count + k * common * k * common;
  }
  const double r = std::sqrt(squares + eps), high = std::sqrt(squares + eps + rise);
  const double low = std::sqrt(std::max(0.0, squares - fall) + eps);
  const double turn = std::max(fall / (low * r * (low + r)), rise / (high * r * (high + r)));
  for (std::size_t d = 0; d < c.size(); ++d) {
    const double size = std::fabs(c[d]);
    const double moves = worst ? e[d] / low + size * turn
                               : root_sum_square(e[d] / low, common / low + size * turn / k);
    error[d] = std::min(moves, std::sqrt(count) + size / r);
  }
}

void product_error(const ErrorModel& model, ConstMatrix a, ConstMatrix a_error, ConstMatrix b,
                   ConstMatrix b_error, ConstMatrix c, Matrix c_error) {
  if (!model.operands) {
    product_error_of_read(model, a, a_error, b, b_error, c, c_error);
    return;
  }
  const Array a_read = error_as_read(model, a, a_error), b_read = error_as_read(model, b, b_error);
  product_error_of_read(model, a, matrix_of(a_read), b, matrix_of(b_read), c, c_error);
}

}  // namespace assay::reference
