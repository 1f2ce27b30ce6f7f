// What a case is made of, as one hash and in bytes.
#include <nlohmann/json.hpp>

#include "golden/contract/names.h"
#include "golden/file/hasher.h"
#include "golden/file/manifest.h"
#include "golden/suites/suite.h"

namespace assay::golden {
namespace {

struct Elements {
  uint64_t named = 0, weights = 0;
};

uint64_t total(const std::vector<TensorInfo>& tensors) {
  uint64_t elements = 0;
  for (const TensorInfo& t : tensors) elements += static_cast<uint64_t>(element_count(t.shape));
  return elements;
}

Elements elements_of(const SuiteCase& c) {
  return {total(tensor_list(c.config, c.batch, c.positions)), total(weight_list(c.config))};
}

std::vector<int64_t> of_rows(const SuiteCase& c, const std::vector<int64_t>& padding) {
  return padding.empty() ? std::vector<int64_t>(static_cast<std::size_t>(c.batch)) : padding;
}

}  // namespace

std::string recipe_hash(const SuiteCase& c, int golden_version) {
  const nlohmann::json recipe = {{"golden_version", golden_version},
                                 {"schema", kSchemaVersion},
                                 {"config", to_json(c.config)},
                                 {"shape", {c.batch, c.positions}},
                                 {"left", of_rows(c, c.left)},
                                 {"right", of_rows(c, c.right)},
                                 {"seed", c.settings.seed},
                                 {"data", data_name(c.settings.data)},
                                 {"capture", capture_name(c.settings.capture)},
                                 {"gradients", c.settings.gradients}};
  const std::string text = recipe.dump();
  return hash_hex(text.data(), text.size());
}

uint64_t estimated_file_bytes(const SuiteCase& c) {
  const auto inputs = static_cast<uint64_t>(c.batch * c.positions * (4 + 1 + 4) + 4 * c.positions);
  if (c.settings.capture != Capture::full) return inputs;
  const Elements e = elements_of(c);
  return inputs + 8 * e.named + 4 * e.weights +
         (c.settings.gradients ? 8 * (e.named + e.weights) : 0);
}

uint64_t estimated_live_bytes(const SuiteCase& c) {
  const Elements e = elements_of(c);
  return 8 * ((c.settings.gradients ? 6 : 2) * e.named + 3 * e.weights);
}

}  // namespace assay::golden
