#include "cuda_impl/engine/memory/batch.h"

#include <fmt/format.h>

#include "cuda_impl/kernels/kernels.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// Of a batch or a chunk [B,columns], for messages.
struct Extents {
  const char* what;
  const char* names;
  int64_t B, columns;
};

void check_size(const char* name, std::size_t size, const Extents& extents) {
  const int64_t expected = extents.B * extents.columns;
  if (static_cast<int64_t>(size) == expected) return;
  throw InputError(fmt::format("{}: {}: expected {} values ({} = [{},{}]), got {}", extents.what,
                               name, expected, extents.names, extents.B, extents.columns, size));
}

template <class T, class Accept>
void check_values(const char* name, std::span<const T> values, const Extents& extents,
                  const std::string& expected, const Accept& accept) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (accept(values[i])) continue;
    const auto place = static_cast<int64_t>(i);
    throw InputError(fmt::format("{}: {} at (b{},t{}): expected {}, got {}", extents.what, name,
                                 place / extents.columns, place % extents.columns, expected,
                                 values[i]));
  }
}

void check_tokens(const golden::ModelConfig& config, std::span<const int32_t> tokens,
                  std::span<const uint8_t> mask, const Extents& extents) {
  const int64_t V = config.vocab_size;
  check_values("tokens", tokens, extents, fmt::format("0 .. {}", V - 1),
               [V](int32_t id) { return id >= 0 && id < V; });
  check_values("attention_mask", mask, extents, "0 or 1", [](uint8_t real) { return real <= 1; });
}

}  // namespace

void check_batch(const golden::ModelConfig& config, const Batch& batch) {
  if (batch.batch < 1 || batch.positions < 1) {
    throw InputError(fmt::format("batch: expected [B,T] of at least [1,1], got [{},{}]",
                                 batch.batch, batch.positions));
  }
  if (batch.positions > config.max_position_embeddings) {
    throw InputError(fmt::format("batch: T: expected at most max_position_embeddings = {}, got {}",
                                 config.max_position_embeddings, batch.positions));
  }
  const Extents extents{"batch", "[B,T]", batch.batch, batch.positions};
  check_size("tokens", batch.tokens.size(), extents);
  check_size("attention_mask", batch.attention_mask.size(), extents);
  check_size("labels", batch.labels.size(), extents);
  check_tokens(config, batch.tokens, batch.attention_mask, extents);
  const int64_t V = config.vocab_size;
  check_values("labels", batch.labels, extents, fmt::format("0 .. {} or {}", V - 1, kIgnoredLabel),
               [V](int32_t id) { return id == kIgnoredLabel || (id >= 0 && id < V); });
}

int64_t counted_labels(const Batch& batch, int label_shift) {
  int64_t counted = 0;
  for (std::size_t i = 0; i < batch.labels.size(); ++i) {
    const bool predicted = static_cast<int64_t>(i) % batch.positions >= label_shift;
    counted += predicted && batch.labels[i] != kIgnoredLabel;
  }
  return counted;
}

void check_chunk(const golden::ModelConfig& config, const Chunk& chunk,
                 std::span<const int64_t> lengths, int64_t capacity) {
  if (chunk.positions < 1) {
    throw InputError(
        fmt::format("chunk: C: expected at least 1 position, got {}", chunk.positions));
  }
  const Extents extents{"chunk", "[B,C]", static_cast<int64_t>(lengths.size()), chunk.positions};
  check_size("tokens", chunk.tokens.size(), extents);
  if (!chunk.attention_mask.empty()) {
    check_size("attention_mask", chunk.attention_mask.size(), extents);
  }
  check_tokens(config, chunk.tokens, chunk.attention_mask, extents);
  const Extents rows{"chunk", "[B,1]", extents.B, 1};
  if (!chunk.counts.empty()) {
    check_size("counts", chunk.counts.size(), rows);
    check_values("counts", chunk.counts, rows, fmt::format("0 .. {}", chunk.positions),
                 [&](int32_t count) { return count >= 0 && count <= chunk.positions; });
  }
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    const int64_t count = chunk.counts.empty() ? chunk.positions : chunk.counts[b];
    if (lengths[b] + count <= capacity) continue;
    throw InputError(
        fmt::format("chunk: sequence {}: expected at most {} positions in all, got {} after {}: "
                    "make the decoder "
                    "with a larger capacity, or reset the sequence",
                    b, capacity, count, lengths[b]));
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
