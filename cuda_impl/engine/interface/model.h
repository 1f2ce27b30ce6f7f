// The production implementation as a caller sees it: a model made from a config and weights, a
// forward pass, taps and forced inputs by name. Two back ends run the same kernels: the host
// executor and the GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/contract/tensor.h"
#include "golden/contract/weights.h"

namespace assay::cuda {

// How methods 1 to 4 run earlier layers again on the current input.
enum class Recompute {
  each,     // one after the other: every tensor of every recompute can be read out and forced
  stacked,  // all at once (stacked_recompute.h): faster, and no tensor below recompute/ exists
};

// What a forward pass keeps of a layer for the backward pass. The rest is formed again, a layer at
// a time, to the same bits: gradients do not depend on it, only memory and time (docs/engine.md).
enum class Keep {
  all,     // what the backward pass reads: no checkpointing
  shared,  // its input, and what later layers read of it: q and k, of methods 1 to 4 lse too
  inputs   // its input alone. Of methods 1 to 4 every layer that reads A_j forms it again; scores
           // of 5.x are sums over all layers' q and k, which stand side by side: as shared
};

// Blocks of so many positions, which sequences take as they grow, give back at their end and share
// where they begin alike.
struct CacheBlocks {
  std::size_t positions = 0;  // 0: none, each sequence has its whole capacity
  // All taken at once. 0: as many as all sequences need at full length, taken as they are needed.
  std::size_t count = 0;
};

struct ModelOptions {
  Recompute recompute = Recompute::each;
  // The gradient of embeddings is added up in the order of arrival: faster, and with other bits
  // every time. Everything else is deterministic.
  bool fast_atomics = false;
  // What logits may take, of one position at least: a loss is formed from a tile of positions after
  // the other, so that no array [B,T,V] exists. A probe that wants the logits gets them all.
  std::size_t head_bytes = std::size_t{64} << 20;
  // What a stacked recompute may take, of one layer at least; a backward pass takes less than that
  // once more, with learned weights perhaps as much. Only speed depends on it.
  std::size_t stack_bytes = std::size_t{1} << 30;
  // What the probabilities may take that recomputes read. Where those of the layers that are run
  // again fit into it, (L-1) B H T T scalars of the storage type, they are kept from each layer's
  // own attention and multiplied with the new values; where they do not (0: never), and in decoding
  // and in what a backward pass forms again, they are rebuilt from queries and keys every time.
  // Memory for them is taken only where they fit. Kept ones are rounded to the storage type: there
  // the bits of a narrow type's recomputes change.
  std::size_t stored_bytes = 0;
  Keep keep = Keep::all;
  // In decoding, a chunk of one position: its keys are read in parts of so many positions, a
  // multiple of 32, by blocks of their own, so that one query with many keys fills a GPU. 0: one
  // block reads them all, and the bits are those of the forward pass.
  std::size_t key_span = 0;
  // Of every cache in decoding.
  CacheBlocks cache = {};
};

// What a cache in blocks holds.
struct BlockUse {
  int64_t positions = 0;            // of a block; 0: the cache has no blocks
  int64_t blocks = 0;               // that there may be
  int64_t used = 0, most_used = 0;  // held now, and at most so far; one that is shared counts once
  int64_t promised = 0;             // free ones that only those can take whom they are promised to
  int64_t shared = 0, copied = 0;   // taken from another sequence, copied on a write, so far
};

struct Batch {
  int64_t batch = 0;
  int64_t positions = 0;
  std::span<const int32_t> tokens;          // [B,T]
  std::span<const uint8_t> attention_mask;  // [B,T], 1 = real token, 0 = padding
  // [B,T], -100 = not counted; position t predicts labels[t+1], with `pt`'s output mlm labels[t]
  std::span<const int32_t> labels;
};

// Reads tensors out and puts others in, by the names of golden::tensor_list. Neither changes what a
// kernel computes.
class Probe {
 public:
  virtual ~Probe() = default;
  // false: it reads logits and loss alone and forces nothing. The pass then runs as it does without
  // a probe, operations joined and logits in tiles where nobody wants them.
  virtual bool looks_inside() { return true; }
  // Whether tap() wants this tensor; scores and probabilities (golden::is_attention_matrix) are
  // only formed if somebody does.
  virtual bool wants(const std::string& name) = 0;
  virtual void tap(const std::string& name, golden::TensorView value) = 0;
  // Called after tap(): fill `value` (its size is the tensor's) and return true, and every later
  // kernel reads that instead. Never called for scores and probabilities, which no kernel reads
  // back.
  virtual bool force(const std::string& name, std::span<double> value) = 0;
};

// Called once for every weight, learned parameters of the method included, by its checkpoint's name
// and shape.
using ReceiveTensor = std::function<void(const std::string& name, golden::TensorView value)>;
using ReceiveGradient = ReceiveTensor;  // the gradient of the loss

// What every sequence of a decoder goes on with.
struct Chunk {
  int64_t positions = 0;                    // C
  std::span<const int32_t> tokens;          // [B,C]
  std::span<const uint8_t> attention_mask;  // [B,C], 1 = real token, 0 = padding; empty: all real
  std::span<const int32_t> counts;  // [B], a row has its first counts[b] of C; empty: every row C
};

// Reads sequences piece by piece, a prompt and then token by token, and keeps in a cache what later
// positions read of earlier ones. What comes out is what a forward pass over the whole
// sequence computes at that position.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // Appends the chunk to its sequences, and unless `logits` is empty fills it [B,V] with those
  // behind each one's last new position; a row with count 0 gets zeros. Throws InputError, with
  // nothing appended, for a chunk that does not fit the config, the capacity, the largest chunk or
  // the blocks that are free.
  virtual void append(const Chunk& chunk, std::span<double> logits) = 0;
  // Empties the sequence; the blocks that it alone holds, or was promised, are free.
  virtual void reset(int64_t sequence) = 0;
  // Promises blocks for the sequence up to `positions`, those that it has among them, in place of
  // an earlier promise. false, with nothing changed, where there are too few that are free and not
  // promised. Without blocks always true. Throws InputError for more than the capacity.
  virtual bool reserve(int64_t sequence, int64_t positions) = 0;
  // Makes sequence `to` the first `positions` of sequence `from`, whatever it was before: what the
  // cache holds of them is copied, or with blocks shared, and is bit for bit what reading them
  // again would give. false, with nothing changed, where the cache has not kept all of them, or
  // has no block for the copy of one that is not full. A promise to `to` holds if it was empty.
  // Throws InputError for sequences that do not exist or are one, and more positions than there
  // are.
  virtual bool share(int64_t from, int64_t to, int64_t positions) = 0;
  virtual std::span<const int64_t> lengths() const = 0;  // [B], in positions
  virtual int64_t cache_bytes() const = 0;
  virtual int64_t cache_rows() const = 0;  // of a sequence: how many positions it can keep
  virtual BlockUse block_use() const = 0;
  virtual int64_t vocab_size() const = 0;  // V
};

