// Dependences by experiment: what must not change when something else does, bit for bit.
#include <fmt/format.h>

#include <cstring>

#include "check.h"
#include "taps.h"

namespace assay::device_check {
namespace {

using golden::Tensor;
using golden::TensorInfo;

Taps run(const BundledCase& bundled, const Inputs& inputs, cuda::Model& model) {
  Taps taps(tensors_of(bundled));
  model.forward(inputs.view(), &taps);
  return taps;
}

// Extent and distance in elements of an axis, absent: extent 0.
struct Axis {
  int64_t extent = 0, stride = 1;

  int64_t index(std::size_t element) const {
    return static_cast<int64_t>(element) / stride % extent;
  }
};

Axis axis_of(const TensorInfo& info, char letter) {
  const std::size_t at = info.axes.find(letter);
  if (at == std::string::npos) return {};
  Axis axis{.extent = info.shape[at]};
  for (std::size_t i = at + 1; i < info.shape.size(); ++i) axis.stride *= info.shape[i];
  return axis;
}

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// Elements for which `held` is true must be the same in both runs. Returns how many there are, or
// -1 with `why` where one differs or a tensor is missing.
template <class Held>
int64_t count_same(const Taps& a, const Taps& b, const Held& held, std::string& why) {
  int64_t compared = 0;
  for (const TensorInfo& info : a.declared()) {
    const Tensor *x = a.find(info.name), *y = b.find(info.name);
    if (x == nullptr || y == nullptr) {
      why = info.name + ": the engine did not hand it over";
      return -1;
    }
    const auto is_held = held(info);
    for (std::size_t i = 0; i < x->values.size(); ++i) {
      if (!is_held(i)) continue;
      ++compared;
      if (same_bits(x->values[i], y->values[i])) continue;
      why = fmt::format("{}: element {}: {:.17g}, then {:.17g}", info.name, i, x->values[i],
                        y->values[i]);
      return -1;
    }
  }
  return compared;
}

// Whether `tensor` differs anywhere among the elements that are not held.
template <class Held>
bool differs(const Taps& a, const Taps& b, const std::string& tensor, const Held& held) {
  for (const TensorInfo& info : a.declared()) {
    if (info.name != tensor) continue;
    const auto is_held = held(info);
    const Tensor *x = a.find(tensor), *y = b.find(tensor);
    for (std::size_t i = 0; x != nullptr && y != nullptr && i < x->values.size(); ++i) {
      if (!is_held(i) && !same_bits(x->values[i], y->values[i])) return true;
    }
  }
  return false;
}

// One run against another, within one check.
class Experiment {
 public:
  Experiment(const BundledCase& bundled, cuda::Model& model, const std::string& name)
      : bundled_(bundled), model_(model), before_(run(bundled, bundled.inputs, model)) {
    check_.name = name;
    check_.case_name = bundled.name;
    check_.precision = golden::precision_name(model.precision().storage);
  }

  // tensor: must differ where it is not held, or the change was none; "" for no such demand.
  template <class Held>
  void expect_same(const Inputs& changed, const std::string& what, const Held& held,
                   const std::string& tensor) {
    const Taps after = run(bundled_, changed, model_);
    std::string why;
    const int64_t compared = count_same(before_, after, held, why);
    if (compared > 0 && !tensor.empty() && !differs(before_, after, tensor, held)) {
      why = tensor + ": nothing changed: the experiment shows nothing";
    }
    if (compared == 0) why = "nothing to compare";
    TensorRow row{.name = what, .elements = std::max<int64_t>(compared, 0), .why = why};
    row.outside = why.empty() ? 0 : 1;
    check_.rows.push_back(std::move(row));
  }

  Check finish() {
    check_.status = check_.compared() > 0 ? Status::pass : Status::fail;
    std::string first;
    for (const TensorRow& row : check_.rows) {
      if (row.passed()) continue;
      check_.status = Status::fail;
      if (first.empty()) first = fmt::format("; {}: {}", row.name, row.why);
    }
    check_.summary = fmt::format("{} runs, {} elements unchanged bit for bit{}", check_.rows.size(),
                                 check_.compared(), first);
    return std::move(check_);
  }

 private:
  const BundledCase& bundled_;
  cuda::Model& model_;
  const Taps before_;
  Check check_;
};

int32_t other_token(const BundledCase& bundled, int32_t token) {
  return static_cast<int32_t>((token + 1) % bundled.config.vocab_size);
}

}  // namespace

Check check_repeat(const BundledCase& bundled, cuda::Model& model) {
  Experiment experiment(bundled, model, "repeat");
  const auto all = [](const TensorInfo&) { return [](std::size_t) { return true; }; };
  experiment.expect_same(bundled.inputs, "the same batch", all, "");
  return experiment.finish();
}

Check check_prefix(const BundledCase& bundled, cuda::Model& model) {
  Experiment experiment(bundled, model, "prefix");
  for (int64_t cut = 1; cut < bundled.inputs.positions; ++cut) {
    Inputs changed = bundled.inputs;
    for (std::size_t i = 0; i < changed.tokens.size(); ++i) {
      if (static_cast<int64_t>(i) % changed.positions < cut) continue;
      changed.tokens[i] = other_token(bundled, changed.tokens[i]);
    }
    const auto before_cut = [cut](const TensorInfo& info) {
      const Axis axis = axis_of(info, 'T');
      return [=](std::size_t i) { return axis.extent > 0 && axis.index(i) < cut; };
    };
    experiment.expect_same(changed, fmt::format("tokens from {} on", cut), before_cut, "logits");
  }
  return experiment.finish();
}

Check check_batch(const BundledCase& bundled, cuda::Model& model) {
  Experiment experiment(bundled, model, "batch");
  for (int64_t row = 0; row < bundled.inputs.batch; ++row) {
    Inputs changed = bundled.inputs;
    for (std::size_t i = 0; i < changed.tokens.size(); ++i) {
      if (static_cast<int64_t>(i) / changed.positions != row) continue;
      changed.tokens[i] = other_token(bundled, changed.tokens[i]);
    }
    const auto other_rows = [row](const TensorInfo& info) {
      const Axis axis = axis_of(info, 'B');
      return [=](std::size_t i) { return axis.extent > 0 && axis.index(i) != row; };
    };
    experiment.expect_same(changed, fmt::format("tokens of row {}", row), other_rows, "logits");
  }
  return experiment.finish();
}

Check check_labels(const BundledCase& bundled, cuda::Model& model) {
  Experiment experiment(bundled, model, "labels");
  Inputs changed = bundled.inputs;
  for (int32_t& label : changed.labels) {
    if (label >= 0) label = other_token(bundled, label);
  }
  const auto but_loss = [](const TensorInfo& info) {
    const bool held = info.name != "loss";
    return [held](std::size_t) { return held; };
  };
  experiment.expect_same(changed, "other labels", but_loss, "loss");
  return experiment.finish();
}

}  // namespace assay::device_check
