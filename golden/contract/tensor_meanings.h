// What each named tensor holds, for people: the rows of docs/tensors.md and of `assay tensors`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/config.h"

namespace assay::golden {

// Every tensor of every tensor_list has one row that describes it.
struct TensorMeaning {
  std::string part;     // the section: "Llama block"
  std::string name;     // "layers/{l}/attn/q"; [..] is there with several groups only
  std::string shape;    // "B,H,T,Dh"; "" for a scalar
  std::string only;     // methods and options that it is for; "" for all of its part
  std::string meaning;  // formulas in backticks, names without layers/{l}/ of the same layer
  // Of a config and the first number in the tensor's name: its layer or round.
  bool (*applies)(const ModelConfig& config, int64_t number);
};
const std::vector<TensorMeaning>& tensor_meanings();
bool describes(const TensorMeaning& row, const ModelConfig& config, const std::string& name);
// Whether a tensor of some model, of whichever config, has this name.
bool is_tensor_name(const std::string& name);
// The row of a tensor of the config's tensor_list; nullptr for another name.
const TensorMeaning* meaning_of(const ModelConfig& config, const std::string& name);

}  // namespace assay::golden
