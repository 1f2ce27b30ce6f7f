#include "cuda_impl/engine/batch.h"

#include <fmt/format.h>

#include "cuda_impl/kernels/kernels.h"
#include "golden/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

void check_size(const char* name, std::size_t size, const Batch& batch) {
  const int64_t expected = batch.batch * batch.positions;
  if (static_cast<int64_t>(size) == expected) return;
  throw InputError(fmt::format("batch: {}: expected {} values ([B,T] = [{},{}]), got {}", name,
                               expected, batch.batch, batch.positions, size));
}

template <class T, class Accept>
void check_values(const char* name, std::span<const T> values, const Batch& batch,
                  const std::string& expected, const Accept& accept) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (accept(values[i])) continue;
    const auto place = static_cast<int64_t>(i);
    throw InputError(fmt::format("batch: {} at (b{},t{}): expected {}, got {}", name,
                                 place / batch.positions, place % batch.positions, expected,
                                 values[i]));
  }
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
  check_size("tokens", batch.tokens.size(), batch);
  check_size("attention_mask", batch.attention_mask.size(), batch);
  check_size("labels", batch.labels.size(), batch);

  const int64_t V = config.vocab_size;
  const auto is_token = [V](int32_t id) { return id >= 0 && id < V; };
  check_values("tokens", batch.tokens, batch, fmt::format("0 .. {}", V - 1), is_token);
  check_values("attention_mask", batch.attention_mask, batch, "0 or 1",
               [](uint8_t real) { return real <= 1; });
  check_values("labels", batch.labels, batch, fmt::format("0 .. {} or {}", V - 1, kIgnoredLabel),
               [&](int32_t id) { return id == kIgnoredLabel || is_token(id); });
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
