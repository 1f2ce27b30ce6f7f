#include "golden/exchange/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "golden/file/raw_file.h"

namespace assay::golden {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicBytes = 6;
constexpr std::size_t kMostAxes = 32;
constexpr int64_t kMostBytes = int64_t{1} << 62;

struct Row {
  const char* descr;
  Element element;
};
constexpr std::array<Row, 12> kTypes{{{"<f8", Element::f64},
                                      {"<f4", Element::f32},
                                      {"<f2", Element::f16},
                                      {"<i8", Element::i64},
                                      {"<i4", Element::i32},
                                      {"<i2", Element::i16},
                                      {"|i1", Element::i8},
                                      {"<u8", Element::u64},
                                      {"<u4", Element::u32},
                                      {"<u2", Element::u16},
                                      {"|u1", Element::u8},
                                      {"|b1", Element::boolean}}};

// "<f8, <f4, .."
std::string type_names() {
  std::string text;
  for (const Row& row : kTypes) text += fmt::format("{}{}", text.empty() ? "" : ", ", row.descr);
  return text;
}

// The dictionary, as Python writes and reads it, and nothing else of Python.
class DictionaryParser {
 public:
  DictionaryParser(const std::string& text, const std::string& where)
      : text_(text), where_(where) {}

  NpyHeader parse() {
    expect('{');
    while (!take('}')) {
      entry();
      if (take(',')) continue;
      expect('}');
      break;
    }
    skip_blanks();
    if (at_ != text_.size()) fail("nothing after the dictionary");
    if (!element_ || !fortran_order_ || !shape_) fail("descr, fortran_order and shape");
    return {*element_, *fortran_order_, *shape_};
  }

 private:
  void entry() {
    const std::string key = string();
    expect(':');
    if (key == "descr" && !element_) {
      element_ = element();
    } else if (key == "fortran_order" && !fortran_order_) {
      fortran_order_ = boolean();
    } else if (key == "shape" && !shape_) {
      shape_ = shape();
    } else {
      fail("descr, fortran_order and shape, each once");
    }
  }

  Element element() {
    skip_blanks();
    const std::size_t start = at_;
    if (at_ < text_.size() && text_[at_] != '[') {
      const std::string descr = string();
      for (const Row& row : kTypes) {
        if (descr == row.descr) return row.element;
      }
    }
    throw InputError(fmt::format(
        "{}: dtype: expected one of {}, got {}; convert it with astype (bfloat16 to float32)",
        where_, type_names(), printable(text_.substr(start, 40))));
  }

  bool boolean() {
    if (word("True")) return true;
    if (!word("False")) fail("True or False");
    return false;
  }

  // "()", "(3,)", "(2, 3)" or "(2, 3,)"; "(3)" is no tuple.
  Shape shape() {
    Shape result;
    bool comma = true;
    expect('(');
    while (!take(')')) {
      if (!comma || result.size() >= kMostAxes) fail("a tuple of at most 32 whole numbers");
      result.push_back(whole());
      comma = take(',');
    }
    if (result.size() == 1 && !comma) fail("a tuple");
    return result;
  }

  int64_t whole() {
    skip_blanks();
    int64_t value = -1;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc() || value < 0) fail("a whole number from 0 to 2^63 - 1");
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }

  std::string string() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : ' ';
    if (quote != '\'' && quote != '"') fail("a string");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string::npos) fail("the end of a string");
    const std::string value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }

  bool word(const std::string& expected) {
    skip_blanks();
    if (text_.compare(at_, expected.size(), expected) != 0) return false;
    at_ += expected.size();
    return true;
  }
  bool take(char c) { return word(std::string(1, c)); }
  void expect(char c) {
    if (!take(c)) fail(std::string("'") + c + "'");
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  [[noreturn]] void fail(const std::string& expected) const {
    throw InputError(fmt::format("{}: numpy header: expected {}, got '{}'; save it again", where_,
                                 expected, printable(text_.substr(at_, 40))));
  }

  const std::string& text_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::optional<Element> element_;
  std::optional<bool> fortran_order_;
  std::optional<Shape> shape_;
};

std::size_t preamble_bytes(const std::string& start) { return start[kMagicBytes] == 1 ? 10 : 12; }

