#include "golden/file/element.h"

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "golden/contract/error.h"
#include "golden/contract/precision.h"

namespace assay::golden {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they lie");

struct Row {
  Element element;
  const char* name;
  std::size_t bytes;
  DType dtype;
};

constexpr std::array<Row, 13> kElements{{{Element::f64, "F64", 8, DType::float64},
                                         {Element::f32, "F32", 4, DType::float32},
                                         {Element::bf16, "BF16", 2, DType::bfloat16},
                                         {Element::f16, "F16", 2, DType::float16},
                                         {Element::i64, "I64", 8, DType::int32},
                                         {Element::i32, "I32", 4, DType::int32},
                                         {Element::i16, "I16", 2, DType::int32},
                                         {Element::i8, "I8", 1, DType::int32},
                                         {Element::u64, "U64", 8, DType::int32},
                                         {Element::u32, "U32", 4, DType::int32},
                                         {Element::u16, "U16", 2, DType::int32},
                                         {Element::u8, "U8", 1, DType::uint8},
                                         {Element::boolean, "BOOL", 1, DType::uint8}}};

const Row& row_of(Element element) {
  for (const Row& row : kElements) {
    if (row.element == element) return row;
  }
  throw InternalError("no such Element");
}

double from_bfloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// 1 sign, 5 exponent, 10 mantissa bits. Finite: (-1)^s (1 + m/2^10) 2^(e-15), subnormal m 2^-24.
double from_float16(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  double magnitude = 0;
  if (exponent == 31) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, -24);
  } else {
    magnitude = std::ldexp(1024 + mantissa, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// The inverse, of the nearest float16 number.
uint16_t to_float16(double x) {
  const int sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isnan(x)) return static_cast<uint16_t>(sign | 0x7e00);
  const double magnitude = std::abs(round_to(Precision::fp16, x));
  if (std::isinf(magnitude)) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x1p-14)
    return static_cast<uint16_t>(sign | static_cast<int>(magnitude * 0x1p24));
  const int exponent = std::ilogb(magnitude);
  const int mantissa = static_cast<int>(std::ldexp(magnitude, 10 - exponent)) - 1024;
  return static_cast<uint16_t>(sign | ((exponent + 15) << 10) | mantissa);
}

// Fewer elements than that are converted before another thread has woken up for its share.
constexpr std::size_t kPerTask = std::size_t{1} << 17;

// out[i] = convert(element i) for all i, over threads. Returns an i for which convert refused, or
// -1.
template <class T, class Convert>
int64_t map_elements(const std::byte* bytes, std::span<double> out, Convert&& convert) {
  std::atomic<int64_t> refused = -1;
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, out.size(), kPerTask),
                    [&](const auto& range) {
                      for (std::size_t i = range.begin(); i < range.end(); ++i) {
                        T element;
                        std::memcpy(&element, bytes + i * sizeof(T), sizeof(T));
                        if (!convert(element, out[i])) refused = static_cast<int64_t>(i);
                      }
                    });
  return refused;
}

template <class T>
std::vector<std::byte> pack(std::span<const double> values, auto&& convert) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, values.size(), kPerTask),
                    [&](const auto& range) {
                      for (std::size_t i = range.begin(); i < range.end(); ++i) {
                        const T element = convert(values[i]);
                        std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
                      }
                    });
  return bytes;
}

// Values outside of [low, high], and NaN, become low: what does not decode to itself is refused
// later.
template <class T>
T whole(double x, double low, double high) {
  return x >= low && x <= high ? static_cast<T>(x) : static_cast<T>(low);
}

std::vector<std::byte> nearest(Element element, std::span<const double> values) {
  switch (element) {
    case Element::f64:
      return pack<double>(values, [](double x) { return x; });
    case Element::f32:
      return pack<float>(values, [](double x) { return static_cast<float>(x); });
    case Element::bf16:
      return pack<uint16_t>(values, [](double x) {
        const auto rounded = static_cast<float>(round_to(Precision::bf16, x));
        return static_cast<uint16_t>(std::bit_cast<uint32_t>(rounded) >> 16);
      });
    case Element::f16:
      return pack<uint16_t>(values, to_float16);
    case Element::i32:
      return pack<int32_t>(values, [](double x) { return whole<int32_t>(x, -0x1p31, 0x1p31 - 1); });
    case Element::u8:
    case Element::boolean:
      return pack<uint8_t>(
          values, [&](double x) { return whole<uint8_t>(x, 0, element == Element::u8 ? 255 : 1); });
    default:
      break;
  }
  throw InternalError("encode: " + element_name(element) + " is not written");
}

}  // namespace

std::size_t element_bytes(Element element) { return row_of(element).bytes; }
std::string element_name(Element element) { return row_of(element).name; }
DType dtype_of(Element element) { return row_of(element).dtype; }

