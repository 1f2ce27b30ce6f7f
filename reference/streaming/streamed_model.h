// Sequences of any length through a model in constant memory: the chunk-wise form of the forward
// pass, in double precision.
//
// A chunk of C positions is evaluated on the model's own graph (build_model): every operation runs
// on the chunk's rows, and an operand that attention reads at keys is what the cache holds of
// earlier positions, followed by the chunk's own rows:
//
//   (1)  keys of a chunk that starts at position p:  sinks,  p - (W-1) .. p-1,  p .. p+C-1
//   (2)  query t sees key s iff causal_mask says so for their absolute positions
//   (3)  the chunk's rows are appended to the cache after it has been read: a position is evicted
//        when every later query is beyond its window
//
// Which operands those are the operations say themselves (Op::reads_keys), so that each method
// keeps what it needs: K and V of every layer; with methods 1 to 4 the values of each earlier layer
// run again, L(L+1)/2 value tensors in all; with 5.x each layer's K, whose scores against the
// chunk's queries are formed once; with 5.1E the factors of keys; with causal heads the
// Probabilistic Transformer's K of every round.
//
// What is promised: logits of position t are bit for bit those of the forward pass over the whole
// sequence, whatever the chunks, the other sequences of the batch and their lengths, with the
// products engine `ordered` and finite values. A masked key adds exactly 0 to every sum there; it
// is missing here. (Where a value is infinite or NaN the forward pass reads 0 times it, at masked
// keys too.)
//
// With a window, memory does not depend on the length. Without one, or with layers without it, the
// cache holds every position: the capacity is the longest sequence, and one more is an InputError.
// Of layers that have a window it then holds the window, in rings of their own.
// Source: docs/streaming.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/weights.h"
#include "reference/graph/graph.h"
#include "reference/numbers/array.h"
#include "reference/streaming/key_cache.h"

namespace assay::reference {

struct StreamOptions {
  int64_t batch = 1;  // sequences, each with a cache and a length of its own
  // Positions of a cache beside sinks, at least the window. 0: the longer of window and chunk;
  // without a window it has to be given.
  int64_t capacity = 0;
  // Positions of what only layers with a window read, where other layers have none: at least the
  // window. 0: the window.
  int64_t windowed = 0;
  int64_t chunk = 64;  // positions evaluated at once; more of them are taken in turn
  // On which side rows of a step that are shorter than others are filled up. No result shows it.
  enum class Padding { right, left } padding = Padding::right;
  KeyCacheFactory cache = nullptr;  // a ring (ring_cache.h) without one
  // Sees the named tensors of each chunk, of the sequences that go on in it, in the order of their
  // pieces, [B,..,T,..]; what it returns is what later ones read. First those of weights alone.
  std::function<Array(const NodeData& node, Array value)> observe = nullptr;
};

// What one sequence goes on with.
struct Piece {
  int64_t sequence = 0;
  std::span<const int32_t> tokens;  // [n], n >= 1
  // [n,V]; or [V], those of the last position; or empty. The head is computed for what is asked.
  std::span<double> logits;
  std::span<const uint8_t> real =
      {};  // [n], 0 = padding: a position that no query sees; empty: all
};

struct StreamStatistics {
  int64_t length = 0;      // positions appended since the last reset
  int64_t held = 0;        // of them in the cache
  int64_t capacity = 0;    // that it holds at most, sinks included
  int64_t evictions = 0;   // positions that have left it
  int64_t bytes = 0;       // allocated for the cache
  double utilisation = 0;  // held / capacity
};

class StreamedModel {
 public:
  // Reads every weight once. Throws InputError, with the reason, for a config that does not stream
  // (a bidirectional one: positions would hear from later ones), a capacity below the window, a
  // chunk above the capacity, and none given where the model has no window.
  StreamedModel(const golden::ModelConfig& config, const golden::WeightSource& weights,
                const StreamOptions& options);
  ~StreamedModel();

  // Appends to sequences, any number of positions each, several sequences in the same steps. A
  // sequence stands in at most one piece. Throws InputError before anything is appended to any of
  // them: a sequence that does not exist or stands twice, no tokens, a token outside the
  // vocabulary, logits of another size, more positions than the cache or a parameter is for. What
  // else is thrown while it runs (by a cache, for want of memory) leaves every sequence as it was,
  // too; only logits may have been written.
  void append(std::span<const Piece> pieces);
  void append(int64_t sequence, std::span<const int32_t> tokens, std::span<double> logits);

  // Makes sequence `to` the first `positions` of `from`: the rows that its cache holds are copied.
  // false, with nothing changed, where some have been evicted of some tensor. Throws InputError for
  // sequences that do not exist or are one, and more positions than there are.
  bool share(int64_t from, int64_t to, int64_t positions);
  void reset(int64_t sequence);  // an empty sequence; the others stay as they are
  int64_t length(int64_t sequence) const;
  StreamStatistics statistics(int64_t sequence) const;

  int64_t vocab_size() const;
  int64_t window() const;          // W, 0 for none
  int64_t most_positions() const;  // of a sequence: by parameters or capacity, at most 2^53
  const std::vector<KeptTensor>& kept() const;  // what a position leaves in the cache

 private:
  class Steps;
  std::unique_ptr<Steps> steps_;
};

}  // namespace assay::reference
