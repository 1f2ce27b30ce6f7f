#include "datasets/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <filesystem>

#include "golden/contract/error.h"
#include "golden/file/checksummed_file.h"

namespace assay::datasets {
namespace {

struct Name {
  const char* name;
  TokensFormat format;
};
constexpr std::array<Name, 10> kNames{{{"auto", TokensFormat::automatic},
                                       {"text", TokensFormat::text},
                                       {"numbers", TokensFormat::numbers},
                                       {"json", TokensFormat::json},
                                       {"jsonl", TokensFormat::jsonl},
                                       {"uint16", TokensFormat::uint16},
                                       {"uint32", TokensFormat::uint32},
                                       {"npy", TokensFormat::npy},
                                       {"npz", TokensFormat::npz},
                                       {"dump", TokensFormat::dump}}};

// What stands at the start of files that hold no tokens in a form that is read here.
struct Foreign {
  std::string_view start;
  const char* what;
};
constexpr std::array<Foreign, 8> kForeign{{
    {"version https://git-lfs", "a Git LFS pointer: 'git lfs pull' fetches the file itself"},
    {"\x1f\x8b", "a gzip file: gunzip it first"},
    {"\x28\xb5\x2f\xfd", "a Zstandard file: unzstd it first"},
    {"\xfd"
     "7zXZ",
     "an xz file: unxz it first"},
    {"BZh", "a bzip2 file: bunzip2 it first"},
    {"PAR1", "a Parquet file: save its token ids with numpy.save"},
    {"ARROW1", "an Arrow file: save its token ids with numpy.save"},
    {"\x80", "a Python pickle or an old PyTorch file: save its token ids with numpy.save"},
}};

std::string ending_of(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

std::string_view without_mark(std::string_view head) {  // of UTF-8
  return head.starts_with("\xef\xbb\xbf") ? head.substr(3) : head;
}

bool is_number_text(std::string_view head) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto part = [&](char c) { return digit(c) || std::strchr(" \t\r\n,;+-.", c) != nullptr; };
  return head.find('\0') == std::string_view::npos &&
         std::any_of(head.begin(), head.end(), digit) &&
         std::all_of(head.begin(), head.end(), part);
}

// "[[1, 2" and "[3,": a list of numbers, not prose that begins with a bracket.
bool is_list_of_numbers(std::string_view head) {
  std::size_t at = head.find_first_not_of(" \t\r\n");
  if (at == std::string_view::npos || head[at] != '[') return false;
  constexpr std::size_t kLooked = 256;  // bytes in which no letter stands
  if (head.substr(at, kLooked).find_first_not_of("-+.,0123456789[] \t\r\n") != head.npos)
    return false;
  at = head.find_first_not_of(" \t\r\n[", at);
  if (at == std::string_view::npos || (head[at] != '-' && std::isdigit(head[at]) == 0))
    return false;
  at = head.find_first_not_of("-0123456789.", at);
  return at != std::string_view::npos && std::strchr(", \t\r\n]", head[at]) != nullptr;
}

// uint32 has the high half of a number at every second place of uint16, and it is small.
TokensFormat width_of(const Source& source, int64_t vocab_size) {
  constexpr std::size_t kEnough = 16;  // pairs, which in uint16 all happen to look so never
  const std::string_view head = source.head();
  const int64_t most_high = (vocab_size - 1) >> 16;
  const std::size_t pairs = head.size() / 4;
  std::size_t small = 0;
  for (std::size_t i = 0; i < pairs; ++i) {
    uint16_t high = 0;
    std::memcpy(&high, head.data() + 4 * i + 2, sizeof high);
    if (high > most_high) return TokensFormat::uint16;
    ++small;
  }
  if (small == 0) return TokensFormat::uint16;
  if (small >= kEnough) return TokensFormat::uint32;
  throw InputError(
      fmt::format("{}: may be uint16 or uint32; say which with --tokens-format", source.path()));
}

TokensFormat numpy_archive(const Source& source) {
  if (source.head().find(".npy") != std::string_view::npos) return TokensFormat::npz;
  throw InputError(
      fmt::format("{}: expected a file of tokens, got a zip archive, as torch.save writes it: save "
                  "its token ids with numpy.save",
                  source.path()));
}

}  // namespace

TokensFormat parse_tokens_format(const std::string& name) {
  for (const Name& row : kNames) {
    if (name == row.name) return row.format;
  }
  throw InputError(
      fmt::format("--tokens-format {}: expected {}", name, fmt::join(tokens_format_names(), ", ")));
}

std::vector<std::string> tokens_format_names() {
  std::vector<std::string> names;
  for (const Name& row : kNames) names.emplace_back(row.name);
  return names;
}

std::optional<LlmcHeader> llmc_header(std::string_view head) {
  LlmcHeader header;
  if (head.size() < kLlmcHeaderBytes) return std::nullopt;
  std::memcpy(&header, head.data(), sizeof header);
  if (header.magic != 20240520 && header.magic != 20240801) return std::nullopt;
  return header;
}

const char* foreign_file(std::string_view head) {
  for (const Foreign& row : kForeign) {
    if (head.starts_with(row.start)) return row.what;
  }
  return nullptr;
}

TokensFormat format_of(const Source& source, int64_t vocab_size) {
  const std::string_view head = source.head();
  const std::string& path = source.path();
  const std::string ending = ending_of(path);
  if (head.empty()) throw InputError(path + ": empty: expected tokens or text");
  if (const std::optional<LlmcHeader> header = llmc_header(head)) {
    return header->magic == 20240520 ? TokensFormat::uint16 : TokensFormat::uint32;
  }
  if (head.starts_with("\x93NUMPY")) return TokensFormat::npy;
  if (head.starts_with("PK\x03\x04")) return numpy_archive(source);
  if (ending == ".bin" && !head.starts_with(kForeign.front().start)) {
    return width_of(source, vocab_size);
  }
  if (const char* what = foreign_file(head)) {
    throw InputError(fmt::format("{}: expected a file of tokens, got {}", path, what));
  }
  // A golden file's HDF5 signature stands behind a block of its own.
  if (head.starts_with("\x89HDF") || ending == ".safetensors" ||
      (source.bytes() && golden::is_golden_file(path))) {
    return TokensFormat::dump;
  }
  if (ending == ".npy" || ending == ".npz") {
    throw InputError(fmt::format("{}: expected an array saved by numpy, got something else", path));
  }
  if (ending == ".json") return TokensFormat::json;
  if (ending == ".jsonl" || ending == ".ndjson") return TokensFormat::jsonl;
  if (ending == ".csv" || ending == ".tsv" || is_number_text(without_mark(head)))
    return TokensFormat::numbers;
  if (is_list_of_numbers(without_mark(head))) return TokensFormat::json;
  if (head.find('\0') != std::string_view::npos) {
    throw InputError(fmt::format(
        "{}: holds zero bytes, so it is no text; --tokens-format uint16 or uint32 reads it as "
        "numbers, --tokens-format text as bytes all the same",
        path));
  }
  return TokensFormat::text;
}

}  // namespace assay::datasets
