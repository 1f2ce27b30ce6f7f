// A batch in pieces, for a program that takes no other number of rows than its own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// Of `rows` rows each; the last one is filled up with copies of its first row, whose labels do not
// count.
std::vector<Batch> pieces_of(const Batch& batch, int64_t rows);

// Rows [first, first + count) of the axis B in `axes`; those beyond the end are copies of `first`.
golden::Tensor rows_of(const golden::Tensor& tensor, const std::string& axes, int64_t first,
                       int64_t count);

// Whether a tensor of these axes has one value for every row and position, so that a part of them
// means something by itself: scores, whose keys are positions too, do not.
bool has_positions(const std::string& axes);

// What a program handed over of each piece, as if it were of the whole batch.
class JoinedRows {
 public:
  // axes: of a tensor by its name; one without B is that of the first piece, but for the loss, the
  // mean over all labels that count.
  JoinedRows(const Batch& whole, int64_t rows, std::map<std::string, std::string> axes);

  void add(const Batch& piece, Observed observed);
  // In the order of the first piece. A tensor that a piece lacks has fewer rows.
  void hand_over(const Receive& receive);

 private:
  const Batch& whole_;
  int64_t rows_;
  std::map<std::string, std::string> axes_;
  std::vector<Observed> joined_;
  std::map<std::string, std::size_t> index_;
  double loss_ = 0, counted_ = 0;
};

}  // namespace assay::verify
