// Levels of a curve: its end, its best. Internal.
#pragma once

#include <cstddef>

#include "verify/training/evidence.h"

namespace assay::verify::training {

struct Level {
  double value = 0;
  double error = 0;
  std::size_t first = 0, count = 0;  // the points it is of
  bool is_known = false;             // the error, from 4 points or more
};

// The finite values only, in order.
Series finite_part(const Series& series);
// The median of the last tenth, or other share, of the points: of at least 3 if there are 12.
Level late_level(const Series& series, double share = 0.1);
// The lowest mean of so many neighbours.
Level best_level(const Series& series, std::size_t width);
// Of the points whose steps are nearest to `step`.
Level level_near(const Series& series, double step, std::size_t width);

}  // namespace assay::verify::training
