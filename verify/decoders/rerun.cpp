// repeat, of any decoder: what differs from run to run, and whether the batch before is in it.
#include <fmt/format.h>

#include <algorithm>

#include "verify/decoders/detect.h"

namespace assay::verify {
namespace {

constexpr int kRepeats = 4;
constexpr double kMargin = 8;  // times the largest difference that repeats showed

// The largest difference of each tensor that both have in one shape.
std::vector<double> largest_differences(const Recording& a, const Recording& b) {
  std::vector<double> list(a.tensors(), 0);
  for (std::size_t i = 0; i < a.tensors(); ++i) {
    const std::size_t j = index_of(b, a.name(i));
    if (j == b.tensors() || a.tensor(i).tensor.shape != b.tensor(j).tensor.shape) continue;
    const std::vector<double>&x = a.tensor(i).tensor.values, &y = b.tensor(j).tensor.values;
    for (std::size_t k = 0; k < x.size(); ++k) {
      list[i] = std::max(list[i], distance(x[k], y[k]));
    }
  }
  return list;
}

// The first tensor of which any bit differs; "" if none does.
std::string first_difference(const Recording& a, const Recording& b) {
  for (const Difference& difference : a.differences(b)) {
    if (difference.any != unchanged) return a.name(difference.index);
  }
  return "";
}

// Which tensor of the batch depends on the tokens of the batch that was run before it; "" if none
// does, or no instance can be made. Instances that ran the same show what is noise. A number that
// takes few values may agree by chance, so what is suspected has to hold for more of them.
std::string tensor_with_the_batch_before(const Decoder& decoder) {
  constexpr int kConfirmations = 4;
  Experiment& experiment = decoder.experiment;
  const int64_t n = experiment.batch().positions;
  const auto after = [&](const char* stream) -> std::optional<Recording> {
    const auto fresh = experiment.fresh();
    if (!fresh) return std::nullopt;
    experiment.record(*fresh, experiment.with_tokens(0, n, stream));
    return experiment.record(*fresh, experiment.batch());
  };
  const std::optional<Recording> one = after("before/1");
  if (!one) return "";
  const Recording other = *after("before/2");
  std::vector<double> found = largest_differences(*one, other), noise(found.size(), 0);
  const auto suspect = [&] {
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] > kMargin * noise[i]) return i;
    }
    return found.size();
  };
  for (int i = 0; i < kConfirmations && suspect() < found.size(); ++i) {
    const Recording same = *after("before/1"), same_other = *after("before/2");
    const std::vector<double> apart = largest_differences(*one, same);
    const std::vector<double> other_apart = largest_differences(other, same_other);
    const std::vector<double> across = largest_differences(same, same_other);
    for (std::size_t k = 0; k < found.size(); ++k) {
      noise[k] = std::max({noise[k], apart[k], other_apart[k]});
      found[k] = std::min(found[k], across[k]);
    }
  }
  return suspect() < found.size() ? one->name(suspect()) : "";
}

}  // namespace

Check detect_rerun(const Decoder& decoder, const Recording& first) {
  Experiment& experiment = decoder.experiment;
  const Recording& base = experiment.base();
  Check check{.name = "repeat", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  std::vector<double> noise(base.tensors(), 0);
  std::string differs;
  for (int i = 0; i < kRepeats; ++i) {
    const Recording again = experiment.record(experiment.batch());
    if (differs.empty()) differs = first_difference(base, again);
    const std::vector<double> apart = largest_differences(base, again);
    for (std::size_t k = 0; k < noise.size(); ++k) noise[k] = std::max(noise[k], apart[k]);
  }
  const std::string changed = first_difference(base, first);
  if (differs.empty() && changed.empty()) {
    check.summary = fmt::format("{} runs on one batch agree bit for bit, {} tensors", kRepeats + 2,
                                base.tensors());
    return check;
  }
  if (const std::string tensor = tensor_with_the_batch_before(decoder); !tensor.empty()) {
    check.status = Status::fail;
    check.summary =
        fmt::format("state survives a call: {} depends on the tokens of the batch before", tensor);
    return check;
  }
  check.status = Status::inconclusive;
  if (differs.empty()) {
    check.summary =
        fmt::format("the first run on a batch is not what later ones are, first at {}", changed);
    return check;
  }
  const auto worst = std::max_element(noise.begin(), noise.end());
  check.summary = fmt::format(
      "runs on one batch differ, first at {}, whatever ran before; by up "
      "to {:.2g} at {}",
      differs, *worst, base.name(static_cast<std::size_t>(worst - noise.begin())));
  check.details = {fmt::format(
      "sums in varying order, numbers drawn anew, or a count of calls; what follows takes {:g} "
      "times the largest difference of each tensor for noise, and a smaller leak does not show",
      kMargin)};
  for (double& x : noise) x *= kMargin;
  experiment.allow(std::move(noise));
  return check;
}

}  // namespace assay::verify
