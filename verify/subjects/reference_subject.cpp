#include "verify/subjects/reference_subject.h"

#include <algorithm>
#include <utility>

#include "golden/contract/error.h"
#include "reference/methods/registry.h"
#include "reference/streaming/tiered_cache.h"
#include "verify/subjects/rows.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

constexpr const char *kRing = "a ring", *kTiers = "three tiers";
constexpr int64_t kTierBlock = 1;  // positions; four blocks are the least that has tiers

// A window in every layer; 0 where some layer sees everything.
int64_t window_of(const golden::ModelConfig& config) {
  return config.full_layers.empty() ? config.window : 0;
}

// Of every row of the batch the last position that it went on by, from the rows that did.
golden::Tensor last_positions(const Array& value, std::size_t axis,
                              std::span<const int32_t> counts) {
  golden::Shape shape = value.shape();
  const int64_t T = shape[axis];
  int64_t between = 1, inside = 1;
  for (std::size_t a = 1; a < axis; ++a) between *= shape[a];
  for (std::size_t a = axis + 1; a < shape.size(); ++a) inside *= shape[a];
  shape[0] = static_cast<int64_t>(counts.size());
  shape[axis] = 1;
  golden::Tensor last{shape,
                      std::vector<double>(static_cast<std::size_t>(golden::element_count(shape)))};
  double* to = last.values.data();
  int64_t row = 0;  // of those that went on
  for (const int32_t count : counts) {
    for (int64_t h = 0; h < between; ++h, to += inside) {
      if (count == 0) continue;
      const double* from = value.data() + ((row * between + h) * T + count - 1) * inside;
      std::copy(from, from + inside, to);
    }
    row += count > 0 ? 1 : 0;
  }
  return last;
}

}  // namespace

struct ReferenceSubject::Stream {
  int64_t rows = 0, positions = 0;
  std::string cache;
  std::function<void(const NodeData& node, const Array& value)> see;  // of the chunk that runs
  std::unique_ptr<reference::StreamedModel> model;
};

ReferenceSubject::ReferenceSubject(golden::ModelConfig config,
                                   std::shared_ptr<const golden::WeightSource> weights,
                                   golden::PrecisionSchedule schedule)
    : GraphSubject("reference", reference::build_model, std::move(config), weights,
                   std::move(schedule)),
      held_(std::move(weights)) {}

Capabilities ReferenceSubject::capabilities() const {
  return {.can_run = true,
          .can_force = true,
          .can_grad = true,
          .can_decode = true,
          .decodes_ragged = true,
          .decodes_same_bits = true,
          .reads_mask = true};
}

std::unique_ptr<Subject> ReferenceSubject::another() const {
  return std::make_unique<ReferenceSubject>(config(), held_, precision());
}

std::vector<Checkpointed> ReferenceSubject::checkpointed() const {
  const auto keeping = [this](const char* what, reference::Keep kept) {
    return Checkpointed{what, [this, kept]() -> std::unique_ptr<Subject> {
                          auto other =
                              std::make_unique<ReferenceSubject>(config(), held_, precision());
                          other->keep(kept);
                          return other;
                        }};
  };
  return {keeping("layers' inputs and what later layers read kept", reference::Keep::shared),
          keeping("layers' inputs kept", reference::Keep::inputs)};
}

std::vector<Cache> ReferenceSubject::caches(int64_t positions) const {
  constexpr int64_t kPiece = 3;
  const int64_t window = window_of(config());
  std::vector<Cache> list;
  if (window > 0 && window < positions) list.push_back({kRing, std::min(kPiece, window)});
  list.push_back({kTiers, kPiece});
  return list;
}

void ReferenceSubject::use_cache(const std::string& name) {
  ASSAY_CHECK(name.empty() || name == kRing || name == kTiers, name);
  cache_ = name;
}

reference::StreamOptions ReferenceSubject::stream_options(int64_t rows, int64_t positions) const {
  const int64_t window = window_of(config());
  reference::StreamOptions options{.batch = rows};
  options.capacity = std::max(positions, window);
  if (cache_ == kRing) options.capacity = std::max<int64_t>(window, 2);
  if (cache_ == kTiers) {
    constexpr int64_t kLeast = 4 * kTierBlock;
    const int64_t least = window > 0 ? window : positions;
    options.capacity = (least + kLeast - 1) / kLeast * kLeast;
    options.cache = reference::tiered_caches(kTierBlock);
  }
  options.chunk = options.capacity;
  return options;
}

// A stream that is there is used again: what one sequence leaves behind may not reach the next.
void ReferenceSubject::reset(int64_t rows, int64_t positions) {
  const bool fits = stream_ != nullptr && stream_->rows == rows &&
                    stream_->positions == positions && stream_->cache == cache_;
  if (!fits) {
    auto stream = std::make_shared<Stream>(Stream{rows, positions, cache_, {}, nullptr});
    reference::StreamOptions options = stream_options(rows, positions);
    options.observe = [this, stream = stream.get()](const NodeData& node, const Array& value) {
      Array held = rounded(node.name, value);
      if (stream->see) stream->see(node, held);
      return held;
    };
    try {
      stream->model = std::make_unique<reference::StreamedModel>(config(), weights(), options);
    } catch (const InputError& problem) {  // of the weights' file
      throw UnreadableInput(problem.what());
    }
    stream_ = std::move(stream);
  }
  for (int64_t b = 0; b < rows; ++b) stream_->model->reset(b);
}

void ReferenceSubject::decode(const Batch& tokens, const Receive& receive) {
  const std::vector<int32_t> counts(static_cast<std::size_t>(tokens.batch),
                                    static_cast<int32_t>(tokens.positions));
  append(tokens, counts, false, receive);
}

void ReferenceSubject::decode_rows(const Batch& tokens, std::span<const int32_t> counts,
                                   const Receive& receive) {
  append(tokens, counts, true, receive);
}

void ReferenceSubject::append(const Batch& tokens, std::span<const int32_t> counts, bool last_alone,
                              const Receive& receive) {
  ASSAY_CHECK(stream_ != nullptr, "decode before reset");
  const int64_t n = tokens.positions, V = config().vocab_size;
  std::vector<double> logits(static_cast<std::size_t>(tokens.batch * n * V));
  std::vector<reference::Piece> pieces;
  for (int64_t b = 0; b < tokens.batch; ++b) {
    const auto count = static_cast<std::size_t>(counts[static_cast<std::size_t>(b)]);
    if (count == 0) continue;
    const auto first = static_cast<std::size_t>(b * n);
    const auto v = static_cast<std::size_t>(V);
    pieces.push_back({.sequence = b,
                      .tokens = std::span(tokens.tokens).subspan(first, count),
                      .logits = std::span(logits).subspan(first * v, count * v),
                      .real = std::span(tokens.attention_mask).subspan(first, count)});
  }
  stream_->see = [&](const NodeData& node, const Array& value) {
    if (!has_positions(node.result.axes)) return;
    const std::size_t axis = node.result.axes.find('T');
    golden::Tensor tensor =
        last_alone ? last_positions(value, axis, counts)
                   : golden::Tensor{value.shape(), {value.values().begin(), value.values().end()}};
    receive({.name = node.name, .dtype = dtype_of(node.name), .tensor = std::move(tensor)});
  };
  stream_->model->append(pieces);
  stream_->see = nullptr;
}

}  // namespace assay::verify
