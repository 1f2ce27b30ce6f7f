#include "cuda_impl/engine/cached_decoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda_impl/engine/blocks/forward_pass.h"
#include "cuda_impl/engine/mean_field/mean_field_pass.h"
#include "cuda_impl/engine/memory/batch.h"
#include "cuda_impl/engine/memory/convert.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

int64_t checked_capacity(const golden::ModelConfig& config, int64_t sequences, int64_t capacity) {
  if (sequences < 1 || capacity < 1) {
    throw InputError(fmt::format("decoder: expected at least 1 sequence and 1 position, got {}, {}",
                                 sequences, capacity));
  }
  const auto at_most = [capacity](const char* what, int64_t most) {
    if (capacity <= most) return;
    throw InputError(
        fmt::format("decoder: capacity: expected at most {} = {}, got {}", what, most, capacity));
  };
  at_most("max_position_embeddings", config.max_position_embeddings);
  if (golden::find_method(config.method).takes("score_positions")) {
    at_most("score_positions, for which the method has parameters,",
            golden::score_positions_of(config));
  }
  return capacity;
}

int64_t checked_chunk(int64_t chunk, int64_t capacity) {
  if (chunk >= 0 && chunk <= capacity) return chunk == 0 ? capacity : chunk;
  throw InputError(
      fmt::format("decoder: chunk: expected 0 .. the capacity {}, got {}", capacity, chunk));
}

}  // namespace

template <class Pass>
CachedDecoder<Pass>::CachedDecoder(std::shared_ptr<const Parts> parts, int64_t sequences,
                                   int64_t capacity, int64_t chunk, const CacheBlocks& blocks)
    : parts_(std::move(parts)),
      capacity_(checked_capacity(parts_->config, sequences, capacity)),
      chunk_(checked_chunk(chunk, capacity)),
      cache_(*parts_, cache_extent(parts_->config, blocks, sequences, capacity, chunk_)),
      pass_(parts_, &cache_),
      lengths_(static_cast<std::size_t>(sequences)) {}

template <class Pass>
void CachedDecoder<Pass>::append(const Chunk& chunk, std::span<double> logits) {
  if (chunk.positions > chunk_) {
    throw InputError(fmt::format(
        "chunk: C: expected at most the {} positions that the decoder was made for, got {}", chunk_,
        chunk.positions));
  }
  check_chunk(parts_->config, chunk, lengths_, capacity_);
  const auto B = static_cast<int64_t>(lengths_.size());
  if (const int64_t expected = B * parts_->config.vocab_size;
      !logits.empty() && static_cast<int64_t>(logits.size()) != expected) {
    throw InputError(fmt::format("decoder: logits: expected {} values ([B,V] = [{},{}]), got {}",
                                 expected, B, parts_->config.vocab_size, logits.size()));
  }
  const auto C = static_cast<int32_t>(chunk.positions);
  const std::vector<int32_t> all(lengths_.size(), C);
  const std::vector<uint8_t> padding_mask(chunk.tokens.size(), 1);
  Chunk whole = chunk;
  if (whole.counts.empty()) whole.counts = all;
  if (whole.attention_mask.empty()) whole.attention_mask = padding_mask;

  cache_.make_room(lengths_, whole.counts);
  cache_.place(lengths_, whole);
  const View<const Scalar, 2> stored = pass_.run(whole);
  if (!logits.empty()) read_logits(stored, whole.counts, logits);
  simt::synchronize();  // a fault on the device is reported by the chunk that caused it
  for (std::size_t b = 0; b < lengths_.size(); ++b) lengths_[b] += whole.counts[b];
  cache_.let_go(lengths_);
}

template <class Pass>
void CachedDecoder<Pass>::read_logits(View<const Scalar, 2> stored, std::span<const int32_t> counts,
                                      std::span<double> logits) const {
  std::vector<Scalar> values(logits.size());
  simt::copy_out(values.data(), stored.data, values.size() * sizeof(Scalar), parts_->queue);
  const std::size_t V = logits.size() / counts.size();
  for (std::size_t i = 0; i < values.size(); ++i) {
    logits[i] = counts[i / V] == 0 ? 0.0 : widen(values[i]);
  }
}

template <class Pass>
void CachedDecoder<Pass>::check_sequence(int64_t sequence) const {
  if (sequence >= 0 && sequence < static_cast<int64_t>(lengths_.size())) return;
  throw InputError(
      fmt::format("decoder: sequence: expected 0 .. {}, got {}", lengths_.size() - 1, sequence));
}

template <class Pass>
void CachedDecoder<Pass>::reset(int64_t sequence) {
  check_sequence(sequence);
  cache_.release(sequence);
  lengths_[static_cast<std::size_t>(sequence)] = 0;
}

template <class Pass>
bool CachedDecoder<Pass>::reserve(int64_t sequence, int64_t positions) {
  check_sequence(sequence);
  if (positions < 0 || positions > capacity_) {
    throw InputError(fmt::format("decoder: reserve: expected 0 .. the capacity {}, got {}",
                                 capacity_, positions));
  }
  return cache_.reserve(sequence, positions);
}

template <class Pass>
bool CachedDecoder<Pass>::share(int64_t from, int64_t to, int64_t positions) {
  check_sequence(from);
  check_sequence(to);
  const int64_t length = lengths_[static_cast<std::size_t>(from)];
  if (from == to || positions < 0 || positions > length) {
    throw InputError(fmt::format(
        "decoder: share: expected 0 .. {} positions of another sequence, got {} of {} for {}",
        length, positions, from, to));
  }
  if (!cache_.holds_all(length) || !cache_.copy_prefix(from, to, positions, length)) return false;
  lengths_[static_cast<std::size_t>(to)] = positions;
  return true;
}

#define ASSAY_INSTANTIATE(S)                    \
  template class CachedDecoder<ForwardPass<S>>; \
  template class CachedDecoder<MeanFieldPass<S>>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
