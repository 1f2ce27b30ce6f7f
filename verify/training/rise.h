// A training loss that rose from its best level and stays up. Internal.
#pragma once

#include <string>

#include "verify/training/evidence.h"

namespace assay::verify::training {

struct Rise {
  double from = 0;          // the best level
  double height = 0;        // of the end over it
  double limit = 0;         // of the height: what matters, and its noise
  double sum = 0;           // CUSUM
  double first_step = 0;    // of the best level
  double last_step = 0;     // of the best level
  double end_step = 0;      // from which on the end is
  std::string excuse = {};  // what else explains it; "" for nothing

  bool is_lasting() const {
    constexpr double kAlarm = 10;
    return sum > kAlarm && height > limit;
  }
};

// Of a training loss of 8 finite points or more. A rise is excused where val was seen before and
// during it and is no higher for it, and where the loss rises as much in every epoch or other
// period; not where the loss ends above where it began.
Rise rise_of(const Curve& curve);

}  // namespace assay::verify::training
