#include "reference/methods/registry.h"

#include <fmt/format.h>

#include <functional>

#include "golden/error.h"
#include "reference/methods/recompute_mlp.h"
#include "reference/methods/score_accumulation.h"

namespace assay::reference {
namespace {

struct Registered {
  MethodEntry entry;
  std::function<Method(const golden::ModelConfig&)> make;
};

const std::vector<Registered>& registered() {
  static const std::vector<Registered> list{
      {{"plain", "the Llama block", "X_{l+1} = Y_l + U_l", ""},
       [](const golden::ModelConfig&) { return plain_method(); }},
      {{"1", "earlier layers run again, added at the MLP",
        "X_{l+1} = Y_l + U_l + sum_{j<l} r_{j>l}", "residual = keep | replace"},
       [](const golden::ModelConfig& config) { return recompute_mlp(config.residual); }},
      {{"5.1", "scores accumulated over layers", "A_l = softmax(mask(sum_{i<=l} S_i / sqrt(Dh)))",
        ""},
       [](const golden::ModelConfig&) { return score_accumulation(); }},
  };
  return list;
}

const Registered& find(const std::string& id) {
  std::vector<std::string> known;
  for (const Registered& method : registered()) {
    if (method.entry.id == id) return method;
    known.push_back(method.entry.id);
  }
  throw InputError(fmt::format("--method {}: no such method; have {} ('assay methods' lists them)",
                               id, fmt::join(known, ", ")));
}

}  // namespace

const std::vector<MethodEntry>& methods() {
  static const std::vector<MethodEntry> entries = [] {
    std::vector<MethodEntry> list;
    for (const Registered& method : registered()) list.push_back(method.entry);
    return list;
  }();
  return entries;
}

const MethodEntry& find_method(const std::string& id) { return find(id).entry; }

std::unique_ptr<Graph> build_model(const golden::ModelConfig& config, int64_t batch,
                                   int64_t positions) {
  golden::validate(config, "config");
  if (batch < 1 || positions < 1) {
    throw InputError(fmt::format("tokens: expected at least one row and one position, got [{},{}]",
                                 batch, positions));
  }
  return build_llama(config, find(config.method).make(config), batch, positions);
}

}  // namespace assay::reference
