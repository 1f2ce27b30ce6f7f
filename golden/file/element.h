// Element types of the exchange formats (.safetensors, .npz): bytes in a file, doubles here.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"
#include "golden/file/raw_file.h"

namespace assay::golden {

enum class Element { f64, f32, bf16, f16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

std::size_t element_bytes(Element element);
std::string element_name(Element element);  // as .safetensors spells it: "F64", "BF16", "BOOL"
std::vector<std::string> element_names();
std::optional<Element> element_named(const std::string& name);
bool is_float(Element element);

// What a dump of such elements counts as in the ledger, as for HDF5: whole numbers as int32,
// booleans as uint8.
DType dtype_of(Element element);
// How a dataset of a golden file is exported.
Element element_of(DType dtype);

// `bytes` holds out.size() little-endian elements, not necessarily aligned. Every value is exact;
// throws InputError beginning with `where` for a 64-bit integer that no double holds and for a
// boolean that is neither 0 nor 1.
void decode(Element element, const std::byte* bytes, std::span<double> out,
            const std::string& where);

// The same of elements that lie at `offset` in a file, over threads.
void read_elements(const RawFile& file, uint64_t offset, Element element, std::span<double> out,
                   const std::string& where);

// Whether a file with members that are no tensors is refused when it is opened, or only the reading
// of such a member.
enum class Reading { strict, lenient };

enum class Rounding { refuse, nearest };

// The inverse for floats, I32, U8 and BOOL. A value that the type does not hold exactly is
// rounded to the nearest, ties to even, if that is wished and the type a float; else InputError
// beginning with `where` and naming element and value. NaN stays NaN.
std::vector<std::byte> encode(Element element, std::span<const double> values, Rounding rounding,
                              const std::string& where);

// What a file to be written holds.
struct ExchangeTensor {
  std::string name;
  Element element = Element::f64;
  Shape shape;

  uint64_t bytes() const {
    return static_cast<uint64_t>(element_count(shape)) * element_bytes(element);
  }
};

// The values of a tensor to be written; called once for each, in order.
using FetchValues = std::function<std::vector<double>(const std::string& name)>;

}  // namespace assay::golden
