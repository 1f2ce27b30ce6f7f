#include "cuda_impl/kernels/gemm/cublaslt_library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

void* open_library() {
  const std::string major = std::to_string(CUBLAS_VER_MAJOR);
  void* library = dlopen(("libcublasLt.so." + major).c_str(), RTLD_NOW | RTLD_LOCAL);
  return library != nullptr ? library : dlopen("libcublasLt.so", RTLD_NOW | RTLD_LOCAL);
}

CublasLt load() {
  CublasLt lt;
  if (const char* wish = std::getenv("ASSAY_CUBLASLT");
      wish != nullptr && std::string(wish) == "off") {
    lt.missing = "ASSAY_CUBLASLT=off";
    return lt;
  }
  void* const library = open_library();  // stays open as long as the process
  if (library == nullptr) {
    lt.missing = dlerror();
    return lt;
  }
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr) lt.missing = std::string("libcublasLt has no ") + name;
  };
  find(lt.create, "cublasLtCreate");
  find(lt.version, "cublasLtGetVersion");
  find(lt.desc_create, "cublasLtMatmulDescCreate");
  find(lt.desc_set, "cublasLtMatmulDescSetAttribute");
  find(lt.layout_create, "cublasLtMatrixLayoutCreate");
  find(lt.layout_set, "cublasLtMatrixLayoutSetAttribute");
  find(lt.preference_create, "cublasLtMatmulPreferenceCreate");
  find(lt.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  find(lt.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  find(lt.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(lt.matmul, "cublasLtMatmul");
  if (!lt.missing.empty()) return lt;
  if (const cublasStatus_t status = lt.create(&lt.handle); status != CUBLAS_STATUS_SUCCESS) {
    lt.missing = "cublasLtCreate: status " + std::to_string(status);
  }
  return lt;
}

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt lt = load();
  return lt;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
