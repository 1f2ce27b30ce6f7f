// Sequences that a decoder reads in pieces, compared bit for bit with the forward pass.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <memory>
#include <vector>

#include "models.h"

namespace assay::engine_test {

inline constexpr int64_t kV = 11;

struct LogitsProbe final : cuda::Probe {
  std::vector<double> logits;  // [B,T,V]
  bool wants(const std::string& name) override { return name == "logits"; }
  void tap(const std::string&, golden::TensorView value) override {
    logits.assign(value.values.begin(), value.values.end());
  }
  bool force(const std::string&, std::span<double>) override { return false; }
};

inline std::vector<double> forward_logits(cuda::Model& model, const Tokens& tokens) {
  LogitsProbe probe;
  model.forward(tokens.view(), &probe);
  return probe.logits;
}

// Every model that decodes: of the blocks, and of pt those in which no word depends on later ones.
inline std::vector<golden::ModelConfig> decoding_models() {
  std::vector<golden::ModelConfig> all = models();
  for (const golden::ModelConfig& config : prob_transformers()) {
    if (config.pt.causal_heads) all.push_back(config);
  }
  return all;
}

// Rows of T positions, read in pieces.
class Reader {
 public:
  Reader(cuda::Model& model, const Tokens& tokens, int64_t capacity, int64_t chunk = 0)
      : tokens_(tokens),
        expected_(forward_logits(model, tokens)),
        decoder_(model.decoder(tokens.B, capacity, chunk)) {}

  // Row b goes on by counts[b] positions. Compares the logits bit for bit.
  void read(const std::vector<int32_t>& counts) {
    const int64_t C = *std::ranges::max_element(counts);
    std::vector<int32_t> ids(static_cast<std::size_t>(tokens_.B * C));
    std::vector<uint8_t> mask(ids.size());
    const std::vector<int64_t> before(decoder_->lengths().begin(), decoder_->lengths().end());
    for (std::size_t b = 0; b < counts.size(); ++b) {
      for (int32_t t = 0; t < counts[b]; ++t) {
        const std::size_t to = b * static_cast<std::size_t>(C) + static_cast<std::size_t>(t);
        const std::size_t from = place(b, before[b] + t);
        ids[to] = tokens_.tokens[from];
        mask[to] = tokens_.mask[from];
      }
    }
    std::vector<double> logits(static_cast<std::size_t>(tokens_.B * kV));
    decoder_->append({C, ids, mask, counts}, logits);
    for (std::size_t b = 0; b < counts.size(); ++b) {
      BOOST_REQUIRE_EQUAL(decoder_->lengths()[b], before[b] + counts[b]);
      for (std::size_t v = 0; v < kV; ++v) {
        const std::size_t last = place(b, before[b] + counts[b] - 1);
        const double expected = counts[b] == 0 ? 0.0 : expected_[last * kV + v];
        BOOST_REQUIRE_MESSAGE(logits[b * kV + v] == expected,
                              "b" << b << ", position " << before[b] + counts[b] - 1 << ": logit "
                                  << logits[b * kV + v] << ", forward " << expected);
      }
    }
  }
  cuda::Decoder& decoder() { return *decoder_; }

 private:
  std::size_t place(std::size_t b, int64_t t) const {
    return b * static_cast<std::size_t>(tokens_.T) + static_cast<std::size_t>(t);
  }

  const Tokens& tokens_;
  std::vector<double> expected_;
  std::unique_ptr<cuda::Decoder> decoder_;
};

}  // namespace assay::engine_test
