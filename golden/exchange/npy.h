// The .npy header of one array: "\x93NUMPY", a version, the length of a Python dictionary, and the
// dictionary {'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }.
// Source: NEP 1, "A simple file format for NumPy arrays", and numpy.lib.format.
#pragma once

#include <cstdint>
#include <string>

#include "golden/contract/tensor.h"
#include "golden/file/element.h"

namespace assay::golden {

struct NpyHeader {
  Element element = Element::f64;
  bool fortran_order = false;  // first axis fastest
  Shape shape;
};

// Bytes in front of the dictionary, which begin every array of version 1; others have two more.
inline constexpr std::size_t kNpyPreamble = 10;
inline constexpr std::size_t kMostNpyHeaderBytes = 1 << 16;

// Bytes of the whole header, given its first kNpyPreamble + 2 or all of it. Throws InputError
// beginning with `where` for what is no header and for one of more than kMostNpyHeaderBytes.
std::size_t npy_header_bytes(const std::string& start, const std::string& where);

// Parses a whole header. Little-endian floats, whole numbers and booleans; throws InputError
// beginning with `where` for everything else, and for a shape of more than 2^62 bytes.
NpyHeader parse_npy_header(const std::string& header, const std::string& where);

// The array of a file, widened. In Fortran order matrices alone. Throws InputError for what is no
// such file or has another number of bytes than its header says.
Tensor read_npy(const std::string& path);

// The inverse, C order, padded to a multiple of 64 bytes. Throws InputError for BF16, which numpy
// does not have.
std::string npy_header_text(Element element, const Shape& shape, const std::string& where);

}  // namespace assay::golden
