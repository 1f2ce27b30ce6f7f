#include "cli/serving/step_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "cli/engine/engine_subject.h"
#include "cli/engine/result_probe.h"
#include "cli/model_options.h"
#include "cli/subjects.h"
#include "cuda_impl/engine/interface/backend_name.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "reference/interpreters/value.h"
#include "reference/methods/registry.h"
#include "reference/streaming/streamed_model.h"
#include "verify/subjects/bindings.h"

namespace assay::cli {
namespace {

// Rows that stand still in a step have a count of 0; shorter ones are filled up behind.
class DecoderModel : public serving::StepModel {
 public:
  DecoderModel(std::unique_ptr<cuda::Decoder> decoder, int64_t capacity)
      : decoder_(std::move(decoder)), capacity_(capacity) {}
  int64_t slots() const override { return static_cast<int64_t>(decoder_->lengths().size()); }
  int64_t capacity() const override {
    const cuda::BlockUse use = decoder_->block_use();
    if (use.positions == 0 || use.blocks > capacity_ / use.positions) return capacity_;
    return std::min(capacity_, use.blocks * use.positions);
  }
  int64_t vocab_size() const override { return decoder_->vocab_size(); }

  bool reserve(int64_t slot, int64_t positions) override {
    if (!shares_room()) decoder_->reset(slot);
    const bool fits = decoder_->reserve(slot, positions);
    refusals_ += !fits;
    return fits;
  }
  void release(int64_t slot) override { decoder_->reset(slot); }
  bool share(int64_t from, int64_t to, int64_t positions) override {
    return decoder_->share(from, to, positions);
  }
  bool shares_room() const override { return decoder_->block_use().positions > 0; }
  std::optional<serving::BlockCounts> block_counts() const override {
    const cuda::BlockUse use = decoder_->block_use();
    if (use.positions == 0) return std::nullopt;
    return serving::BlockCounts{.used = use.used,
                                .promised = use.promised,
                                .most_used = use.most_used,
                                .refusals = refusals_,
                                .shared = use.shared,
                                .copied = use.copied,
                                .bytes = decoder_->cache_bytes()};
  }

  void step(std::span<const serving::SlotTokens> batch, std::span<double> logits) override {
    const auto B = static_cast<std::size_t>(slots());
    std::size_t C = 0;
    for (const serving::SlotTokens& row : batch) C = std::max(C, row.tokens.size());
    std::vector<int32_t> tokens(B * C, 0), counts(B, 0);  // [B,C], [B]
    for (const serving::SlotTokens& row : batch) {
      const auto b = static_cast<std::size_t>(row.slot);
      std::copy(row.tokens.begin(), row.tokens.end(),
                tokens.begin() + static_cast<std::ptrdiff_t>(b * C));
      counts[b] = static_cast<int32_t>(row.tokens.size());
    }
    const auto V = static_cast<std::size_t>(vocab_size());
    std::vector<double> all(B * V);  // [B,V]
    decoder_->append({static_cast<int64_t>(C), tokens, {}, counts}, all);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto from =
          all.begin() + static_cast<std::ptrdiff_t>(batch[i].slot) * static_cast<std::ptrdiff_t>(V);
      std::copy_n(from, V, logits.begin() + static_cast<std::ptrdiff_t>(i * V));
    }
  }

 private:
  std::unique_ptr<cuda::Decoder> decoder_;
  int64_t capacity_, refusals_ = 0;
};

// Every row of a step is a piece of its own; rows shorter than others are filled up on the side
// that is asked for.
class StreamModel : public serving::StepModel {
 public:
  StreamModel(const golden::ModelConfig& config, const golden::WeightSource& weights,
              const reference::StreamOptions& options, int64_t capacity)
      : stream_(config, weights, options), slots_(options.batch), capacity_(capacity) {}
  int64_t slots() const override { return slots_; }
  int64_t capacity() const override { return std::min(capacity_, stream_.most_positions()); }
  int64_t vocab_size() const override { return stream_.vocab_size(); }

  bool reserve(int64_t slot, int64_t) override {
    stream_.reset(slot);
    return true;
  }
  void release(int64_t slot) override { stream_.reset(slot); }
  bool share(int64_t from, int64_t to, int64_t positions) override {
    return stream_.share(from, to, positions);
  }

  void step(std::span<const serving::SlotTokens> batch, std::span<double> logits) override {
    const std::size_t V = logits.size() / batch.size();
    std::vector<reference::Piece> pieces;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      pieces.push_back({batch[i].slot, batch[i].tokens, logits.subspan(i * V, V)});
    }
    stream_.append(pieces);
  }

 private:
  reference::StreamedModel stream_;
  int64_t slots_, capacity_;
};

