// Per-token numbers from .npz, .npy, .safetensors and HDF5.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"
#include "verify/training/evidence.h"
#include "verify/training/readers/names.h"

namespace assay::verify::training {

struct NamedArray {
  std::string name;
  golden::Tensor tensor;
};

// Whether the file is one of arrays, by its name or its first bytes.
bool is_array_file(const std::string& path);

// Every array of numbers of the file whose name is known here; an .npy has its file's name.
// Throws InputError for a file that cannot be read.
std::vector<NamedArray> read_arrays(const std::string& path);

// What files said of one set of tokens, before it is put together.
struct SetArrays {
  std::string path;
  std::optional<golden::Tensor> losses, log_probs, tokens, labels, mask, logits, probability_sums,
      documents;
  std::optional<golden::Tensor> oracle;  // -log p
  std::optional<double> reported_loss;
};

// Sorts arrays into sets. Those whose names have no set go to `set`; without one (-1) the file's
// name tells it, or it is an InputError. What stands twice is an InputError, too.
void sort_arrays(const std::string& path, std::vector<NamedArray> arrays, int set,
                 std::array<SetArrays, 3>& sets);

// The curve that arrays of one length are of which one is the step, or of which none is a set's;
// nothing if there is none. Takes them out of `arrays`.
std::optional<Curve> curve_in_arrays(const std::string& path, std::vector<NamedArray>& arrays,
                                     const std::string& val_name = "");

}  // namespace assay::verify::training
