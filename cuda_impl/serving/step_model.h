// What a server needs of a model: sequences in slots, and a step that several of them take at once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace assay::serving {

// What the sequence of a slot goes on with: at least one token.
struct SlotTokens {
  int64_t slot = 0;
  std::span<const int32_t> tokens;
};

// Of a cache in blocks that the model itself has.
struct BlockCounts {
  int64_t used = 0, promised = 0;       // now, by sequences or to them
  int64_t most_used = 0, refusals = 0;  // blocks at once; of reserve()
  int64_t shared = 0, copied = 0;       // blocks taken from another sequence; copied on a write
  int64_t bytes = 0;                    // of the cache, as it is now
};

class StepModel {
 public:
  virtual ~StepModel() = default;
  virtual int64_t slots() const = 0;
  virtual int64_t capacity() const = 0;    // positions of the longest sequence, if it runs alone
  virtual int64_t vocab_size() const = 0;  // V

  // Makes room in a slot without a sequence for one of up to `positions`, until release(). false:
  // others hold what it needs. Throws InputError or std::bad_alloc where it cannot be had at all;
  // the slot then stays without a sequence.
  virtual bool reserve(int64_t slot, int64_t positions) = 0;
  virtual void release(int64_t slot) = 0;
  // Begins the empty sequence of slot `to` with the first `positions` of that of `from`, as if
  // their tokens had been read. Where it returns false or throws, nothing has changed.
  virtual bool share(int64_t /*from*/, int64_t /*to*/, int64_t /*positions*/) { return false; }
  // Whether what is shared takes no room a second time. share() then comes before reserve(), of a
  // slot that is empty, and release() behind it where there is no room.
  virtual bool shares_room() const { return false; }
  virtual std::optional<BlockCounts> block_counts() const { return std::nullopt; }

  // Appends to sequences of different slots, each at its own position, and fills `logits`
  // [batch,V] with those behind each one's last token. Where it throws, nothing is appended.
  virtual void step(std::span<const SlotTokens> batch, std::span<double> logits) = 0;
};

// Hands everything on to a model, which outlives it: for wrappers that change a part of it.
class StepModelWrapper : public StepModel {
 public:
  explicit StepModelWrapper(StepModel& model) : model_(model) {}
  int64_t slots() const override { return model_.slots(); }
  int64_t capacity() const override { return model_.capacity(); }
  int64_t vocab_size() const override { return model_.vocab_size(); }
  bool reserve(int64_t slot, int64_t positions) override { return model_.reserve(slot, positions); }
  void release(int64_t slot) override { model_.release(slot); }
  bool share(int64_t from, int64_t to, int64_t positions) override {
    return model_.share(from, to, positions);
  }
  bool shares_room() const override { return model_.shares_room(); }
  std::optional<BlockCounts> block_counts() const override { return model_.block_counts(); }
  void step(std::span<const SlotTokens> batch, std::span<double> logits) override {
    model_.step(batch, logits);
  }

 protected:
  StepModel& model_;
};

}  // namespace assay::serving
