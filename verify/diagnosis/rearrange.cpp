#include "verify/diagnosis/rearrange.h"

#include <limits>

#include "golden/contract/error.h"
#include "reference/graph/op.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::Operand;

class Rearrange final : public reference::Computed<Rearrange> {
 public:
  Rearrange(Operand result, std::vector<int64_t> from)
      : result_(std::move(result)), from_(std::move(from)) {}

  std::string name() const override { return "rearrange"; }
  Operand result(std::span<const Operand>) const override { return result_; }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for (std::size_t i = 0; i < from_.size(); ++i) {
      out.data()[i] = from_[i] < 0 ? X(0.0) : in[0].data()[from_[i]];
    }
  }

  void gradient(std::span<const Array>, const Array&, const Array&,
                std::span<Array>) const override {
    throw reference::NotDifferentiable("rearrange: serves diagnosis only");
  }

  void dependence(std::span<const reference::Relation>, reference::Relation&) const override {
    throw InternalError("rearrange: serves diagnosis only");
  }

  void error(const reference::ErrorModel&, std::span<const Array>, std::span<const Array> in_error,
             const Array&, Array& out_error) const override {
    for (std::size_t i = 0; i < from_.size(); ++i) {
      double error = 0;
      if (from_[i] == kUnknown) {
        error = std::numeric_limits<double>::infinity();
      } else if (from_[i] >= 0 && !in_error[0].absent()) {
        error = in_error[0].values()[static_cast<std::size_t>(from_[i])];
      }
      out_error.values()[i] = error;
    }
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  Operand result_;
  std::vector<int64_t> from_;
};

std::vector<int64_t> permute_last(const golden::Shape& shape,
                                  const std::vector<int64_t>& from_in_row) {
  const auto width = static_cast<int64_t>(from_in_row.size());
  std::vector<int64_t> from;
  for (int64_t row = 0; row < golden::element_count(shape) / width; ++row) {
    for (const int64_t column : from_in_row) from.push_back(row * width + column);
  }
  return from;
}

}  // namespace

reference::Node rearrange(reference::Node x, Operand result, std::vector<int64_t> from) {
  ASSAY_CHECK(golden::element_count(result.shape) == static_cast<int64_t>(from.size()),
              golden::shape_text(result.shape) + " from " + std::to_string(from.size()));
  return x.graph->add(std::make_shared<Rearrange>(std::move(result), std::move(from)), {x});
}

std::vector<int64_t> transpose_last_two(const golden::Shape& shape) {
  const int64_t n = shape.back();
  std::vector<int64_t> from;
  for (int64_t i = 0; i < golden::element_count(shape); ++i) {
    const int64_t row = i / n % n, column = i % n;
    from.push_back(i - row * n - column + column * n + row);
  }
  return from;
}

std::vector<int64_t> exchange_middle(const golden::Shape& shape) {
  const int64_t n = shape[1], inner = shape[3];
  std::vector<int64_t> from;
  for (int64_t i = 0; i < golden::element_count(shape); ++i) {
    const int64_t first = i / inner / n % n, second = i / inner % n;
    from.push_back(i + (second - first) * n * inner + (first - second) * inner);
  }
  return from;
}

std::vector<int64_t> shift_axis(const golden::Shape& shape, std::size_t axis, int64_t by,
                                int64_t fill) {
  int64_t stride = 1;
  for (std::size_t a = axis + 1; a < shape.size(); ++a) stride *= shape[a];
  std::vector<int64_t> from;
  for (int64_t i = 0; i < golden::element_count(shape); ++i) {
    const int64_t source = i / stride % shape[axis] - by;
    from.push_back(source < 0 || source >= shape[axis] ? fill : i - by * stride);
  }
  return from;
}

std::vector<int64_t> tile_heads(const golden::Shape& shape, int64_t heads) {
  const int64_t groups = shape[1], plane = shape[2] * shape[3];
  std::vector<int64_t> from;
  for (int64_t head = 0; head < shape[0] * heads; ++head) {
    const int64_t source = head / heads * groups + head % heads % groups;
    for (int64_t i = 0; i < plane; ++i) from.push_back(source * plane + i);
  }
  return from;
}

std::vector<int64_t> pairs_to_halves(const golden::Shape& shape) {
  const int64_t width = shape.back();
  std::vector<int64_t> row;
  for (int64_t i = 0; i < width; ++i)
    row.push_back(i < width / 2 ? 2 * i : 2 * (i - width / 2) + 1);
  return permute_last(shape, row);
}

std::vector<int64_t> halves_to_pairs(const golden::Shape& shape) {
  const int64_t width = shape.back();
  std::vector<int64_t> row;
  for (int64_t i = 0; i < width; ++i) row.push_back(i / 2 + i % 2 * (width / 2));
  return permute_last(shape, row);
}

}  // namespace assay::verify
