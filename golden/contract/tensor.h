// Shapes, element types and the plain dense tensor that golden data is exchanged in.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace assay::golden {

using Shape = std::vector<int64_t>;

int64_t element_count(const Shape& shape);   // 1 for a scalar; throws: see kMostElements, names.h
std::string shape_text(const Shape& shape);  // "[2,8,64,64]"

// How the elements of a dataset are stored. bfloat16 is kept as its 16 bits; float16 is read from
// candidates' dumps, golden files never hold it.
enum class DType { float64, float32, bfloat16, float16, int32, uint8 };

std::string dtype_name(DType dtype);
std::size_t dtype_bytes(DType dtype);

// Row-major view of doubles that somebody else owns.
struct TensorView {
  Shape shape;
  std::span<const double> values;
};

// Row-major tensor of doubles.
struct Tensor {
  Shape shape;
  std::vector<double> values;

  TensorView view() const { return {shape, values}; }
};

}  // namespace assay::golden