class Model {
 public:
  virtual ~Model() = default;
  // Computes every tensor of golden::tensor_list in order, with Recompute::stacked those below
  // recompute/ excepted. probe may be null. Throws InputError for
  // a batch that does not fit the config, and simt::Error (kernel, shape, cause) for a failed
  // launch.
  virtual void forward(const Batch& batch, Probe* probe) = 0;
  // A forward and a backward pass; returns the loss. With an empty `receive` the gradients stay
  // where they are formed.
  virtual double gradients(const Batch& batch, const ReceiveGradient& receive) = 0;
  // For `sequences` rows of up to `capacity` positions each, read in chunks of up to `chunk`
  // positions; 0: of any. Where `chunk` is given and every layer has a window, the cache keeps what
  // the window needs and no more: the sinks, and window + chunk - 1 positions, both rounded up to a
  // multiple of 64. It stays valid without the model.
  // Throws InputError where the config ends before the capacity: max_position_embeddings, or a
  // parameter with a value for every position (5.1A, 5.1B, 5.1C, C-base); Unsupported for pt unless
  // its heads are causal: a word would hear from later ones.
  virtual std::unique_ptr<Decoder> decoder(int64_t sequences, int64_t capacity, int64_t chunk,
                                           const CacheBlocks& blocks) = 0;
  // With the blocks of the model's options.
  virtual std::unique_ptr<Decoder> decoder(int64_t sequences, int64_t capacity,
                                           int64_t chunk = 0) = 0;
  virtual golden::PrecisionSchedule precision() const = 0;
};

// The same sources on the host executor (fp64, fp32, tf32, bf16, fp16) and on the GPU (all but
// fp64).
// tf32 stores and adds fp32, and gemms with weights read their factors as tf32, forward and
// backward; attention reads fp32. fp32 never reads tf32.
std::unique_ptr<Model> make_host_model(const golden::ModelConfig& config,
                                       golden::Precision precision,
                                       const golden::WeightSource& weights,
                                       const ModelOptions& options = {});
std::unique_ptr<Model> make_device_model(const golden::ModelConfig& config,
                                         golden::Precision precision,
                                         const golden::WeightSource& weights,
                                         const ModelOptions& options = {});

// Why make_device_model cannot work here, for a message that says what was skipped; "" if it can.
std::string device_unavailable();

}  // namespace assay::cuda
