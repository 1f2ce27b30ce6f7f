// GFLOP/s of the two product engines beside OpenBLAS's plain dgemm, for the shapes of a model.
//
//   products_bench [repetitions]
//
// dgemm is one cblas_dgemm call with one thread per core OpenBLAS sees (its best for large
// products). Medians. A fair ratio compares
// the same vector width: OPENBLAS_CORETYPE=Haswell with ASSAY_SIMD=avx2, or both unset on a CPU
// with AVX-512.
#include <cblas.h>
#include <fmt/core.h>
#include <oneapi/tbb/info.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include "reference/products/products.h"

namespace {

using assay::reference::ConstMatrix;
using assay::reference::Engine;
using assay::reference::Matrix;
using assay::reference::Product;

struct Case {
  const char* what;
  int64_t M, N, K;
  bool a_transposed, b_transposed;  // stored as [K,M], [N,K]
  int count = 1;                    // independent products (heads)
};

constexpr Case kCases[] = {
    {"projection", 512, 1024, 512, false, true},
    {"projection, short", 32, 1024, 512, false, true},
    {"mlp down", 512, 512, 1024, false, true},
    {"logits", 512, 32000, 512, false, true},
    {"decode, logits", 1, 32000, 512, false, true},
    {"decode, projection", 1, 1024, 512, false, true},
    {"input gradient", 512, 512, 1024, false, false},
    {"weight gradient", 1024, 512, 512, true, false},
    {"logit input gradient", 512, 512, 32000, false, false},
    {"logit weight gradient", 32000, 512, 512, true, false},
    {"scores, 8 heads", 512, 512, 64, false, true, 8},
    {"values, 8 heads", 512, 64, 512, false, false, 8},
    {"scores, 8 heads, short", 64, 64, 64, false, true, 8},
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Mean time of a call over at least min_seconds.
double mean_seconds(const std::function<void()>& run, double min_seconds) {
  const auto start = std::chrono::steady_clock::now();
  for (int calls = 1;; ++calls) {
    run();
    if (const double elapsed = seconds_since(start); elapsed >= min_seconds) return elapsed / calls;
  }
}

double median_seconds(int repetitions, const std::function<void()>& run) {
  mean_seconds(run, 0.3);  // a thread that slept runs at half speed for its first 0.1 to 0.2 s here
  std::vector<double> seconds(static_cast<size_t>(repetitions));
  for (double& s : seconds) s = mean_seconds(run, 0.03);
  std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
  return seconds[size_t(repetitions / 2)];
}

std::vector<double> filled(int64_t size) {
  std::vector<double> out(static_cast<size_t>(size));
  for (size_t i = 0; i < out.size(); ++i) out[i] = double(i % 17) - 8.0;
  return out;
}

// One test case with its operands. products() views them.
struct Operands {
  explicit Operands(const Case& c)
      : test(c), a(filled(c.count * c.M * c.K)), b(filled(c.count * c.K * c.N)) {
    out.resize(size_t(c.count * c.M * c.N));
    for (int64_t i = 0; i < c.count; ++i) {
      const double* a_i = a.data() + i * c.M * c.K;
      const double* b_i = b.data() + i * c.K * c.N;
      products.push_back({Matrix::row_major(out.data() + i * c.M * c.N, c.M, c.N),
                          c.a_transposed ? ConstMatrix::row_major(a_i, c.K, c.M).transposed()
                                         : ConstMatrix::row_major(a_i, c.M, c.K),
                          c.b_transposed ? ConstMatrix::row_major(b_i, c.N, c.K).transposed()
                                         : ConstMatrix::row_major(b_i, c.K, c.N)});
    }
  }
  double gflop() const { return 2e-9 * double(test.count * test.M * test.N * test.K); }

  Case test;
  std::vector<double> a, b, out;
  std::vector<Product> products;
};

void plain_dgemm(const Case& test, const Product& p) {
  cblas_dgemm(CblasRowMajor, test.a_transposed ? CblasTrans : CblasNoTrans,
              test.b_transposed ? CblasTrans : CblasNoTrans, int(test.M), int(test.N), int(test.K),
              1.0, p.a.data, int(test.a_transposed ? test.M : test.K), p.b.data,
              int(test.b_transposed ? test.K : test.N), 0.0, p.c.data, int(test.N));
}

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  const int threads = openblas_get_num_threads();
  fmt::print("ordered: {}; OpenBLAS: {}, {} threads; oneTBB: {} threads\n",
             assay::reference::simd_name(), assay::reference::blas_core_name(), threads,
             oneapi::tbb::info::default_concurrency());
  fmt::print("{:<24}{:>6}{:>7}{:>7}{:>10}{:>10}{:>10}{:>9}\n", "GFLOP/s", "M", "N", "K", "ordered",
             "blas", "dgemm", "ratio");
  for (const Case& test : kCases) {
    Operands operands(test);
    const auto rate = [&](const std::function<void()>& run) {
      return operands.gflop() / median_seconds(repetitions, run);
    };
    const auto engine = [&](Engine e) {
      return rate([&] { assay::reference::multiply_batch(operands.products, false, e); });
    };
    const double ordered = engine(Engine::ordered), blas = engine(Engine::blas);
    openblas_set_num_threads(threads);
    const double dgemm = rate([&] {
      for (const Product& p : operands.products) plain_dgemm(test, p);
    });
    openblas_set_num_threads(1);
    fmt::print("{:<24}{:>6}{:>7}{:>7}{:>10.1f}{:>10.1f}{:>10.1f}{:>9.2f}\n", test.what, test.M,
               test.N, test.K, ordered, blas, dgemm, ordered / dgemm);
  }
  return 0;
}
