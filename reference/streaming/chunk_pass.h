// One chunk through a model's graph: rows at positions of their own, keys from a cache. See
// streamed_model.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/weights.h"
#include "reference/graph/graph.h"
#include "reference/graph/places.h"
#include "reference/numbers/array.h"
#include "reference/streaming/key_cache.h"

namespace assay::reference {

struct ChunkInputs {
  Places places;
  Array tokens;         // [B,T]
  Array real;           // [B,S]: 1, or 0 for padding and keys that are not there
  bool logits = false;  // whether anybody asks for them
  // Kept tensor i at the keys, [B,heads,S,width] or [B,S,width], from the chunk's own rows
  // [B,heads,T,width] or [B,T,width].
  std::function<Array(std::size_t i, const Array& rows)> keys;
};

struct ChunkResults {
  Array logits;             // [B,T,V]; absent if nobody asked
  std::vector<Array> rows;  // of each kept tensor, the chunk's own
};

// Of every named tensor: what later ones read in its place.
using ObserveChunk = std::function<Array(const NodeData& node, Array value)>;

class ChunkPass {
 public:
  // Binds all weights, and evaluates once what depends on weights alone. observe may be empty.
  ChunkPass(const golden::ModelConfig& config, const golden::WeightSource& weights,
            ObserveChunk observe);

  ChunkResults run(const ChunkInputs& inputs) const;
  const std::vector<KeptTensor>& kept() const { return kept_; }

 private:
  std::vector<int> needed(bool logits) const;
  void find_kept();
  void find_windowed(const golden::ModelConfig& config);
  void find_fixed(const golden::WeightSource& weights);
  Array value_of_node(int id, const std::vector<Array>& operands, const ChunkInputs& inputs) const;

  Array observed(const NodeData& node, Array value) const;

  ObserveChunk observe_;
  std::unique_ptr<Graph> graph_;
  int logits_ = -1;
  std::vector<Array> fixed_;       // by node: weights, and what is made of weights alone
  std::map<int, std::size_t> of_;  // kept tensor by node
  std::vector<KeptTensor> kept_;   // in order of computation
  std::vector<int> with_logits_, without_logits_;
};

}  // namespace assay::reference
