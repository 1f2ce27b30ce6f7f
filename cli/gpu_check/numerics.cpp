#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/engine/engine_subject.h"
#include "cli/gpu_check/checks.h"
#include "cli/gpu_check/collected.h"
#include "golden/contract/names.h"
#include "golden/contract/test_bundle.h"
#include "verify/statistics/compare.h"

namespace assay::gpu_check {
namespace {

namespace bundle = golden::bundle;
using golden::Precision;
using golden::Tensor;

// Of the bundle, in the tensor's shape, or nullptr with row.why.
const Tensor* due(const BundledCase& bundled, const std::string& name, const golden::Shape& shape,
                  TensorRow& row) {
  const Tensor* tensor = bundled.find(name);
  if (tensor == nullptr) {
    row.why = fmt::format("{}: not in the bundle", name);
  } else if (tensor->shape != shape) {
    row.why = fmt::format("{}: expected {}, got {} in the bundle", name, golden::shape_text(shape),
                          golden::shape_text(tensor->shape));
    return nullptr;
  }
  return tensor;
}

bool all_finite(const Tensor& bound) {
  return std::all_of(bound.values.begin(), bound.values.end(),
                     [](double b) { return std::isfinite(b) && b >= 0; });
}

void compare_tensor(const Tensor& expected, const Tensor& bound, const Tensor& got,
                    TensorRow& row) {
  if (!all_finite(bound)) {
    row.why = "a bound of the bundle is negative or not finite";
    return;
  }
  const verify::Comparison seen = verify::compare(expected.values, got.values, bound.values);
  row.elements = seen.compared;
  row.outside = seen.outside;
  row.ratio = seen.max_ratio;
  if (seen.compared == 0) row.why = "no elements";
  if (seen.outside == 0) return;
  const auto i = static_cast<std::size_t>(seen.first);
  row.why = fmt::format(
      "{} of {} outside, {} of them not finite; element {}: expected {:.9g} +- {:.3g}, got {:.9g}",
      seen.outside, seen.compared, seen.nonfinite, seen.first, expected.values[i], bound.values[i],
      got.values[i]);
}

void check_storage(Precision storage, const Tensor& got, TensorRow& row) {
  if (!row.why.empty()) return;
  for (const double x : got.values) {
    if (golden::round_to(storage, x) == x) continue;
    row.why = fmt::format("{:.17g} is no number of {}, in which it should be stored", x,
                          golden::precision_name(storage));
    return;
  }
}

void check_schedule(const BundledCase& bundled, const verify::Subject& subject, Precision precision,
                    CaseCheck& check) {
  const golden::PrecisionSchedule has = subject.precision(),
                                  due = bundle::schedule_of(precision, bundled.narrow_probs);
  if (has.storage == due.storage && has.accumulate == due.accumulate &&
      has.wide_attention == due.wide_attention && has.narrow_probs == due.narrow_probs &&
      has.operands == due.operands) {
    return;
  }
  check.rows.push_back(
      {.name = "precision", .why = "the engine's schedule is not the one that the bounds are for"});
}

void conclude(CaseCheck& check, const Collected& got) {
  for (const std::string& fault : got.faults()) {
    check.rows.push_back({.name = "taps", .why = fault});
  }
  const auto failed = std::count_if(check.rows.begin(), check.rows.end(),
                                    [](const TensorRow& row) { return !row.passed(); });
  check.check.status =
      failed == 0 && check.compared() > 0 ? verify::Status::pass : verify::Status::fail;
  const TensorRow* worst = check.worst();
  check.check.summary = fmt::format(
      "{} of {} tensors outside, {} elements; largest error / bound {:.3g} "
      "at {}",
      failed, check.rows.size(), check.compared(), worst == nullptr ? 0 : worst->ratio,
      worst == nullptr ? "none" : worst->name);
}

// Names of the expected values and their bounds, by the tensor's.
using Named = std::string (*)(Precision, const std::string&);

void compare_all(const BundledCase& bundled, const verify::Subject& subject, Precision precision,
                 Named expected, Named bounds, const Collected& collected, CaseCheck& check) {
  for (const golden::TensorInfo& info : collected.declared()) {
    TensorRow row{.name = info.name};
    const Tensor* value = due(bundled, expected(precision, info.name), info.shape, row);
    const Tensor* bound = due(bundled, bounds(precision, info.name), info.shape, row);
    const Tensor* got = collected.find(info.name);
    if (got == nullptr) {
      row.why = "the engine did not hand it over";
    } else if (value != nullptr && bound != nullptr) {
      compare_tensor(*value, *bound, *got, row);
      check_storage(subject.precision().storage_of(info.name), *got, row);
    }
    check.rows.push_back(std::move(row));
  }
  conclude(check, collected);
}

Collected collect(const BundledCase& bundled, verify::Subject& subject,
                  const verify::Forced& forced) {
  auto due = golden::tensor_list(bundled.config, bundled.inputs.batch, bundled.inputs.positions);
  std::erase_if(due, [&](const golden::TensorInfo& info) { return !subject.computes(info.name); });
  Collected collected(std::move(due));
  subject.run(bundled.inputs, forced, [&](const verify::Observed& observed) {
    collected.take(observed.name, observed.tensor.view());
  });
  return collected;
}

std::string golden_name(Precision, const std::string& tensor) { return "golden/" + tensor; }

}  // namespace

CaseCheck check_free(const BundledCase& bundled, verify::Subject& subject, Precision precision) {
  CaseCheck check = make_check("free-running", bundled, precision);
  check_schedule(bundled, subject, precision, check);
  compare_all(bundled, subject, precision, golden_name, bundle::bound_name,
              collect(bundled, subject, {}), check);
  return check;
}

CaseCheck check_local(const BundledCase& bundled, verify::Subject& subject, Precision precision) {
  CaseCheck check = make_check("local", bundled, precision);
  check_schedule(bundled, subject, precision, check);
  Tensor rounded;
  const auto force = [&](const std::string& name) -> const Tensor* {
    const Tensor* golden = bundled.find("golden/" + name);
    if (golden == nullptr || golden::is_attention_matrix(name)) return nullptr;
    rounded = *golden;
    const Precision storage = subject.precision().storage_of(name);
    for (double& x : rounded.values) x = golden::round_to(storage, x);
    return &rounded;
  };
  compare_all(bundled, subject, precision, bundle::local_name, bundle::local_bound_name,
              collect(bundled, subject, force), check);
  return check;
}

// In a row: L(L+1)/2 runs of a block, forward and twice backward, each with the sums of its
// products (D, F, H Dh), its softmax (T), two norms (2 D); then the head (V), and the sum over all
// positions.
int64_t gradient_roundings(const golden::ModelConfig& c, int64_t positions) {
  const int64_t heads = c.num_attention_heads * c.head_dim;
  const int64_t block = 5 * c.hidden_size + 2 * c.intermediate_size + 2 * heads + 2 * positions;
  const int64_t blocks = c.num_hidden_layers * (c.num_hidden_layers + 1) / 2;
  return 3 * (blocks * block + c.hidden_size + c.vocab_size) + positions;
}

namespace {

double rms(std::span<const double> values) {
  double sum = 0;
  for (const double x : values) sum += x * x;
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

// The sizes that are added up in a gradient.
double size_of(const BundledCase& bundled, const std::string& weight, const Tensor& gradient) {
  const double own = rms(gradient.values);
  const std::size_t score = weight.find("self_attn.score.");
  if (score == std::string::npos) return own;
  const Tensor* q = bundled.find("gradient/" + weight.substr(0, score) + "self_attn.q_proj.weight");
  return q == nullptr ? own : std::max(own, rms(q->values));
}

}  // namespace

CaseCheck check_gradients(const BundledCase& bundled, cuda::Model& model) {
  CaseCheck check = make_check("gradients", bundled, Precision::fp32);
  Collected got(golden::weight_list(bundled.config));
  model.gradients(cli::engine_batch(bundled.inputs),
                  [&](const std::string& name, const golden::TensorView& gradient) {
                    got.take(name, gradient);
                  });
  const auto roundings =
      static_cast<double>(gradient_roundings(bundled.config, bundled.inputs.positions));
  for (const golden::TensorInfo& info : got.declared()) {
    TensorRow row{.name = info.name};
    const Tensor* expected = due(bundled, "gradient/" + info.name, info.shape, row);
    const Tensor* gradient = got.find(info.name);
    if (gradient == nullptr) {
      row.why = "the engine did not hand it over";
    } else if (expected != nullptr) {
      const double bound = roundings * 0x1p-24 * size_of(bundled, info.name, *expected);
      compare_tensor(*expected, {info.shape, std::vector<double>(expected->values.size(), bound)},
                     *gradient, row);
    }
    check.rows.push_back(std::move(row));
  }
  conclude(check, got);
  return check;
}

}  // namespace assay::gpu_check
