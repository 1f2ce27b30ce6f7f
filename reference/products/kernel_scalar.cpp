// The `ordered` kernel in plain C++: slow, and the definition of what the others compute.
#include <cmath>

#include "reference/products/kernels.h"

namespace assay::reference {
namespace {

constexpr int kLanes = 4, kRows = 4, kVectors = 1;

struct Scalar {
  template <int R, int V>
  static void micro(int64_t depth, const double* a, int64_t a_stride, const double* b, double* c,
                    int64_t c_stride, bool resume) {
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < V * kLanes; ++n) {
        double sum = resume ? c[r * c_stride + n] : 0.0;
        for (int64_t k = 0; k < depth; ++k) {
          sum = std::fma(a[r * a_stride + k], b[k * V * kLanes + n], sum);
        }
        c[r * c_stride + n] = sum;
      }
    }
  }
};

void transpose(double* to, int64_t to_stride, const double* from, int64_t from_stride, int64_t rows,
               int64_t cols) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}

}  // namespace

const Kernel& scalar_kernel() {
  static constexpr Kernel kernel{
      "scalar",
      kLanes,
      kRows,
      kVectors,
      micro_table<Scalar, kVectors>(std::make_integer_sequence<int, kRows>{}),
      transpose};
  return kernel;
}

}  // namespace assay::reference