class ServedLogitsObserver : public reference::Observer {
 public:
  bool wants(const reference::NodeData& node) override { return node.name == "logits"; }
  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    if (node.name == "logits") logits.assign(value.values().begin(), value.values().end());
    return value;
  }
  std::vector<double> logits;
};

verify::Batch one_row(std::span<const int32_t> tokens) {
  return unpadded({tokens.begin(), tokens.end()}, 1, static_cast<int64_t>(tokens.size()));
}

// reference[:left]
ServedModels reference_models(const std::string& backend, const std::string& precision,
                              const golden::ModelConfig& config,
                              const golden::WeightSource& weights) {
  using Padding = reference::StreamOptions::Padding;
  if (backend != "reference" && backend != "reference:left") {
    throw InputError(fmt::format("--backend {}: expected reference or reference:left",
                                 golden::printable(backend)));
  }
  if (!precision.empty() && precision != "fp64") {
    throw InputError(fmt::format(
        "--precision {}: the reference computes in fp64; --backend simt has others", precision));
  }
  const Padding padding = backend == "reference" ? Padding::right : Padding::left;
  const MakeStepModel make = [&config, &weights, padding](int64_t slots,
                                                          int64_t capacity) -> StepModelPointer {
    reference::StreamOptions options;
    options.batch = slots;
    options.capacity = std::max(capacity, config.window);
    options.chunk = std::min(options.chunk, options.capacity);
    options.padding = padding;
    return std::make_unique<StreamModel>(config, weights, options, capacity);
  };
  const WholePass whole = [&config, &weights](std::span<const int32_t> tokens) {
    const verify::Batch batch = one_row(tokens);
    ServedLogitsObserver observer;
    reference::evaluate(*reference::build_model(config, 1, batch.positions),
                        verify::bind(batch, weights), observer);
    return std::move(observer.logits);
  };
  return {make, whole};
}

ServedModels engine_models(const std::string& backend, const std::string& precision,
                           const golden::ModelConfig& config, const golden::WeightSource& weights,
                           const serving::BlockOptions& blocks) {
  cuda::BackendName name = cuda::parse_backend_name(backend);
  if (blocks.blocks > 0 && name.options.cache.positions > 0) {
    throw InputError(
        fmt::format("--cache-blocks beside --backend {}: expected one of them to say which blocks "
                    "the cache has",
                    golden::printable(backend)));
  }
  if (blocks.blocks > 0) {
    name.options.cache.positions = static_cast<std::size_t>(blocks.positions);
    name.options.cache.count = static_cast<std::size_t>(blocks.blocks);
  }
  const bool on_device = name.name == "cuda";
  if (const std::string why = on_device ? cuda::device_unavailable() : ""; !why.empty()) {
    throw NoDevice("--backend cuda: skipped: " + why);
  }
  const auto make = on_device ? cuda::make_device_model : cuda::make_host_model;
  const std::shared_ptr<cuda::Model> model =
      make(config, golden::parse_precision(precision.empty() ? "fp32" : precision), weights,
           name.options);
  const MakeStepModel decoders = [model](int64_t slots, int64_t capacity) -> StepModelPointer {
    return std::make_unique<DecoderModel>(model->decoder(slots, capacity), capacity);
  };
  const WholePass whole = [model](std::span<const int32_t> tokens) {
    const verify::Batch batch = one_row(tokens);
    ResultProbe probe("logits");
    model->forward(engine_batch(batch), &probe);
    return std::move(probe.result.values);
  };
  return {decoders, whole};
}

}  // namespace

ServedModels step_models(const std::string& backend, const std::string& precision,
                         const golden::ModelConfig& config, const golden::WeightSource& weights,
                         const serving::BlockOptions& blocks) {
  const std::string name = backend.substr(0, backend.find(':'));
  if (name == "simt" || name == "cuda") {
    return engine_models(backend, precision, config, weights, blocks);
  }
  if (name == "reference") return reference_models(backend, precision, config, weights);
  throw InputError(
      fmt::format("--backend {}: expected reference, simt or cuda", golden::printable(backend)));
}

void TimedModel::step(std::span<const serving::SlotTokens> batch, std::span<double> logits) {
  using Now = std::chrono::steady_clock;
  const auto start = Now::now();
  const auto pass = [&] {
    if (wall_) {
      clock_.now_s += std::chrono::duration<double>(Now::now() - start).count();
      return;
    }
    clock_.now_s += cost_.step_s;
    for (const serving::SlotTokens& row : batch) {
      clock_.now_s += cost_.token_s * static_cast<double>(row.tokens.size());
    }
  };
  try {
    model_.step(batch, logits);
  } catch (...) {
    pass();  // what fails takes its time too
    throw;
  }
  pass();
}

}  // namespace assay::cli
