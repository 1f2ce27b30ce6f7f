// The Probabilistic Transformer: what a config says about it, and the names of its tensors.
//
// Dz = hidden_size labels. The options stand in config.json under "assay": {"method": "pt",
// "pt": {..}}, by the names of the members below; what is left out has the value below.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace assay::golden {

class JsonKeys;      // golden/contract/json_keys.h
struct ModelConfig;  // golden/contract/config.h
struct TensorInfo;   // golden/contract/names.h

// Names in comments elsewhere: r = rank, C = channels, N = iterations, G = head_groups, M =
// label_groups, K = number of distance groups.
struct ProbTransformer {
  enum class Message { full, symmetric, head };
  enum class Schedule { async, sync };
  enum class Updates { every_round, in_turn };
  enum class Output { mlm, causal };
  enum class Read { scores, labels };

  int64_t rank = 0;        // r; 0: head_dim
  int64_t channels = 0;    // C, of each head group; 0: num_attention_heads
  int64_t iterations = 0;  // N; 0: num_hidden_layers
  Message message = Message::full;
  Schedule schedule = Schedule::async;
  double lambda_h = 0;  // temperature of the heads; 0: 1/Dz
  double lambda_z = 1;  // temperature of the labels

  // Step sizes in (0, 1] act on distributions, Q <- (1 - step) Q_before + step Q_fresh; dampings in
  // [0, 1) act on messages before the softmax, M <- damping M_before + (1 - damping) M_fresh.
  double head_step = 1, label_step = 1;
  double head_damping = 0, label_damping = 0;

  // Absent: one U, V for all pairs. Else U, V of their own for every distance group on either side;
  // the numbers, ascending from 2, are the distances at which a new group starts ([]: one a side).
  std::optional<std::vector<int64_t>> distances = std::nullopt;
  bool causal_heads = false;  // a head stands before its word

  int64_t head_groups = 1;   // G groups of head nodes, each with C channels
  int64_t label_groups = 1;  // M groups of label nodes, which share the heads; G or M is 1
  // every_round: all head groups in every round. in_turn: round n updates group (n-1) mod G only, a
  // group joins in its first own round, and its heads stay as they are in the other rounds.
  Updates updates = Updates::every_round;

  Output output = Output::mlm;  // labels stand at masked positions; causal: the next token
  Read read = Read::scores;     // what the output layer reads: label scores, or their softmax

  bool operator==(const ProbTransformer&) const = default;
};

// The options of a config with its defaults filled in.
ProbTransformer prob_transformer_of(const ModelConfig& config);

// The options as canonical JSON, defaults filled in, and back. Throws InputError naming place and
// key for a value of the wrong type, an unknown word or an unknown key.
std::string prob_transformer_json(const ModelConfig& config);
ProbTransformer parse_prob_transformer(const JsonKeys& keys);

// For people: "pt.message = full | symmetric | head", one option each, the default first.
std::vector<std::string> prob_transformer_option_texts();

// Throws InputError naming `where` and the option for what is out of range or does not go together.
void validate_prob_transformer(const ModelConfig& config, const std::string& where);

// K: 1, or the groups a side times the sides that a head may stand on. `pt` has its
// defaults filled in.
int64_t distance_groups(const ProbTransformer& pt);

// "pt/2/q"; "q" or, with several groups, "q/1"
std::string round_name(int64_t round, const std::string& tensor);
std::string group_name(const std::string& tensor, int64_t groups, int64_t group);

// The weights of label group m, and of a group's factors, which = "u" or "v".
std::string unary_weight(const ModelConfig& config, int64_t m);
std::string output_weight(const ModelConfig& config, int64_t m);
std::string factor_weight(int64_t group, const std::string& which);

// What tensor_list and weight_list of golden/contract/names.h hold for this method.
std::vector<TensorInfo> prob_transformer_tensors(const ModelConfig& config, int64_t batch,
                                                 int64_t positions);
std::vector<TensorInfo> prob_transformer_weights(const ModelConfig& config);

}  // namespace assay::golden
