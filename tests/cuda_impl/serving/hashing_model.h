// A model whose logits are a hash of the sequence that its slot holds: whatever a server mixes up
// shows in every later token.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <new>
#include <stdexcept>
#include <vector>

#include "cuda_impl/serving/step_model.h"

namespace assay::serving_test {

class HashingModel : public serving::StepModel {
 public:
  HashingModel(int64_t slots, int64_t capacity, int64_t V, int64_t blocks = 1 << 20)
      : capacity_(capacity), V_(V), free_(blocks), lengths_(static_cast<std::size_t>(slots)) {
    hashes_.resize(lengths_.size());
    held_.resize(lengths_.size());
    states_.resize(lengths_.size());
  }
  int64_t slots() const override { return static_cast<int64_t>(lengths_.size()); }
  int64_t capacity() const override { return capacity_; }
  int64_t vocab_size() const override { return V_; }

  bool reserve(int64_t slot, int64_t positions) override {
    const auto s = static_cast<std::size_t>(slot);
    if (held_[s] != 0) throw std::runtime_error("the slot is in use");
    if (on_reserve) on_reserve(positions);
    const int64_t blocks = (positions + 3) / 4;
    if (blocks > free_) return false;
    free_ -= blocks;
    held_[s] = blocks;
    return true;
  }
  void release(int64_t slot) override {
    const auto s = static_cast<std::size_t>(slot);
    free_ += held_[s];
    held_[s] = hashes_[s] = 0;
    lengths_[s] = 0;
    states_[s].clear();
  }
  bool share(int64_t from, int64_t to, int64_t positions) override {
    const auto f = static_cast<std::size_t>(from), t = static_cast<std::size_t>(to);
    const auto count = static_cast<std::size_t>(positions);
    if (lengths_[t] != 0 || count == 0 || count > states_[f].size()) {
      throw std::logic_error("share");
    }
    states_[t].assign(states_[f].begin(), states_[f].begin() + positions);
    hashes_[t] = states_[t].back();
    lengths_[t] = positions;
    return true;
  }
  void step(std::span<const serving::SlotTokens> batch, std::span<double> logits) override {
    if (on_step) on_step(batch);
    const auto V = static_cast<std::size_t>(V_);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto s = static_cast<std::size_t>(batch[i].slot);
      if (held_[s] == 0) throw std::logic_error("a step of an empty slot");
      for (const int32_t token : batch[i].tokens) {
        hashes_[s] = mixed(hashes_[s] + static_cast<uint64_t>(token) + 1);
        states_[s].push_back(hashes_[s]);
        ++lengths_[s];
        ++tokens;
      }
      if (lengths_[s] > held_[s] * 4) throw std::logic_error("beyond its room");
      for (std::size_t v = 0; v < V; ++v) {
        logits[i * V + v] = static_cast<double>(mixed(hashes_[s] + v * 977) >> 40);
      }
    }
    ++steps;
  }

  int64_t free_blocks() const { return free_; }
  int64_t steps = 0, tokens = 0;
  std::function<void(int64_t positions)> on_reserve;
  std::function<void(std::span<const serving::SlotTokens>)> on_step;

 private:
  static uint64_t mixed(uint64_t x) {  // splitmix64
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  int64_t capacity_, V_, free_;
  std::vector<int64_t> lengths_, held_;
  std::vector<uint64_t> hashes_;
  std::vector<std::vector<uint64_t>> states_;  // behind each position
};

// The new tokens of a prompt that runs alone.
inline std::vector<int32_t> tokens_alone(const std::vector<int32_t>& prompt, int64_t count,
                                         int64_t capacity, int64_t V) {
  HashingModel model(1, capacity, V);
  model.reserve(0, static_cast<int64_t>(prompt.size()) + count);
  std::vector<double> logits(static_cast<std::size_t>(V));
  std::vector<int32_t> next = prompt, out;
  for (int64_t i = 0; i < count; ++i) {
    const serving::SlotTokens input{0, next};
    model.step({&input, 1}, logits);
    out.push_back(
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    next = {out.back()};
  }
  return out;
}

}  // namespace assay::serving_test
