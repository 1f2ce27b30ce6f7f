#include "verify/subjects/rows.h"

#include <algorithm>

namespace assay::verify {
namespace {

using golden::Tensor;

// Blocks in front of an axis and elements of one step along it.
struct Strides {
  int64_t outer = 1, inner = 1;
};

Strides strides_of(const golden::Shape& shape, std::size_t axis) {
  Strides strides;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i < axis) strides.outer *= shape[i];
    if (i > axis) strides.inner *= shape[i];
  }
  return strides;
}

// A tensor with the given rows of an axis.
Tensor picked(const Tensor& tensor, std::size_t axis, const std::vector<int64_t>& rows) {
  const Strides strides = strides_of(tensor.shape, axis);
  Tensor part{tensor.shape, {}};
  part.shape[axis] = static_cast<int64_t>(rows.size());
  for (int64_t o = 0; o < strides.outer; ++o) {
    for (const int64_t row : rows) {
      const auto begin = tensor.values.begin() + (o * tensor.shape[axis] + row) * strides.inner;
      part.values.insert(part.values.end(), begin, begin + strides.inner);
    }
  }
  return part;
}

void append(Tensor& whole, const Tensor& part, std::size_t axis) {
  const Strides strides = strides_of(whole.shape, axis);
  Tensor joined{whole.shape, {}};
  joined.shape[axis] += part.shape[axis];
  for (int64_t o = 0; o < strides.outer; ++o) {
    for (const Tensor* from : {static_cast<const Tensor*>(&whole), &part}) {
      const int64_t run = from->shape[axis] * strides.inner;
      const auto begin = from->values.begin() + o * run;
      joined.values.insert(joined.values.end(), begin, begin + run);
    }
  }
  whole = std::move(joined);
}

double counted_labels(const Batch& batch) {
  double count = 0;
  for (std::size_t i = 0; i < batch.labels.size(); ++i) {
    if (static_cast<int64_t>(i) % batch.positions != 0 && batch.labels[i] >= 0) ++count;
  }
  return count;
}

}  // namespace

bool has_positions(const std::string& axes) {
  return axes.starts_with("B") && std::count(axes.begin(), axes.end(), 'T') == 1 &&
         axes.find('S') == std::string::npos;
}

std::vector<Batch> pieces_of(const Batch& batch, int64_t rows) {
  std::vector<Batch> pieces;
  for (int64_t first = 0; first < batch.batch; first += rows) {
    Batch& piece = pieces.emplace_back();
    piece.batch = rows;
    piece.positions = batch.positions;
    for (int64_t b = first; b < first + rows; ++b) {
      const bool copy = b >= batch.batch;
      for (int64_t t = 0; t < batch.positions; ++t) {
        const auto i = static_cast<std::size_t>((copy ? first : b) * batch.positions + t);
        piece.tokens.push_back(batch.tokens[i]);
        piece.attention_mask.push_back(batch.attention_mask[i]);
        piece.labels.push_back(copy ? -100 : batch.labels[i]);
      }
    }
  }
  return pieces;
}

Tensor rows_of(const Tensor& tensor, const std::string& axes, int64_t first, int64_t count) {
  const std::size_t axis = axes.find('B');
  if (axis == std::string::npos) return tensor;
  std::vector<int64_t> rows;
  for (int64_t b = first; b < first + count; ++b) {
    rows.push_back(b < tensor.shape[axis] ? b : first);
  }
  return picked(tensor, axis, rows);
}

JoinedRows::JoinedRows(const Batch& whole, int64_t rows, std::map<std::string, std::string> axes)
    : whole_(whole), rows_(rows), axes_(std::move(axes)) {}

void JoinedRows::add(const Batch& piece, Observed observed) {
  const std::string& name = observed.name;
  if (name == "loss" && observed.tensor.values.size() == 1) {
    const double count = counted_labels(piece);
    if (count > 0) loss_ += count * observed.tensor.values[0];
    counted_ += count;
  }
  const auto found = index_.find(name);
  if (found == index_.end()) {
    index_[name] = joined_.size();
    joined_.push_back(std::move(observed));
    return;
  }
  const std::size_t axis = axes_[name].find('B');
  Observed& whole = joined_[found->second];
  if (whole.restrictions.problem.empty()) {
    whole.restrictions.problem = std::move(observed.restrictions.problem);
  }
  const golden::Shape &a = whole.tensor.shape, &b = observed.tensor.shape;
  if (axis == std::string::npos || a.size() != axes_[name].size() || a.size() != b.size()) return;
  const bool fits = std::equal(a.begin(), a.end(), b.begin(), [&](const int64_t& x, int64_t y) {
    return x == y || static_cast<std::size_t>(&x - a.data()) == axis;
  });
  if (fits) append(whole.tensor, observed.tensor, axis);
}

void JoinedRows::hand_over(const Receive& receive) {
  for (Observed& observed : joined_) {
    Tensor& tensor = observed.tensor;
    const std::string& axes = axes_[observed.name];
    const std::size_t axis = axes.find('B');
    if (observed.name == "loss" && counted_ > 0 && tensor.values.size() == 1) {
      const double mean = loss_ / counted_;
      tensor.values[0] = observed.dtype == golden::DType::float64 ? mean : static_cast<float>(mean);
    } else if (axis != std::string::npos && axes.size() == tensor.shape.size() &&
               tensor.shape[axis] > whole_.batch && tensor.shape[axis] - whole_.batch < rows_) {
      tensor = rows_of(tensor, axes, 0, whole_.batch);
    }
    receive(std::move(observed));
  }
}

}  // namespace assay::verify
