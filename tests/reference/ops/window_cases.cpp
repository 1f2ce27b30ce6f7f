#include <cmath>

#include "reference/ops/dynamic_mask.h"
#include "tests/reference/ops/cases.h"

namespace assay::reference::testing {
namespace {

constexpr int64_t kFarKey = 44;  // (b=1, h=0, t=3, s=0) of [2,2,4,4]

double padding_or_real(double u) { return u < -0.4 ? 0 : 1; }
// Sizes of windows that no step of a difference quotient changes.
double window_size(double u) { return 0.5 + std::floor((u + 1) / 2 * 4); }
// In turn z, the least and the most of those before, which lie apart.
std::function<double(double)> strengths_in_turn() {
  return [i = 0](double u) mutable {
    const int feature = i++ % 3;
    return feature == 0 ? 2 * u : feature == 1 ? -1.5 + u / 2 : 1.5 + u / 2;
  };
}

}  // namespace

std::vector<OpCase> window_cases() {
  using Inputs = std::vector<Node>;
  const OperandCase scores{.shape = {2, 2, 4, 4}, .axes = "BHTS"};
  const OperandCase mask{
      .kind = Kind::whole, .shape = {2, 4}, .axes = "BT", .element = padding_or_real};
  std::vector<OpCase> cases;
  const auto add = [&](OpCase one) { cases.push_back(std::move(one)); };
  add({.file = "dynamic_mask",
       .what = "causal_mask, windows of 1 to 4",
       .operands = {scores, mask, {.shape = {2, 4}, .axes = "BT", .element = window_size}},
       .build =
           [](const Inputs& in) {
             return causal_mask(in[0], in[1], in[2], {.least = 1, .most = 4});
           },
       .moves_only = true});
  add({.file = "dynamic_window",
       .what = "window_strengths",
       .operands = {scores, mask},
       .build =
           [](const Inputs& in) {
             return window_strengths(in[0], in[1], {1, 4, 0});
           },
       .float_twin = float_window_strengths,
       .constant = true,
       .used = kFarKey});
  add({.file = "dynamic_window",
       .what = "window_strengths of 2 keys and one sink",
       .operands = {scores, mask},
       .build =
           [](const Inputs& in) {
             return window_strengths(in[0], in[1], {1, 2, 1});
           },
       .constant = true,
       .used = kFarKey});
  add({.file = "dynamic_window",
       .what = "window_sizes",
       .operands = {{.shape = {2, 4, 3}, .axes = "BTD", .element = strengths_in_turn()}},
       .build =
           [](const Inputs& in) {
             return window_sizes(in[0], {1, 10001, 0});
           },
       .moves_only = true,
       .constant = true});
  return cases;
}

}  // namespace assay::reference::testing
