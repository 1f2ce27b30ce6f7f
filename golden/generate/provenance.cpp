#include "golden/generate/provenance.h"

#include <tbb/global_control.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "build_identity.h"
#include "golden/generate/generate.h"
#include "reference/ops/rules.h"

namespace assay::golden {
namespace {

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

}  // namespace

std::string provenance(const std::string& recipe, const std::string& weights) {
  const bool ordered = reference::products_engine() == reference::Engine::ordered;
  nlohmann::json document = {
      {"version", ASSAY_VERSION},
      {"golden_version", kGoldenVersion},
      {"commit", ASSAY_COMMIT},
      {"compiler", "g++ " __VERSION__},
      {"build", ASSAY_BUILD},
      {"products", ordered ? "ordered" : "blas"},
      {"simd", reference::simd_name()},
      {"threads", tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism)},
      {"cpu", cpu_model()}};
  if (!ordered) document["blas"] = "OpenBLAS " + reference::blas_core_name();
  if (!recipe.empty()) document["recipe"] = recipe;
  if (!weights.empty()) document["weights"] = nlohmann::json::parse(weights);
  return document.dump();
}

}  // namespace assay::golden
