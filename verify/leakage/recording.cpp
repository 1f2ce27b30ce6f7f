#include "verify/leakage/recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::verify {
namespace {

double largest_of(std::span<const double> values) {
  double largest = 0;
  for (const double x : values) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  return largest;
}

// How two pieces of one tensor differ that are not the same bits.
Change change_of(std::span<const double> a, std::span<const double> b, double noise,
                 double rounding, double rms) {
  if (noise <= 0 && rounding <= 0) return clear;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, distance(a[i], b[i]));
  if (noise > 0 && most <= noise) return unchanged;
  if (rounding > 0 && most <= rounding * std::max(largest_of(a), rms)) return faint;
  return clear;
}

}  // namespace

double distance(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double difference = std::abs(a - b);
  return std::isfinite(difference) ? difference : std::numeric_limits<double>::infinity();
}

Layouts model_layouts(const golden::ModelConfig& config, int64_t batch, int64_t positions) {
  std::unordered_map<std::string, std::string> axes;
  for (const golden::TensorInfo& info : golden::tensor_list(config, batch, positions)) {
    axes[info.name] = info.axes;
  }
  return [axes](const std::string& name, const golden::Shape& shape) {
    const auto found = axes.find(name);
    const bool known = found != axes.end() && found->second.size() == shape.size();
    return Layout{.axes = known ? found->second : ""};
  };
}

Recording::Recording(Subject& subject, const Layouts& layouts, const Batch& batch)
    : batch_(batch.batch), positions_(batch.positions) {
  subject.run(batch, {}, [&](Observed observed) {
    layouts_.push_back(layouts ? layouts(observed.name, observed.tensor.shape) : Layout{});
    tensors_.push_back(std::move(observed));
  });
}

void Recording::lay_out(const Layouts& layouts) {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    layouts_[i] = layouts(tensors_[i].name, tensors_[i].tensor.shape);
  }
}

void Recording::drop(const std::function<bool(const std::string& name)>& is_dropped) {
  for (std::size_t i = tensors_.size(); i-- > 0;) {
    if (!is_dropped(tensors_[i].name)) continue;
    tensors_.erase(tensors_.begin() + static_cast<int64_t>(i));
    layouts_.erase(layouts_.begin() + static_cast<int64_t>(i));
  }
}

int64_t Recording::elements() const {
  int64_t count = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (!layouts_[i].has_positions()) continue;
    count += static_cast<int64_t>(tensors_[i].tensor.values.size());
  }
  return count;
}

void Recording::require_same(std::size_t index, const std::string& subject,
                             const Observed& observed) const {
  if (index < tensors_.size() && tensors_[index].name == observed.name &&
      tensors_[index].tensor.shape == observed.tensor.shape) {
    return;
  }
  throw InputError(fmt::format("{}: handed over {} {} where a run on the same shape gave {}",
                               subject, observed.name, golden::shape_text(observed.tensor.shape),
                               index < tensors_.size() ? tensors_[index].name : "nothing"));
}

std::vector<Difference> Recording::differences(Subject& subject, const Batch& batch,
                                               const Sameness& sameness) const {
  if (sameness.may_vary) return differences({subject, {}, batch}, sameness);
  std::vector<Difference> list;
  subject.run(batch, {}, [&](const Observed& observed) {
    require_same(list.size(), subject.describe(), observed);
    list.push_back(compare(list.size(), observed.tensor, sameness));
  });
  if (list.size() != tensors_.size()) {
    throw InputError(fmt::format("{}: handed over {} tensors where a run on the same shape gave {}",
                                 subject.describe(), list.size(), tensors_.size()));
  }
  return list;
}

std::vector<Difference> Recording::differences(const Recording& other,
                                               const Sameness& sameness) const {
  std::vector<Difference> list;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto again = std::find_if(other.tensors_.begin(), other.tensors_.end(),
                                    [&](const Observed& o) { return o.name == tensors_[i].name; });
    if (again == other.tensors_.end() || again->tensor.shape != tensors_[i].tensor.shape) {
      list.push_back({.index = i, .is_missing = true});
    } else {
      list.push_back(compare(i, again->tensor, sameness));
    }
  }
  return list;
}

Difference Recording::compare(std::size_t index, const golden::Tensor& again,
                              const Sameness& sameness) const {
  const golden::Tensor& first = tensors_[index].tensor;
  const Layout& layout = layouts_[index];
  const double noise = index < sameness.noise.size() ? sameness.noise[index] : 0;
  const bool whole_numbers = tensors_[index].dtype == golden::DType::int32 ||
                             tensors_[index].dtype == golden::DType::uint8;
  const double rounding = whole_numbers ? 0 : sameness.rounding;
  Difference difference{index, unchanged, {}};
  const std::size_t bytes = first.values.size() * sizeof(double);
  if (layout.has_positions()) {
    difference.rows.assign(static_cast<std::size_t>(batch_ * positions_), unchanged);
  }
  if (bytes == 0 || std::memcmp(first.values.data(), again.values.data(), bytes) == 0) {
    return difference;
  }
  const double rms = rounding > 0 ? rms_of(first.values) : 0;
  const auto compare_piece = [&](int64_t offset, int64_t count) {
    const auto at = static_cast<std::size_t>(offset), size = static_cast<std::size_t>(count);
    const std::span<const double> a(first.values.data() + at, size);
    const std::span<const double> b(again.values.data() + at, size);
    if (std::memcmp(a.data(), b.data(), size * sizeof(double)) == 0) return unchanged;
    return change_of(a, b, noise, rounding, rms);
  };
  if (!layout.has_positions()) {
    difference.any = compare_piece(0, static_cast<int64_t>(first.values.size()));
    return difference;
  }
  Layout of_queries = layout;  // all keys of a query in one piece
  std::replace(of_queries.axes.begin(), of_queries.axes.end(), 'S', '-');
  for_blocks(of_queries, first.shape, batch_, positions_, [&](const Block& block) {
    const Change change = compare_piece(block.offset, block.count);
    difference.any = std::max(difference.any, change);
    for (int64_t b = std::max<int64_t>(block.row, 0); b < batch_; ++b) {
      uint8_t& cell = difference.rows[static_cast<std::size_t>(b * positions_ + block.position)];
      cell = std::max<uint8_t>(cell, change);
      if (block.row >= 0) break;
    }
  });
  return difference;
}

double rms_of(std::span<const double> values) {
  double sum = 0;
  int64_t count = 0;
  for (const double x : values) {
    if (!std::isfinite(x)) continue;
    sum += x * x;
    ++count;
  }
  return count == 0 ? 0 : std::sqrt(sum / static_cast<double>(count));
}

}  // namespace assay::verify
