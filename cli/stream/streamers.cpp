#include "cli/stream/streamers.h"

#include <fmt/format.h>

#include "cli/model_options.h"
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

std::unique_ptr<Streamer> make_subject_streamer(std::unique_ptr<verify::Subject> subject,
                                                int64_t capacity, int64_t vocab_size) {
  return std::make_unique<SubjectStreamer>(std::move(subject), capacity, vocab_size);
}

}  // namespace assay::cli
