// What a golden file says about where it was made. Not part of the root hash.
#pragma once

#include <string>

namespace assay::golden {

// JSON: version, commit, compiler, build type, products engine and vector width, BLAS core type,
// threads, CPU, the version of the reference's values; where not empty, the recipe and the files
// that the weights come from (`weights` is JSON).
std::string provenance(const std::string& recipe, const std::string& weights);

}  // namespace assay::golden
