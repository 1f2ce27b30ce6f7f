#include "cuda_impl/device/cublaslt_product.h"

#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "cuda_impl/device/cublaslt_library.h"
#include "cuda_impl/kernels/product_rungs.h"
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
  throw simt::Error(std::string("product: cuBLASLt: ") + what + ": status " +
                    std::to_string(status));
}

// What a shape needs, found once and kept as long as the process. Row-major y = x w^T is column-major
// y^T [M,N] = (w^T)^T x^T.
struct Plan {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
  std::optional<cublasLtMatmulAlgo_t> algorithm;
};

struct Shape {
  cudaDataType_t factors, result;
  cublasComputeType_t compute;
  int64_t N, M, K;
  ProductStrides strides;
  int64_t count;
  bool accumulate, bias;

  auto key() const {
    const ProductStrides& s = strides;
    return std::tuple(factors, result, compute, N, M, K, s.y, s.x, s.w, s.bias, s.w_row, count,
                      accumulate, bias);
  }
  bool operator<(const Shape& other) const { return key() < other.key(); }
};

// Of `count` matrices of row-major rows of `columns` elements: column-major columns, `row` apart.
cublasLtMatrixLayout_t matrix(cudaDataType_t type, int64_t rows, int64_t columns, int64_t row,
                              int64_t count, int64_t stride) {
  cublasLtMatrixLayout_t result = nullptr;
  check(cublaslt().layout_create(&result, type, static_cast<uint64_t>(columns),
                                 static_cast<uint64_t>(rows), row),
        "layout");
  if (count == 1) return result;
  const auto batch = static_cast<int32_t>(count);
  check(cublaslt().layout_set(result, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch),
        "batch");
  check(cublaslt().layout_set(result, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                              sizeof stride),
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
  const cublasStatus_t status = lt.heuristic(lt.handle, plan.desc, plan.w, plan.x, plan.y, plan.y,
                                             preference, 1, &best, &found);
  lt.preference_destroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0) return std::nullopt;
  return best.algo;
}

Plan make_plan(const Shape& shape) {
  Plan plan;
  check(cublaslt().desc_create(&plan.desc, shape.compute, CUDA_R_32F), "description");
  set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (shape.bias) {
    set(plan.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, shape.result);
    set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, shape.strides.bias);
  }
  const auto& [N, M, K, strides] = std::tie(shape.N, shape.M, shape.K, shape.strides);
  plan.w = matrix(shape.factors, M, K, strides.w_row, shape.count, strides.w);
  plan.x = matrix(shape.factors, N, K, K, shape.count, strides.x);
  plan.y = matrix(shape.result, N, M, M, shape.count, strides.y);
  plan.algorithm = find_algorithm(plan);
  return plan;
}

struct State {
  std::mutex mutex;
  std::map<Shape, Plan> plans;
  std::map<Stream, simt::Buffer<std::byte>> workspaces;  // products on a stream do not overlap
};

State& state() {
  static State* const one = new State;  // never freed: the driver may be gone by then
  return *one;
}

template <class S, class Out>
bool applies(const View<Out, 2>& y, const In<S, 2>& x, const In<S, 2>& w, const In<S, 1>& bias,
             const Shape& shape) {
  const double flops = 2.0 * static_cast<double>(shape.N) * static_cast<double>(shape.M) *
                       static_cast<double>(shape.K) * static_cast<double>(shape.count);
  const auto in_pieces = [](auto* first, std::initializer_list<int64_t> steps) {
    bool all = simt::is_aligned(first, kAlignment);
    for (const int64_t step : steps) {
      all = all && static_cast<std::size_t>(step) * sizeof *first % kAlignment == 0;
    }
    return all;
  };
  const ProductStrides& s = shape.strides;
  return flops >= kSmallestFlops && in_pieces(x.data, {shape.K, s.x}) &&
         in_pieces(w.data, {s.w_row, s.w}) && in_pieces(y.data, {shape.M, s.y}) &&
         (bias.data == nullptr || (std::is_same_v<S, Out> && in_pieces(bias.data, {s.bias})));
}

}  // namespace

template <class S, class Out>
bool cublaslt_product(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Operands operands,
                      Stream stream, const ProductLayout& layout) {
  const Shape shape{
      .factors = kType<S>,
      .result = kType<Out>,
      .compute = operands == Operands::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
      .N = y.shape[0],
      .M = y.shape[1],
      .K = x.shape[1],
      .strides = strides_of(layout, x.shape[1]),
      .count = layout.count,
      .accumulate = layout.accumulate,
      .bias = bias.data != nullptr};
  if (!applies<S>(y, x, w, bias, shape)) return false;
  const CublasLt& lt = cublaslt();
  if (!lt.missing.empty()) return false;
  State& shared = state();
  const std::lock_guard lock(shared.mutex);
  auto found = shared.plans.find(shape);
  if (found == shared.plans.end()) found = shared.plans.emplace(shape, make_plan(shape)).first;
  const Plan& plan = found->second;
  if (!plan.algorithm) return false;
  if (shape.bias) set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data);
  simt::Buffer<std::byte>& workspace = shared.workspaces[stream];
  if (workspace.size() == 0) workspace = simt::Buffer<std::byte>(kWorkspaceBytes);
  const float one = 1, before = layout.accumulate ? 1 : 0;
  check(
      lt.matmul(lt.handle, plan.desc, &one, w.data, plan.w, x.data, plan.x, &before, y.data, plan.y,
                y.data, plan.y, &*plan.algorithm, workspace.get(), kWorkspaceBytes, stream),
      LaunchName("matmul", y.shape).text);
  return true;
}

std::string cublaslt_state() {
  const CublasLt& lt = cublaslt();
  if (!lt.missing.empty()) return "no cuBLASLt: " + lt.missing;
  const std::size_t version = lt.version();  // 130100: 13.1.0
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

#define ASSAY_INSTANTIATE(S)                                                                    \
  template bool cublaslt_product<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Operands, Stream, \
                                    const ProductLayout&);
#define ASSAY_INSTANTIATE_WIDE(S)                                                                \
  template bool cublaslt_product<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Operands, \
                                    Stream, const ProductLayout&);
ASSAY_INSTANTIATE(float)
ASSAY_INSTANTIATE(simt::bf16)
ASSAY_INSTANTIATE(simt::f16)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
