#include "verify/judge/slope_check.h"

#include <fmt/format.h>

#include <algorithm>

namespace assay::verify {

const Slope* first_outside(const std::vector<Slope>& slopes) {
  const auto found = std::find_if(slopes.begin(), slopes.end(),
                                  [](const Slope& slope) { return !(slope.ratio() <= 1); });
  return found == slopes.end() ? nullptr : &*found;
}

std::string slope_text(const Slope& slope, const std::string& inputs) {
  return fmt::format("FAIL /{}: {:.6g} times what its inputs give ({}): expected 1 +- {:.2g}",
                     slope.name, 1 + slope.excess, inputs, slope.bound);
}

Check slope_check(const std::vector<Slope>& slopes, const std::string& inputs, double seconds) {
  Check check{.name = "numerics: slope", .summary = {}, .details = {}, .seconds = seconds};
  const auto outside = std::count_if(slopes.begin(), slopes.end(),
                                     [](const Slope& slope) { return !(slope.ratio() <= 1); });
  const auto& worst =
      *std::max_element(slopes.begin(), slopes.end(),
                        [](const Slope& a, const Slope& b) { return a.ratio() < b.ratio(); });
  const auto& widest =
      *std::max_element(slopes.begin(), slopes.end(),
                        [](const Slope& a, const Slope& b) { return a.bound < b.bound; });
  check.status = outside > 0 ? Status::fail : Status::pass;
  check.summary = fmt::format(
      "{} of {} checkpoints are a multiple of what their inputs give; largest excess / bound "
      "{:.3g} at {}; widest bound {:.2g} at {}",
      outside, slopes.size(), worst.ratio(), worst.name, widest.bound, widest.name);
  if (const Slope* first = first_outside(slopes)) {
    check.details.push_back(slope_text(*first, inputs));
  }
  return check;
}

}  // namespace assay::verify
