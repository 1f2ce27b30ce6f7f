// The methods by their number in docs/methods.md: what each one computes, which options of a
// config it takes, and which parameters it learns. The parser, the registry, the command line and
// the table of docs/methods.md read this list.
#pragma once

#include <string>
#include <vector>

namespace assay::golden {

// Where a method works: nowhere, on earlier layers run again (added at the MLP or at the
// attention), on what enters the softmax (scores of all layers, or a factor on scores), or instead
// of the block: inference in a random field.
enum class Family {
  plain,
  recompute_mlp,
  recompute_attn,
  score_accumulation,
  score_factors,
  prob_transformer
};

// What a learned parameter starts from in training; sqrt and log are of the head size Dh.
enum class Initial { zero, half, one, sqrt_head, log_sqrt_head, normal };

std::string initial_text(Initial initial);  // "ln sqrt(Dh)", "N(0, 0.02^2)"

// A learned parameter of layer l. `extents` has a letter per axis: m = l + 1, P = score_positions,
// D = hidden_size, 1 = 1; none for a scalar. Golden data draws it away from its initial value,
// where methods would coincide: initial + center + half_width u, u uniform in (-1, 1); with
// any_sign initial (center + half_width u), negative in every second element. `normal` matrices
// are drawn with standard deviation half_width/sqrt(fan_in).
struct Parameter {
  std::string suffix;  // of the weight's name, below its layer
  std::string extents;
  Initial initial = Initial::zero;
  double center = 0, half_width = 0;
  bool any_sign = false;
  std::string form = "";    // there with this form only; "" with every form
  bool first_layer = true;  // whether layer 0 has it
};

struct MethodInfo {
  std::string id;       // "5.5"
  std::string title;    // "earlier layers run again, added at the MLP"
  std::string formula;  // one line of docs/methods.md's mathematics
  Family family = Family::plain;
  std::vector<std::string> options = {};  // keys under "assay" in config.json
  std::vector<std::string> forms = {};    // of the option `form`; the first is the default
  std::vector<Parameter> parameters = {};

  bool takes(const std::string& option) const;
};

const std::vector<MethodInfo>& methods();
// Throws InputError "where: method 7: no such method; have plain, 1, ..".
const MethodInfo& find_method(const std::string& id, const std::string& where = "--method");

// For people, one item each: "form = exp | softmax | free", "self_attn.score.alpha [m] = 0, form
// exp".
std::vector<std::string> option_texts(const MethodInfo& method);
std::vector<std::string> parameter_texts(const MethodInfo& method);

}  // namespace assay::golden
