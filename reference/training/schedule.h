// The learning rate of a step: linear warm-up, then half a cosine down to a floor.
//
//   s = 0 .. N-1, the steps before this one; W of warm-up
//   (1)  s < W    peak (s + 1) / W
//   (2)  s >= W   floor + (peak - floor) (1 + cos(pi (s - W) / (N - 1 - W))) / 2
//
// The last step of the warm-up has the peak, and so has the first one after it; the last step of
// all has the floor. From step N on the rate is the floor.
// Source: Loshchilov and Hutter, "SGDR", 2017, equation 5, with one period; Goyal et al.,
// "Accurate, Large Minibatch SGD", 2017, section 2.2.
#pragma once

#include <cstdint>

namespace assay::reference {

struct Schedule {
  double peak = 1e-3;
  double floor = 0;
  int64_t warmup = 0;  // W
  int64_t steps = 1;   // N
};

// Throws InputError for a number out of range, by name.
void validate(const Schedule& schedule, const char* where);

double learning_rate(const Schedule& schedule, int64_t step);

}  // namespace assay::reference
