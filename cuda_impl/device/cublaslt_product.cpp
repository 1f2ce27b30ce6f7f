#include "cuda_impl/device/cublaslt_product.h"

#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "cuda_impl/device/cublaslt_library.h"
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
  bool bias;

  auto key() const { return std::tuple(factors, result, compute, N, M, K, bias); }
  bool operator<(const Shape& other) const { return key() < other.key(); }
};

cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t result = nullptr;
  check(cublaslt().layout_create(&result, type, static_cast<uint64_t>(rows),
                                 static_cast<uint64_t>(columns), rows),
        "layout");
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
  }
  plan.w = layout(shape.factors, shape.K, shape.M);
  plan.x = layout(shape.factors, shape.K, shape.N);
  plan.y = layout(shape.result, shape.M, shape.N);
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
bool applies(const View<Out, 2>& y, const In<S, 2>& x, const In<S, 2>& w, const In<S, 1>& bias) {
  const double flops = 2.0 * static_cast<double>(y.shape[0]) * static_cast<double>(y.shape[1]) *
                       static_cast<double>(x.shape[1]);
  const auto row_bytes = [](int64_t columns, std::size_t element) {
    return static_cast<std::size_t>(columns) * element % kAlignment;
  };
  return flops >= kSmallestFlops && row_bytes(x.shape[1], sizeof(S)) == 0 &&
         row_bytes(y.shape[1], sizeof(Out)) == 0 && simt::is_aligned(x.data, kAlignment) &&
         simt::is_aligned(w.data, kAlignment) && simt::is_aligned(y.data, kAlignment) &&
         (bias.data == nullptr ||
          (std::is_same_v<S, Out> && simt::is_aligned(bias.data, kAlignment)));
}

}  // namespace

template <class S, class Out>
bool cublaslt_product(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Operands operands,
                      Stream stream) {
  if (!applies<S>(y, x, w, bias)) return false;
  const CublasLt& lt = cublaslt();
  if (!lt.missing.empty()) return false;
  const Shape shape{kType<S>,
                    kType<Out>,
                    operands == Operands::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                    y.shape[0],
                    y.shape[1],
                    x.shape[1],
                    bias.data != nullptr};
  State& shared = state();
  const std::lock_guard lock(shared.mutex);
  auto found = shared.plans.find(shape);
  if (found == shared.plans.end()) found = shared.plans.emplace(shape, make_plan(shape)).first;
  const Plan& plan = found->second;
  if (!plan.algorithm) return false;
  if (shape.bias) set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data);
  simt::Buffer<std::byte>& workspace = shared.workspaces[stream];
  if (workspace.size() == 0) workspace = simt::Buffer<std::byte>(kWorkspaceBytes);
  const float one = 1, zero = 0;
  check(lt.matmul(lt.handle, plan.desc, &one, w.data, plan.w, x.data, plan.x, &zero, y.data, plan.y,
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

#define ASSAY_INSTANTIATE(S) \
  template bool cublaslt_product<S>(View<S, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Operands, Stream);
#define ASSAY_INSTANTIATE_WIDE(S)                                                                \
  template bool cublaslt_product<S>(View<accum_t<S>, 2>, In<S, 2>, In<S, 2>, In<S, 1>, Operands, \
                                    Stream);
ASSAY_INSTANTIATE(float)
ASSAY_INSTANTIATE(simt::bf16)
ASSAY_INSTANTIATE(simt::f16)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
