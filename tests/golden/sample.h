// A small golden file with one dataset of each kind, whose values other languages can work out, and
// a folder for it that goes away with the test.
#pragma once

#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "golden/contract/error.h"
#include "golden/file/golden_file.h"

namespace assay::golden::sample {

inline constexpr uint64_t kSeed = 7;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "assay-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::vector<int32_t> tokens() { return {3, 1, 4, 1, 5, 9, 2, 6, 5, 3}; }  // [2,5]
inline std::vector<uint8_t> mask() { return {1, 1, 1, 1, 1, 1, 1, 1, 0, 0}; }    // [2,5]

// 1/(i+1): as good as none of them is a float32.
inline Tensor hidden() {
  Tensor t{{2, 5, 32}, std::vector<double>(320)};
  for (std::size_t i = 0; i < t.values.size(); ++i) t.values[i] = 1.0 / static_cast<double>(i + 1);
  return t;
}

// Masked scores: -inf above the diagonal, and a -0.
inline Tensor scores() {
  Tensor t{{5, 5}, std::vector<double>(25)};
  for (int q = 0; q < 5; ++q) {
    for (int k = 0; k < 5; ++k) {
      t.values[q * 5 + k] = k > q ? -std::numeric_limits<double>::infinity() : (q - k) / 3.0;
    }
  }
  t.values[0] = -0.0;
  return t;
}

inline Tensor weight(const ModelConfig& config, const TensorInfo& info) {
  Tensor t{info.shape, std::vector<double>(static_cast<std::size_t>(element_count(info.shape)))};
  SyntheticWeights(config, kSeed).read(info.name, t.values);
  return t;
}

inline std::vector<TensorInfo> weights(const ModelConfig& config) {
  std::vector<TensorInfo> list = weight_list(config);
  list.resize(4);
  return list;
}

inline Header header() {
  return {.config = preset("tiny"), .seed = kSeed, .provenance = R"({"host":"sample"})"};
}

// Everything but finish().
inline void fill(GoldenWriter& writer) {
  const ModelConfig config = preset("tiny");
  writer.write_input("tokens", {2, 5}, tokens());
  writer.write_mask("attention_mask", {2, 5}, mask());
  for (const TensorInfo& info : weights(config)) {
    writer.write_weight(info.name, weight(config, info).view());
  }
  writer.write_forward("embed", hidden().view());
  for (int layer = 0; layer < 3; ++layer) {
    writer.write_forward(layer_name(layer, "attn/scores"), scores().view());
    writer.write_forward(layer_name(layer, "mlp_out"), hidden().view());
  }
  const double loss = 0.1;
  writer.write_forward("loss", {{}, {&loss, 1}});
  writer.write_grad("embed", hidden().view());
}

inline std::string write(const std::string& path, Capture capture, bool force = false) {
  GoldenWriter writer(path, header(), capture, force);
  fill(writer);
  return writer.finish();
}

inline std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void put_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// What the call throws, "" if nothing; other exceptions pass.
template <class Call>
std::string complaint(Call&& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace assay::golden::sample
