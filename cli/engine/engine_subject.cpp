#include "cli/engine/engine_subject.h"

#include <algorithm>

#include "cli/engine/result_probe.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::cli {
namespace {

constexpr int64_t kRingPiece = 5;  // positions that a step of decoding through a ring takes at most
constexpr cuda::CacheBlocks kSmallBlocks{.positions = 5};  // no multiple of a tile of keys
constexpr const char *kRing = "a ring", *kBlocks = "blocks of 5 positions",
                     *kWindowBlocks = "blocks of its window";

class SubjectProbe : public cuda::Probe {
 public:
  SubjectProbe(const EngineSubject& subject, const verify::Forced& forced,
               const verify::Receive& receive)
      : subject_(subject), forced_(forced), receive_(receive) {}

  bool wants(const std::string&) override { return true; }

  void tap(const std::string& name, golden::TensorView value) override {
    receive_({.name = name,
              .dtype = subject_.dtype_of(name),
              .tensor = {value.shape, {value.values.begin(), value.values.end()}}});
  }

  bool force(const std::string& name, std::span<double> value) override {
    const golden::Tensor* replacement = forced_ ? forced_(name) : nullptr;
    if (replacement == nullptr) return false;
    ASSAY_CHECK(replacement->values.size() == value.size(), name);
    std::copy(replacement->values.begin(), replacement->values.end(), value.begin());
    return true;
  }

 private:
  const EngineSubject& subject_;
  const verify::Forced& forced_;
  const verify::Receive& receive_;
};

}  // namespace

cuda::Batch engine_batch(const verify::Batch& batch) {
  return {.batch = batch.batch,
          .positions = batch.positions,
          .tokens = batch.tokens,
          .attention_mask = batch.attention_mask,
          .labels = batch.labels};
}

EngineSubject::EngineSubject(std::string backend, std::shared_ptr<cuda::Model> model,
                             const cuda::ModelOptions& options, MakeModel make)
    : backend_(std::move(backend)),
      model_(std::move(model)),
      options_(options),
      make_(std::move(make)) {}

std::unique_ptr<verify::Subject> EngineSubject::another() const {
  if (!make_) return nullptr;
  return std::make_unique<EngineSubject>(backend_, make_(options_), options_, make_);
}

bool EngineSubject::computes(const std::string& tensor_name) const {
  return options_.recompute != cuda::Recompute::stacked || !golden::is_recomputed(tensor_name);
}

std::string EngineSubject::describe() const {
  const golden::PrecisionSchedule schedule = precision();
  const std::string factors =
      schedule.operands ? ", " + golden::precision_name(*schedule.operands) + " factors" : "";
  const std::string stacked =
      options_.recompute == cuda::Recompute::stacked ? ", stacked recompute" : "";
  const std::string stored =
      options_.stored_bytes == 0
          ? ""
          : ", probabilities stored within " + std::to_string(options_.stored_bytes) + " bytes";
  const cuda::ModelOptions usual;
  const std::string groups =
      options_.stack_bytes == usual.stack_bytes
          ? ""
          : ", stacks within " + std::to_string(options_.stack_bytes) + " bytes";
  const std::string tiles =
      options_.head_bytes == usual.head_bytes
          ? ""
          : ", logits within " + std::to_string(options_.head_bytes) + " bytes";
  const std::string parts =
      options_.key_span == 0
          ? ""
          : ", decoding in parts of " + std::to_string(options_.key_span) + " keys";
  return backend_ + stacked + groups + stored + tiles + parts + ", " +
         golden::precision_name(schedule.storage) + " storage" + factors + ", " +
         golden::precision_name(schedule.accumulate) + " accumulation";
}

golden::DType EngineSubject::dtype_of(const std::string& tensor_name) const {
  return verify::dtype_of(precision().storage_of(tensor_name));
}

void EngineSubject::run(const verify::Batch& batch, const verify::Forced& forced,
                        const verify::Receive& receive) {
  SubjectProbe probe(*this, forced, receive);
  model_->forward(engine_batch(batch), &probe);
}

void EngineSubject::run_gradients(const verify::Batch& batch, const verify::Receive& receive) {
  model_->gradients(engine_batch(batch), [&](const std::string& name, golden::TensorView value) {
    receive({.name = verify::kGrad + name,
             .dtype = verify::dtype_of(precision().accumulate),
             .tensor = {value.shape, {value.values.begin(), value.values.end()}}});
  });
}

golden::Tensor EngineSubject::run_untapped(const verify::Batch& batch, verify::Result result) {
  ResultProbe probe(result == verify::Result::logits ? "logits" : "loss");
  model_->forward(engine_batch(batch), &probe);
  return std::move(probe.result);
}

std::vector<verify::Checkpointed> EngineSubject::checkpointed() const {
  if (!make_ || options_.keep != cuda::Keep::all) return {};
  const auto keeping = [this](const char* what, cuda::Keep keep) {
    cuda::ModelOptions options = options_;
    options.keep = keep;
    return verify::Checkpointed{what, [this, options] {
                                  return std::make_unique<EngineSubject>(backend_, make_(options),
                                                                         options, make_);
                                }};
  };
  return {keeping("layers' inputs and what later layers read kept", cuda::Keep::shared),
          keeping("layers' inputs kept", cuda::Keep::inputs)};
}

std::vector<verify::Cache> EngineSubject::caches(int64_t positions) const {
  std::vector<verify::Cache> all;
  const auto ring = model_->decoder(1, positions, kRingPiece);
  const bool blocks = options_.cache.positions > 0;
  if (ring->cache_rows() < positions) {
    all.push_back({blocks ? kWindowBlocks : kRing, kRingPiece});
  }
  if (!blocks) all.push_back({kBlocks, 0});
  return all;
}

// A decoder that is there is used again: what one sequence leaves behind may not reach the next.
void EngineSubject::reset(int64_t rows, int64_t positions) {
  const bool keeps_window = cache_ == kRing || cache_ == kWindowBlocks;
  const int64_t piece = keeps_window ? kRingPiece : 0;
  const bool fits = decoder_ != nullptr && capacity_ == positions && used_ == cache_ &&
                    static_cast<int64_t>(decoder_->lengths().size()) == rows;
  const cuda::CacheBlocks& blocks = cache_ == kBlocks ? kSmallBlocks : options_.cache;
  if (!fits) decoder_ = model_->decoder(rows, positions, piece, blocks);
  capacity_ = positions;
  used_ = cache_;
  for (int64_t b = 0; b < rows; ++b) decoder_->reset(b);
}

void EngineSubject::decode(const verify::Batch& tokens, const verify::Receive& receive) {
  decode_rows(tokens, {}, receive);
}

void EngineSubject::decode_rows(const verify::Batch& tokens, std::span<const int32_t> counts,
                                const verify::Receive& receive) {
  ASSAY_CHECK(decoder_ != nullptr, "decode before reset");
  const int64_t B = tokens.batch, V = decoder_->vocab_size();
  golden::Tensor logits{{B, 1, V}, std::vector<double>(static_cast<std::size_t>(B * V))};
  decoder_->append({tokens.positions, tokens.tokens, tokens.attention_mask, counts}, logits.values);
  receive({.name = "logits", .dtype = dtype_of("logits"), .tensor = std::move(logits)});
}

}  // namespace assay::cli
