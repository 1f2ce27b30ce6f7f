#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/gpu_check/checks.h"
#include "golden/contract/test_bundle.h"
#include "verify/statistics/compare.h"

namespace assay::gpu_check {
namespace {

using golden::Precision;
using golden::Tensor;

constexpr int64_t kSteps = 4;  // behind the prompt, a position each

// Columns [first, first + count) of [B,T].
template <class T>
std::vector<T> columns(const std::vector<T>& all, int64_t positions, int64_t first, int64_t count) {
  std::vector<T> part;
  for (auto row = all.begin(); row != all.end(); row += positions) {
    part.insert(part.end(), row + first, row + first + count);
  }
  return part;
}

// Logits behind each chunk's last position, what they have to be, and within what.
struct Logits {
  std::vector<double> got, expected, bound;

  void compare(TensorRow& row) const {
    if (!std::all_of(bound.begin(), bound.end(), [](double b) { return std::isfinite(b); })) {
      row.why = "a bound of the bundle is not finite";
      return;
    }
    const verify::Comparison seen = verify::compare(expected, got, bound);
    row.elements = seen.compared;
    row.outside = seen.outside;
    row.ratio = seen.max_ratio;
    if (seen.compared == 0) row.why = "no elements";
    if (seen.outside > 0) {
      row.why = fmt::format("{} of {} outside, {} of them not finite", seen.outside, seen.compared,
                            seen.nonfinite);
    }
  }
};

Logits decode(const BundledCase& bundled, cuda::Model& model, const Tensor& golden,
              const Tensor& bound) {
  const auto& [B, T, tokens, mask, labels] = bundled.inputs;
  const int64_t V = bundled.config.vocab_size;
  Logits logits;
  std::vector<double> behind(static_cast<std::size_t>(B * V));
  const std::unique_ptr<cuda::Decoder> decoder = model.decoder(B, T);
  int64_t count = std::max<int64_t>(1, T - kSteps);
  for (int64_t t = 0; t < T; t += count, count = 1) {
    const auto chunk_tokens = columns(tokens, T, t, count);
    const auto chunk_mask = columns(mask, T, t, count);
    decoder->append({count, chunk_tokens, chunk_mask, {}}, behind);
    logits.got.insert(logits.got.end(), behind.begin(), behind.end());
    for (int64_t b = 0; b < B; ++b) {
      const int64_t from = (b * T + t + count - 1) * V;
      const auto add = [&](std::vector<double>& to, const Tensor& of) {
        to.insert(to.end(), of.values.begin() + from, of.values.begin() + from + V);
      };
      add(logits.expected, golden);
      add(logits.bound, bound);
    }
  }
  return logits;
}

}  // namespace

CaseCheck check_decode(const BundledCase& bundled, cuda::Model& model, Precision precision) {
  CaseCheck check = make_check("decode", bundled, precision);
  const Tensor* golden = bundled.find("golden/logits");
  const Tensor* bound = bundled.find(golden::bundle::bound_name(precision, "logits"));
  const golden::Shape due{bundled.inputs.batch, bundled.inputs.positions,
                          bundled.config.vocab_size};
  TensorRow row{.name = "logits"};
  if (golden == nullptr || bound == nullptr || golden->shape != due || bound->shape != due) {
    row.why = "logits: not in the bundle in their shape";
  } else {
    decode(bundled, model, *golden, *bound).compare(row);
  }
  check.check.status = row.passed() ? verify::Status::pass : verify::Status::fail;
  check.check.summary =
      fmt::format("{} elements of logits, {} outside; largest error / bound {:.3g}", row.elements,
                  row.outside, row.ratio);
  check.rows = {row};
  return check;
}

}  // namespace assay::gpu_check
