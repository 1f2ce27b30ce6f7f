#include "verify/leakage/recording.h"

#include <fmt/format.h>

#include <cstring>

#include "golden/contract/error.h"

namespace assay::verify {

Recording::Recording(Subject& subject, const golden::ModelConfig& config, const Batch& batch)
    : batch_(batch.batch), positions_(batch.positions) {
  std::unordered_map<std::string, std::string> axes;
  for (const golden::TensorInfo& info : golden::tensor_list(config, batch.batch, batch.positions)) {
    axes[info.name] = info.axes;
  }
  subject.run(batch, {}, [&](Observed observed) {
    axes_.push_back(axes.contains(observed.name) ? axes[observed.name] : "");
    if (axes_.back().size() != observed.tensor.shape.size()) axes_.back().clear();
    tensors_.push_back(std::move(observed));
  });
}

int64_t Recording::elements() const {
  int64_t count = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (axes_[i].find('T') == std::string::npos) continue;
    count += static_cast<int64_t>(tensors_[i].tensor.values.size());
  }
  return count;
}

std::vector<Difference> Recording::differences(Subject& subject, const Batch& batch) const {
  std::vector<Difference> list;
  subject.run(batch, {}, [&](const Observed& observed) {
    const std::size_t index = list.size();
    if (index >= tensors_.size() || tensors_[index].name != observed.name ||
        tensors_[index].tensor.shape != observed.tensor.shape) {
      throw InputError(fmt::format("{}: handed over {} {} where a run on the same shape gave {}",
                                   subject.describe(), observed.name,
                                   golden::shape_text(observed.tensor.shape),
                                   index < tensors_.size() ? tensors_[index].name : "nothing"));
    }
    list.push_back(compare(index, observed.tensor));
  });
  if (list.size() != tensors_.size()) {
    throw InputError(fmt::format("{}: handed over {} tensors where a run on the same shape gave {}",
                                 subject.describe(), list.size(), tensors_.size()));
  }
  return list;
}

Difference Recording::compare(std::size_t index, const golden::Tensor& again) const {
  const golden::Tensor& first = tensors_[index].tensor;
  const std::string& axes = axes_[index];
  const auto differ = [&](int64_t begin, int64_t count) {
    return std::memcmp(first.values.data() + begin, again.values.data() + begin,
                       static_cast<std::size_t>(count) * sizeof(double)) != 0;
  };
  Difference difference{index, false, {}};
  const std::size_t t_axis = axes.find('T');
  if (t_axis == std::string::npos) {
    difference.any = differ(0, static_cast<int64_t>(first.values.size()));
    return difference;
  }
  int64_t inner = 1, outer = 1;  // elements after the T axis, blocks before it
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    if (axis < t_axis) outer *= first.shape[axis];
    if (axis > t_axis) inner *= first.shape[axis];
  }
  difference.rows.assign(static_cast<std::size_t>(batch_ * positions_), 0);
  for (int64_t block = 0; block < outer; ++block) {
    const int64_t b = block / (outer / batch_);
    for (int64_t t = 0; t < positions_; ++t) {
      if (!differ((block * positions_ + t) * inner, inner)) continue;
      difference.rows[static_cast<std::size_t>(b * positions_ + t)] = 1;
      difference.any = true;
    }
  }
  return difference;
}

}  // namespace assay::verify
