#include "cuda_impl/kernels/gemm/cublaslt_gemm.h"

#include <compare>
#include <map>
#include <mutex>
#include <optional>

#include "cuda_impl/kernels/gemm/cublaslt_library.h"
#include "cuda_impl/kernels/gemm/gemm_backward_variants.h"
#include "cuda_impl/simt/chunk.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
constexpr double kSmallestFlops =
    2.0 * 512 * 512 * 512;              // below it a call costs more than it saves
constexpr std::size_t kAlignment = 16;  // bytes, of every operand and row

template <class T>
constexpr cudaDataType_t kType = CUDA_R_32F;
template <>
constexpr cudaDataType_t kType<simt::bf16> = CUDA_R_16BF;
template <>
constexpr cudaDataType_t kType<simt::f16> = CUDA_R_16F;

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw simt::Error(std::string("gemm: cuBLASLt: ") + what + ": status " + std::to_string(status));
}

// A row-major matrix, its rows `row` elements apart, that of the next gemm `step` elements behind
// it.
// is_transposed: the factor is its transpose.
struct Matrix {
  cudaDataType_t type;
  int64_t rows, columns, row, step;
  bool is_transposed = false;

  auto operator<=>(const Matrix&) const = default;
  bool is_in_pieces(const void* first) const {
    const auto bytes = static_cast<std::size_t>(type == CUDA_R_32F ? 4 : 2);
    return simt::is_aligned(first, kAlignment) &&
           static_cast<std::size_t>(row) * bytes % kAlignment == 0 &&
           static_cast<std::size_t>(step) * bytes % kAlignment == 0;
  }
};

// out = a b, with a bias per column of out if bias_step is set.
struct Shape {
  Matrix out, a, b;
  cublasComputeType_t compute;
  int64_t count;
  bool accumulate;
  std::optional<int64_t> bias_step = {};

  auto operator<=>(const Shape&) const = default;
  double flops() const {
    const int64_t depth = a.is_transposed ? a.rows : a.columns;
    return 2.0 * static_cast<double>(out.rows) * static_cast<double>(out.columns) *
           static_cast<double>(depth) * static_cast<double>(count);
  }
};

cublasComputeType_t compute_type(Operands operands) {
  return operands == Operands::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

// What a shape needs, found once and kept as long as the process. Row-major matrices are their
// transposes to cuBLASLt, which counts by columns: what it forms is out^T = b^T a^T.
struct Plan {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t b = nullptr, a = nullptr, out = nullptr;
  std::optional<cublasLtMatmulAlgo_t> algorithm;
};

cublasLtMatrixLayout_t layout_of(const Matrix& matrix, int64_t count) {
  cublasLtMatrixLayout_t result = nullptr;
  check(cublaslt().layout_create(&result, matrix.type, static_cast<uint64_t>(matrix.columns),
                                 static_cast<uint64_t>(matrix.rows), matrix.row),
        "layout");
  if (count == 1) return result;
  const auto batch = static_cast<int32_t>(count);
  check(cublaslt().layout_set(result, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch),
        "batch");
  check(cublaslt().layout_set(result, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &matrix.step,
                              sizeof matrix.step),
        "batch");
  return result;
}

template <class Value>
void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check(cublaslt().desc_set(desc, attribute, &value, sizeof value), "description");
}

std::optional<cublasLtMatmulAlgo_t> find_algorithm(const Plan& plan) {
  const CublasLt& lt = cublaslt();
  cublasLtMatmulPreference_t preference = nullptr;
  check(lt.preference_create(&preference), "preference");
  // Partial sums stay fp32 until they are added.
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes,
                    sizeof kWorkspaceBytes);
  lt.preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                    sizeof reductions);
  const uint32_t bytes = kAlignment;
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    lt.preference_set(preference, attribute, &bytes, sizeof bytes);
  }
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = lt.heuristic(lt.handle, plan.desc, plan.b, plan.a, plan.out,
                                             plan.out, preference, 1, &best, &found);
  lt.preference_destroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0) return std::nullopt;
  return best.algo;
}

Plan make_plan(const Shape& shape) {
  Plan plan;
  check(cublaslt().desc_create(&plan.desc, shape.compute, CUDA_R_32F), "description");
  const auto operation = [](const Matrix& factor) {
    return factor.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  };
  set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSA, operation(shape.b));
  set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSB, operation(shape.a));
  if (shape.bias_step) {
    set(plan.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, shape.out.type);
    set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, *shape.bias_step);
  }
  plan.b = layout_of(shape.b, shape.count);
  plan.a = layout_of(shape.a, shape.count);
  plan.out = layout_of(shape.out, shape.count);
  plan.algorithm = find_algorithm(plan);
  return plan;
}

struct State {
  std::mutex mutex;
  std::map<Shape, Plan> plans;
  std::map<Stream, simt::Buffer<std::byte>> workspaces;  // gemms on a stream do not overlap
};

State& state() {
  static State* const one = new State;  // never freed: the driver may be gone by then
  return *one;
}

