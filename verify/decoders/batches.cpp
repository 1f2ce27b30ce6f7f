#include "verify/decoders/batches.h"

#include <algorithm>
#include <numeric>

namespace assay::verify {

Batch part_of(const Batch& batch, const std::vector<int64_t>& rows, int64_t first, int64_t count,
              const Batch& more) {
  Batch part;
  part.batch = static_cast<int64_t>(rows.size());
  part.positions = count;
  for (const int64_t row : rows) {
    const Batch& from = row < 0 ? more : batch;
    const auto append = [&](auto& to, const auto& values) {
      const auto begin = values.begin() + std::max<int64_t>(row, 0) * from.positions + first;
      to.insert(to.end(), begin, begin + count);
    };
    append(part.tokens, from.tokens);
    append(part.attention_mask, from.attention_mask);
    append(part.labels, from.labels);
  }
  return part;
}

Batch part_of(const Batch& batch, int64_t first, int64_t count) {
  std::vector<int64_t> rows(static_cast<std::size_t>(batch.batch));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return part_of(batch, rows, first, count, batch);
}

}  // namespace assay::verify