void check_size(const NpyHeader& header, const std::string& where) {
  int64_t bytes = static_cast<int64_t>(element_bytes(header.element));
  for (const int64_t extent : header.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes) || bytes > kMostBytes) {
      throw InputError(fmt::format("{}: expected a shape of at most 2^62 bytes, got {}", where,
                                   shape_text(header.shape)));
    }
  }
}

}  // namespace

std::size_t npy_header_bytes(const std::string& start, const std::string& where) {
  if (start.size() < kNpyPreamble || !start.starts_with(kMagic) ||
      start.size() < preamble_bytes(start)) {
    throw InputError(
        fmt::format("{}: expected an array saved by numpy, got something else", where));
  }
  const auto byte = [&](std::size_t i) -> std::size_t {
    return static_cast<unsigned char>(start[i]);
  };
  const std::size_t version = byte(kMagicBytes);
  if (version < 1 || version > 3) {
    throw InputError(
        fmt::format("{}: numpy format version: expected 1, 2 or 3, got {}", where, version));
  }
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kMostNpyHeaderBytes) {
    throw InputError(fmt::format("{}: numpy header: expected at most {} bytes, got {}", where,
                                 kMostNpyHeaderBytes, length));
  }
  return preamble_bytes(start) + length;
}

NpyHeader parse_npy_header(const std::string& header, const std::string& where) {
  ASSAY_CHECK(header.size() == npy_header_bytes(header, where), where);
  const std::string dictionary = header.substr(preamble_bytes(header));
  NpyHeader parsed = DictionaryParser(dictionary, where).parse();
  check_size(parsed, where);
  return parsed;
}

std::string npy_header_text(Element element, const Shape& shape, const std::string& where) {
  const char* descr = nullptr;
  for (const Row& row : kTypes) {
    if (row.element == element) descr = row.descr;
  }
  if (descr == nullptr) {
    throw InputError(
        fmt::format("{}: numpy has no {}: expected --dtype fp64, fp32 or fp16, or a "
                    ".safetensors file",
                    where, element_name(element)));
  }
  std::string dictionary =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr,
                  fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  const std::size_t bytes = (kNpyPreamble + dictionary.size() + 1 + 63) / 64 * 64;
  dictionary.resize(bytes - kNpyPreamble - 1, ' ');
  dictionary += '\n';
  std::string text(kMagic, kMagicBytes);
  text += '\x01';
  text += '\0';
  text += static_cast<char>(dictionary.size() & 255);
  text += static_cast<char>(dictionary.size() >> 8);
  return text + dictionary;
}

// [N,T] with the last axis fastest, of an array with the first axis fastest.
static void transpose(Tensor& tensor) {
  const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
  std::vector<double> values(tensor.values.size());
  for (int64_t i = 0; i < rows * columns; ++i) {
    values[static_cast<std::size_t>(i % rows * columns + i / rows)] =
        tensor.values[static_cast<std::size_t>(i)];
  }
  tensor.values = std::move(values);
}

Tensor read_npy(const std::string& path) {
  require_readable_file(path, "an .npy file");
  const RawFile file(path, RawFile::Mode::read);
  const uint64_t size = file.size();
  std::string head(std::min<uint64_t>(size, kMostNpyHeaderBytes), '\0');
  file.read({0, head.size()}, head.data());
  const std::size_t bytes = npy_header_bytes(head, path);
  if (bytes > head.size()) throw InputError(path + ": ends in its header; save it again");
  const NpyHeader header = parse_npy_header(head.substr(0, bytes), path);
  const auto elements = static_cast<uint64_t>(element_count(header.shape));
  if (elements * element_bytes(header.element) != size - bytes) {
    throw InputError(fmt::format("{}: expected {} bytes of {} {}, got {}; save it again", path,
                                 elements * element_bytes(header.element),
                                 element_name(header.element), shape_text(header.shape),
                                 size - bytes));
  }
  if (header.fortran_order && header.shape.size() > 2) {
    throw InputError(path +
                     ": expected rows one after another, got Fortran order; save "
                     "numpy.ascontiguousarray of it");
  }
  Tensor tensor{header.shape, std::vector<double>(elements)};
  read_elements(file, bytes, header.element, tensor.values, path);
  if (header.fortran_order && header.shape.size() == 2) transpose(tensor);
  return tensor;
}

}  // namespace assay::golden
