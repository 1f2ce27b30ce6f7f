#include "cli/train/losses.h"

#include <algorithm>
#include <cmath>

namespace assay::cli {

std::vector<double> losses_of(std::span<const double> logits, const TrainRows& rows, int64_t vocab,
                              int64_t ahead) {
  std::vector<double> losses;
  for (int64_t b = 0; b < rows.rows; ++b) {
    for (int64_t t = 0; t + ahead < rows.positions; ++t) {
      const int64_t row = b * rows.positions + t;
      const int32_t label = rows.labels[static_cast<std::size_t>(row + ahead)];
      const auto z =
          logits.subspan(static_cast<std::size_t>(row * vocab), static_cast<std::size_t>(vocab));
      const double most = *std::max_element(z.begin(), z.end());
      double sum = 0;
      for (const double value : z) sum += std::exp(value - most);
      const double all = most + std::log(sum);
      losses.push_back(label == -100 ? 0 : all - z[static_cast<std::size_t>(label)]);
    }
  }
  return losses;
}

}  // namespace assay::cli
