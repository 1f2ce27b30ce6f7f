#include "verify/lockstep/stale_weights.h"

#include <cmath>

namespace assay::verify {

Staleness staleness(const StepGradient& due, const StepGradient& older, const Tensors& handed,
                    double reach) {
  double product = 0, square = 0;
  for (const auto& [name, value] : due.values) {
    const std::vector<double>& got = handed.at(name).values;
    const double* sigma = due.deviations.at(name).data();
    const double* other = older.values.at(name).data();
    for (int64_t i = 0; i < value.size(); ++i) {
      if (!(sigma[i] > 0) || !std::isfinite(sigma[i])) continue;
      const double d = (other[i] - value.data()[i]) / sigma[i];
      const double e = (got[static_cast<std::size_t>(i)] - value.data()[i]) / sigma[i];
      product += d * e;
      square += d * d;
    }
  }
  return {product / square, reach / std::sqrt(square)};
}

Staleness staleness_of_loss(const StepGradient& due, const StepGradient& older, double handed,
                            double reach) {
  const double d = older.loss - due.loss;
  return {(handed - due.loss) / d, reach * due.loss_deviation / std::fabs(d)};
}

}  // namespace assay::verify
