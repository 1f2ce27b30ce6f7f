// What the axes of a tensor may be where two recorded runs are all that is known of it: every
// reading that its shapes allow, and which of them the values rule out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"
#include "verify/decoders/axes.h"

namespace assay::verify {

// One tensor of two runs of as many rows. `longer` has at least as many positions.
struct PairedTensor {
  std::string name;
  const golden::Tensor& longer;
  const golden::Tensor& shorter;
};

struct PairedBatch {
  int64_t rows = 0, positions = 0, shorter_positions = 0;
  std::vector<int64_t> shared = {};  // positions of each row before the first token that differs
};

struct Readings {
  std::vector<Layout> layouts = {};
  std::string problem = {};   // why there are none; "" if there are
  bool is_misshaped = false;  // the shapes differ as the lengths do not explain
  bool is_left_out = false;   // somebody said so, or it is a loss
};

// Throws InputError for a given axis that the tensor does not have.
Readings readings_of(const PairedTensor& tensor, const PairedBatch& batch,
                     const AxesOptions& options);

// Elements of positions behind the shared ones, in runs of one length.
struct Later {
  int64_t differing = 0;
  int64_t same = 0;    // next to none if that is where they belong
  int64_t silent = 0;  // 0, or the same along all positions: may not depend on tokens at all
  double part() const {
    const auto all = static_cast<double>(differing + same);
    return all > 0 ? static_cast<double>(differing) / all : 0;
  }
};
Later later_elements(const PairedTensor& tensor, const Layout& layout, const PairedBatch& batch);

// "--axis h=1", "--axis h=1,2", with_first: "--axis h=1:0"; "" for rows and positions in one axis.
std::string axis_option(const std::string& name, const Layout& layout, bool with_first);

}  // namespace assay::verify
