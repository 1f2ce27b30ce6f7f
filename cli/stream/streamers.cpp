#include "cli/stream/streamers.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/model_options.h"
#include "cuda_impl/engine/interface/backend_name.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"

namespace assay::cli {
namespace {

class ReferenceStreamer final : public Streamer {
 public:
  ReferenceStreamer(const golden::ModelConfig& config, const golden::WeightSource& weights,
                    const reference::StreamOptions& options)
      : model_(config, weights, options) {}

  std::string describe() const override { return "reference, double precision"; }

  std::span<const double> append(std::span<const int32_t> tokens) override {
    logits_.resize(tokens.size() * static_cast<std::size_t>(model_.vocab_size()));
    model_.append(0, tokens, logits_);
    return logits_;
  }

  StreamedCache cache() const override {
    const reference::StreamStatistics s = model_.statistics(0);
    return {.held = s.held, .capacity = s.capacity, .evictions = s.evictions, .bytes = s.bytes};
  }

 private:
  reference::StreamedModel model_;
  std::vector<double> logits_;
};

class EngineStreamer final : public Streamer {
 public:
  EngineStreamer(std::string name, const cuda::Model& model, std::unique_ptr<cuda::Decoder> decoder)
      : name_(std::move(name)),
        precision_(model.precision()),
        decoder_(std::move(decoder)),
        logits_(static_cast<std::size_t>(decoder_->vocab_size())) {}

  std::string describe() const override {
    return fmt::format("{}, {} storage", name_, golden::precision_name(precision_.storage));
  }

  std::span<const double> append(std::span<const int32_t> tokens) override {
    decoder_->append({.positions = static_cast<int64_t>(tokens.size()),
                      .tokens = tokens,
                      .attention_mask = {},
                      .counts = {}},
                     logits_);
    return logits_;
  }

  StreamedCache cache() const override {
    const int64_t length = decoder_->lengths()[0], rows = decoder_->cache_rows();
    const int64_t held = std::min(length, rows);
    return {.held = held,
            .capacity = rows,
            .evictions = length - held,
            .bytes = decoder_->cache_bytes()};
  }

 private:
  std::string name_;
  golden::PrecisionSchedule precision_;
  std::unique_ptr<cuda::Decoder> decoder_;
  std::vector<double> logits_;
};

class SubjectStreamer final : public Streamer {
 public:
  SubjectStreamer(std::unique_ptr<verify::Subject> subject, int64_t capacity, int64_t vocab_size)
      : subject_(std::move(subject)), capacity_(capacity), vocab_(vocab_size) {
    if (!subject_->capabilities().can_decode) {
      throw InputError(fmt::format("--subject {}: expected one that decodes, token by token",
                                   subject_->describe()));
    }
    subject_->reset(1, capacity);
  }

  std::string describe() const override { return subject_->describe(); }

  std::span<const double> append(std::span<const int32_t> tokens) override {
    const auto count = static_cast<int64_t>(tokens.size());
    if (count > capacity_ - length_) {
      throw InputError(
          fmt::format("stream: the cache ends: expected at most {} positions, got {} after {}; "
                      "--capacity sets how many",
                      capacity_, count, length_));
    }
    logits_.clear();
    subject_->decode(unpadded({tokens.begin(), tokens.end()}, 1, count),
                     [&](verify::Observed observed) {
                       if (observed.name == "logits") logits_ = std::move(observed.tensor.values);
                     });
    length_ += count;
    const auto v = static_cast<std::size_t>(vocab_);
    if (logits_.empty() || logits_.size() % v != 0 || logits_.size() > tokens.size() * v) {
      throw InputError(fmt::format("{}: logits: expected {} for each position, got {}", describe(),
                                   vocab_, logits_.size()));
    }
    return logits_;
  }

  StreamedCache cache() const override {
    return {.held = length_, .capacity = capacity_, .evictions = 0, .bytes = 0};
  }

 private:
  std::unique_ptr<verify::Subject> subject_;
  int64_t capacity_, vocab_, length_ = 0;
  std::vector<double> logits_;
};

}  // namespace

std::unique_ptr<Streamer> make_reference_streamer(const golden::ModelConfig& config,
                                                  const golden::WeightSource& weights,
                                                  const reference::StreamOptions& options) {
  return std::make_unique<ReferenceStreamer>(config, weights, options);
}

std::unique_ptr<Streamer> make_engine_streamer(const std::string& name, golden::Precision precision,
                                               const golden::ModelConfig& config,
                                               const golden::WeightSource& weights,
                                               int64_t capacity, int64_t chunk) {
  const cuda::ModelOptions options = cuda::parse_backend_name(name).options;
  const bool device = name.starts_with("cuda");
  const std::string missing = device ? cuda::device_unavailable() : "";
  if (!missing.empty()) throw NoDevice("--subject cuda: skipped: " + missing);
  const auto model = device ? cuda::make_device_model(config, precision, weights, options)
                            : cuda::make_host_model(config, precision, weights, options);
  return std::make_unique<EngineStreamer>(name, *model, model->decoder(1, capacity, chunk));
}

std::unique_ptr<Streamer> make_subject_streamer(std::unique_ptr<verify::Subject> subject,
                                                int64_t capacity, int64_t vocab_size) {
  return std::make_unique<SubjectStreamer>(std::move(subject), capacity, vocab_size);
}

}  // namespace assay::cli