// False, with nothing launched, where cuBLASLt does not apply.
bool multiply(const Shape& shape, void* out, const void* a, const void* b, const void* bias,
              Stream stream, const LaunchName& name) {
  if (shape.flops() < kSmallestFlops || !shape.out.is_in_pieces(out) || !shape.a.is_in_pieces(a) ||
      !shape.b.is_in_pieces(b)) {
    return false;
  }
  const CublasLt& lt = cublaslt();
  if (!lt.missing.empty()) return false;
  State& shared = state();
  const std::lock_guard lock(shared.mutex);
  auto found = shared.plans.find(shape);
  if (found == shared.plans.end()) found = shared.plans.emplace(shape, make_plan(shape)).first;
  const Plan& plan = found->second;
  if (!plan.algorithm) return false;
  if (bias != nullptr) set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  simt::Buffer<std::byte>& workspace = shared.workspaces[stream];
  if (workspace.size() == 0) workspace = simt::Buffer<std::byte>(kWorkspaceBytes);
  const float one = 1, before = shape.accumulate ? 1 : 0;
  check(lt.matmul(lt.handle, plan.desc, &one, b, plan.b, a, plan.a, &before, out, plan.out, out,
                  plan.out, &*plan.algorithm, workspace.get(), kWorkspaceBytes, stream),
        name.text);
  return true;
}

}  // namespace

template <class S, class Out>
bool cublaslt_gemm(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Operands operands,
                   Stream stream, const GemmLayout& layout) {
  const auto [N, M] = y.shape;
  const int64_t K = x.shape[1];
  const GemmStrides strides = strides_of(layout, K);
  Shape shape{.out = {kType<Out>, N, M, M, strides.y},
              .a = {kType<S>, N, K, K, strides.x},
              .b = {kType<S>, M, K, strides.w_row, strides.w, true},
              .compute = compute_type(operands),
              .count = layout.count,
              .accumulate = layout.accumulate};
  if (bias.data != nullptr) {
    // The bias is read as it is stored, in the type of y, as a row of its own.
    const Matrix row{kType<S>, 1, M, 0, strides.bias};
    if (!std::is_same_v<S, Out> || !row.is_in_pieces(bias.data)) return false;
    shape.bias_step = strides.bias;
  }
  return multiply(shape, y.data, x.data, w.data, bias.data, stream, LaunchName("matmul", y.shape));
}

template <class S, class Out>
bool cublaslt_gemm_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Operands operands,
                      Stream stream, const BackwardLayout& layout) {
  const auto [N, K] = dx.shape;
  const int64_t M = dy.shape[1];
  const BackwardStrides strides = strides_of(layout, K);
  const Shape shape{.out = {kType<Out>, N, K, K, strides.out},
                    .a = {kType<S>, N, M, M, strides.dy},
                    .b = {kType<S>, M, K, strides.factor_row, strides.factor},
                    .compute = compute_type(operands),
                    .count = layout.count,
                    .accumulate = accumulate};
  return multiply(shape, dx.data, dy.data, w.data, nullptr, stream, LaunchName("matmul", dx.shape));
}

template <class S>
bool cublaslt_gemm_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate,
                      Operands operands, Stream stream, const BackwardLayout& layout) {
  const auto [M, K] = dw.shape;
  const int64_t N = dy.shape[0];
  const BackwardStrides strides = strides_of(layout, K);
  const Shape shape{.out = {kType<accum_t<S>>, M, K, K, strides.out},
                    .a = {kType<S>, N, M, M, strides.dy, true},
                    .b = {kType<S>, N, K, strides.factor_row, strides.factor},
                    .compute = compute_type(operands),
                    .count = layout.count,
                    .accumulate = accumulate};
  return multiply(shape, dw.data, dy.data, x.data, nullptr, stream, LaunchName("matmul", dw.shape));
}

std::string cublaslt_state() {
  const CublasLt& lt = cublaslt();
  if (!lt.missing.empty()) return "no cuBLASLt: " + lt.missing;
  const std::size_t version = lt.version();  // 130100: 13.1.0
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

#define ASSAY_INSTANTIATE_ROWS(S, Out)                                                         \
  template bool cublaslt_gemm<S>(View<Out, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Operands, Stream, \
                                 const GemmLayout&);                                           \
  template bool cublaslt_gemm_nn<S>(View<Out, 2>, In<S, 2>, In<S, 2>, bool, Operands, Stream,  \
                                    const BackwardLayout&);
#define ASSAY_INSTANTIATE(S)                                                                 \
  ASSAY_INSTANTIATE_ROWS(S, S)                                                               \
  template bool cublaslt_gemm_tn<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, bool, Operands, \
                                    Stream, const BackwardLayout&);
#define ASSAY_INSTANTIATE_WIDE(S) ASSAY_INSTANTIATE_ROWS(S, accum_t<S>)
ASSAY_INSTANTIATE(float)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE
#undef ASSAY_INSTANTIATE_ROWS

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