std::vector<std::string> element_names() {
  std::vector<std::string> names;
  for (const Row& row : kElements) names.emplace_back(row.name);
  return names;
}

std::optional<Element> element_named(const std::string& name) {
  for (const Row& row : kElements) {
    if (row.name == name) return row.element;
  }
  return std::nullopt;
}

bool is_float(Element element) {
  return element == Element::f64 || element == Element::f32 || element == Element::bf16 ||
         element == Element::f16;
}

Element element_of(DType dtype) {
  for (const Element element :
       {Element::f64, Element::f32, Element::bf16, Element::i32, Element::u8}) {
    if (dtype_of(element) == dtype) return element;
  }
  throw InternalError("element_of: no such DType");
}

void decode(Element element, const std::byte* bytes, std::span<double> out,
            const std::string& where) {
  const auto always = [](auto&& convert) {
    return [convert](auto x, double& y) {
      y = convert(x);
      return true;
    };
  };
  int64_t refused = -1;
  switch (element) {
    case Element::f64:
      if (!out.empty()) std::memcpy(out.data(), bytes, out.size_bytes());
      break;
    case Element::f32:
      map_elements<float>(bytes, out, always([](float x) { return static_cast<double>(x); }));
      break;
    case Element::bf16:
      map_elements<uint16_t>(bytes, out, always(from_bfloat16));
      break;
    case Element::f16:
      map_elements<uint16_t>(bytes, out, always(from_float16));
      break;
    case Element::i64:
      refused = map_elements<int64_t>(bytes, out, [](int64_t x, double& y) {
        y = static_cast<double>(x);
        return std::abs(y) <= 0x1p53;
      });
      break;
    case Element::i32:
      map_elements<int32_t>(bytes, out, always([](int32_t x) { return static_cast<double>(x); }));
      break;
    case Element::i16:
      map_elements<int16_t>(bytes, out, always([](int16_t x) { return static_cast<double>(x); }));
      break;
    case Element::i8:
      map_elements<int8_t>(bytes, out, always([](int8_t x) { return static_cast<double>(x); }));
      break;
    case Element::u64:
      refused = map_elements<uint64_t>(bytes, out, [](uint64_t x, double& y) {
        y = static_cast<double>(x);
        return y <= 0x1p53;
      });
      break;
    case Element::u32:
      map_elements<uint32_t>(bytes, out, always([](uint32_t x) { return static_cast<double>(x); }));
      break;
    case Element::u16:
      map_elements<uint16_t>(bytes, out, always([](uint16_t x) { return static_cast<double>(x); }));
      break;
    case Element::u8:
      map_elements<uint8_t>(bytes, out, always([](uint8_t x) { return static_cast<double>(x); }));
      break;
    case Element::boolean:
      refused = map_elements<uint8_t>(bytes, out, [](uint8_t x, double& y) {
        y = x;
        return x <= 1;
      });
      break;
  }
  if (refused < 0) return;
  throw InputError(
      fmt::format("{}: element {}: expected {}, got {:.0f}", where, refused,
                  element != Element::boolean ? "a whole number of at most 2^53" : "0 or 1",
                  out[static_cast<std::size_t>(refused)]));
}

void read_elements(const RawFile& file, uint64_t offset, Element element, std::span<double> out,
                   const std::string& where) {
  constexpr std::size_t kPiece = 1 << 15;  // elements read at once: their bytes stay in the cache
  const std::size_t size = element_bytes(element);
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, out.size(), kPiece), [&](const auto& range) {
    thread_local std::vector<std::byte> bytes;
    for (std::size_t first = range.begin(); first < range.end(); first += kPiece) {
      const auto piece = out.subspan(first, std::min(kPiece, range.end() - first));
      const Extent extent{offset + first * size, piece.size() * size};
      if (element == Element::f64) {
        file.read(extent, piece.data());
        continue;
      }
      bytes.resize(extent.bytes);
      file.read(extent, bytes.data());
      decode(element, bytes.data(), piece, where);
    }
  });
}

std::vector<std::byte> encode(Element element, std::span<const double> values, Rounding rounding,
                              const std::string& where) {
  std::vector<std::byte> bytes = nearest(element, values);
  if (element == Element::f64 || (rounding == Rounding::nearest && is_float(element))) {
    return bytes;
  }
  std::vector<double> back(values.size());
  decode(element, bytes.data(), back, where);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (back[i] == values[i] || (std::isnan(values[i]) && std::isnan(back[i]))) continue;
    throw InputError(fmt::format("{}: element {}: {} does not hold {} exactly{}", where, i,
                                 element_name(element), values[i],
                                 is_float(element) ? "; --round takes the nearest value" : ""));
  }
  return bytes;
}

}  // namespace assay::golden
