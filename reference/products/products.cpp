#include "reference/products/products.h"

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <stdexcept>

#include "reference/products/engines.h"

namespace assay::reference {
namespace {

std::string shape(ConstMatrix m) {
  return "[" + std::to_string(m.rows) + "," + std::to_string(m.cols) + "]";
}

void check_shapes(ConstMatrix c, ConstMatrix a, ConstMatrix b) {
  for (const ConstMatrix m : {c, a, b}) {
    if (m.rows < 0 || m.cols < 0) {
      throw std::invalid_argument("multiply: negative size: C " + shape(c) + ", A " + shape(a) +
                                  ", B " + shape(b));
    }
  }
  if (a.cols != b.rows || c.rows != a.rows || c.cols != b.cols) {
    throw std::invalid_argument("multiply: shapes do not fit: expected [M,N] = [M,K] [K,N], got " +
                                shape(c) + " = " + shape(a) + " " + shape(b));
  }
  if (c.rows > 1 && c.row_stride < c.cols) {
    throw std::invalid_argument("multiply: rows of C overlap: expected a row stride of at least " +
                                std::to_string(c.cols) + ", got " + std::to_string(c.row_stride));
  }
}

}  // namespace

void multiply(Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate, Engine engine) {
  check_shapes(c, a, b);
  if (c.rows == 0 || c.cols == 0) return;
  if (a.cols == 0) {
    if (accumulate) return;
    for (int64_t m = 0; m < c.rows; ++m) std::fill_n(c.at(m, 0), c.cols, 0.0);
    return;
  }
  if (engine == Engine::ordered) {
    multiply_ordered(c, a, b, accumulate);
  } else {
    multiply_blas(c, a, b, accumulate);
  }
}

void multiply_batch(std::span<const Product> products, bool accumulate, Engine engine) {
  oneapi::tbb::parallel_for(size_t{0}, products.size(), [&](size_t i) {
    multiply(products[i].c, products[i].a, products[i].b, accumulate, engine);
  });
}

}  // namespace assay::reference
