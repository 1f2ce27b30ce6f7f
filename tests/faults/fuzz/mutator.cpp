#include "tests/faults/fuzz/mutator.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <string_view>

namespace assay::fuzz {
namespace {

constexpr std::size_t kMostBytes = 1 << 16;
constexpr std::array<std::string_view, 14> kNumbers = {"0",
                                                       "-1",
                                                       "1.5",
                                                       "1e999",
                                                       "1e-999",
                                                       "-0.0",
                                                       "4294967296",
                                                       "9223372036854775807",
                                                       "65536",
                                                       "1e18",
                                                       "NaN",
                                                       "2e0x",
                                                       "9223372036854775808",
                                                       "18446744073709551616"};
constexpr std::array<std::string_view, 14> kWords = {
    "null",    "true", "{}",       "[]",  "[[",      "{\"a\":",  "\"\"",
    "\\ud800", ",",    "\xff\xfe", "../", "\x1b[2J", "infinity", "\n"};
constexpr std::array<uint64_t, 9> kIntegers = {
    0, 1, 0x7f, 0xffff, 0x7fffffff, 0xffffffff, uint64_t{1} << 62, INT64_MAX, UINT64_MAX};

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

}  // namespace

void Mutator::put_number(std::string& bytes) {
  const auto begin = std::find_if(bytes.begin() + static_cast<int64_t>(below(bytes.size() + 1)),
                                  bytes.end(), is_digit);
  const auto end = std::find_if_not(begin, bytes.end(), is_digit);
  bytes.replace(begin, end, kNumbers[below(kNumbers.size())]);
}

void Mutator::put_integer(std::string& bytes, std::size_t at) {
  const uint64_t number = kIntegers[below(kIntegers.size())] + below(3) - 1;
  const std::size_t width = std::size_t{1} << below(4);
  for (std::size_t i = 0; i < width && at + i < bytes.size(); ++i) {
    bytes[at + i] = static_cast<char>(number >> (8 * i));
  }
}

void Mutator::change(std::string& bytes, const std::string& other) {
  const std::size_t at = below(bytes.size() + 1), length = 1 + below(below(8) == 0 ? 256 : 12);
  const std::string piece = other.substr(below(other.size() + 1), length);
  switch (below(9)) {
    case 0:
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    case 1:
      if (at < bytes.size()) bytes[at] = static_cast<char>(below(256));
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, piece);
      break;
    case 4:
      bytes.replace(at, std::min(piece.size(), bytes.size() - at), piece);
      break;
    case 5:
      put_number(bytes);
      break;
    case 6:
      put_integer(bytes, at);
      break;
    case 7:
      bytes.insert(at, kWords[below(kWords.size())]);
      break;
    default:
      if (below(4) == 0) bytes.resize(at);
  }
}

std::string Mutator::next(const std::vector<std::string>& pool) {
  std::string bytes = pool[below(pool.size())];
  for (std::size_t n = 1 + below(4); n > 0; --n) change(bytes, pool[below(pool.size())]);
  if (bytes.size() > kMostBytes) bytes.resize(kMostBytes);
  return bytes;
}

}  // namespace assay::fuzz
