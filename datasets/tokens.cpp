#include "datasets/tokens.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"

namespace assay::datasets {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file && bytes.empty()) {
    throw InputError(path + ": cannot be read: expected a text file or a JSON list of tokens");
  }
  return bytes;
}

std::vector<int32_t> byte_tokens(const std::string& path, int64_t batch, int64_t positions,
                                 int64_t vocab_size) {
  if (vocab_size < 256) {
    throw InputError(fmt::format("{}: text is read as bytes: expected vocab_size >= 256, got {}",
                                 path, vocab_size));
  }
  const std::string text = read_file(path);
  const auto count = static_cast<std::size_t>(batch * positions);
  if (text.size() < count) {
    throw InputError(fmt::format("{}: too short: expected at least {} bytes for [{},{}], got {}",
                                 path, count, batch, positions, text.size()));
  }
  std::vector<int32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<unsigned char>(text[i]);
  return tokens;
}

std::vector<int32_t> json_tokens(const std::string& path, int64_t batch, int64_t positions,
                                 int64_t vocab_size) {
  std::vector<std::vector<int64_t>> rows;
  try {
    rows = nlohmann::json::parse(read_file(path)).get<std::vector<std::vector<int64_t>>>();
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("{}: expected a JSON array of arrays of whole numbers: {}", path,
                                 error.what()));
  }
  if (static_cast<int64_t>(rows.size()) < batch) {
    throw InputError(fmt::format("{}: expected {} rows, got {}", path, batch, rows.size()));
  }
  std::vector<int32_t> tokens;
  for (int64_t b = 0; b < batch; ++b) {
    const auto& row = rows[static_cast<std::size_t>(b)];
    if (static_cast<int64_t>(row.size()) < positions) {
      throw InputError(fmt::format("{}: row {}: expected at least {} tokens, got {}", path, b,
                                   positions, row.size()));
    }
    for (int64_t t = 0; t < positions; ++t) {
      const int64_t token = row[static_cast<std::size_t>(t)];
      if (token < 0 || token >= vocab_size) {
        throw InputError(fmt::format("{}: row {}, position {}: expected a token in 0 .. {}, got {}",
                                     path, b, t, vocab_size - 1, token));
      }
      tokens.push_back(static_cast<int32_t>(token));
    }
  }
  return tokens;
}

}  // namespace

std::vector<int32_t> read_tokens(const std::string& path, int64_t batch, int64_t positions,
                                 int64_t vocab_size) {
  return path.ends_with(".json") ? json_tokens(path, batch, positions, vocab_size)
                                 : byte_tokens(path, batch, positions, vocab_size);
}

}  // namespace assay::datasets
