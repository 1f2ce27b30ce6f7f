#include "verify/systems/tiered_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "golden/contract/error.h"
#include "golden/contract/random.h"
#include "reference/streaming/tiered_cache.h"

namespace assay::verify {
namespace {

constexpr int64_t kOperations = 60;
constexpr std::size_t kMostTieredTold = 6;

class Dice {
 public:
  Dice(uint64_t seed, int64_t index)
      : seed_(seed), stream_(golden::stream_id(fmt::format("tiered {}", index))) {}
  int64_t below(int64_t n) {
    std::array<uint32_t, 1> word{};
    golden::random_words(seed_, stream_, at_, word);
    at_ += 4;
    return static_cast<int64_t>(word[0] % static_cast<uint64_t>(n));
  }

 private:
  uint64_t seed_, stream_, at_ = 0;
};

// The subject and the definition, which get the same.
class Pair {
 public:
  Pair(const MakeTiered& make, const TieredShape& shape)
      : shape_(shape),
        kept_{{"rows", 1, shape.width}},
        plain_(kept_, {shape.capacity, 0}, shape.block),
        subject_(make(shape)) {}

  void append(int64_t count) {
    std::vector<double> rows;
    for (int64_t i = 0; i < count * shape_.width; ++i) {
      rows.push_back(1e-3 * static_cast<double>(++written_));
    }
    const std::vector<uint8_t> real(static_cast<std::size_t>(count), 1);
    const reference::KeptRows kept{rows.data(), 0};
    plain_.append(count, {&kept, 1}, real);
    subject_->append(rows);
  }

  // "" or what is wrong.
  std::string read(int64_t first, int64_t last) {
    const auto size = static_cast<std::size_t>(std::max<int64_t>(0, last - first) * shape_.width);
    std::vector<double> expected(size), got(size, -1);
    const std::string refusal =
        refusal_of([&] { plain_.read(0, first, last, expected.data(), 0); });
    const std::string own = refusal_of([&] { subject_->read(first, last, got); });
    const std::string what = fmt::format("read of {} .. {} of {} .. {}", first, last - 1,
                                         plain_.oldest(), plain_.length() - 1);
    if (!refusal.empty()) return refused(what, own);
    if (!own.empty()) return fmt::format("{}: refused: {}", what, own);
    for (std::size_t i = 0; i < size; ++i) {
      ++compared;
      if (std::bit_cast<uint64_t>(expected[i]) == std::bit_cast<uint64_t>(got[i])) continue;
      return fmt::format("{}: position {}: expected {}, got {}", what,
                         first + static_cast<int64_t>(i) / shape_.width, expected[i], got[i]);
    }
    return wrong_count(what);
  }

  void reset() {
    plain_.reset();
    subject_->reset();
  }
  int64_t length() const { return plain_.length(); }
  int64_t oldest() const { return plain_.oldest(); }
  int64_t compared = 0, refusals = 0;

 private:
  template <class Work>
  static std::string refusal_of(const Work& work) {
    try {
      work();
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  std::string refused(const std::string& what, const std::string& own) {
    if (own.empty()) return what + ": read, though it is not held";
    ++refusals;
    const std::string valid = fmt::format("{} .. {}", plain_.oldest(), plain_.length() - 1);
    if (own.find(valid) != std::string::npos) return "";
    return fmt::format("{}: the refusal does not name the range {}: {}", what, valid, own);
  }

  std::string wrong_count(const std::string& what) const {
    const reference::TierCounters due = plain_.counters();
    const TieredCounts got = subject_->counts();
    const int64_t position = reference::cache_bytes_per_position(kept_);
    const auto bytes = [&](int64_t held) {  // the definition counts a byte for padding besides
      return held / position * shape_.width * static_cast<int64_t>(sizeof(double));
    };
    const std::pair<const char*, std::pair<int64_t, int64_t>> rows[] = {
        {"hits", {due.hits, got.hits}},
        {"misses", {due.misses, got.misses}},
        {"evictions", {due.evictions, got.evictions}},
        {"hot bytes", {bytes(due.hot_bytes), got.hot_bytes}},
        {"warm bytes", {bytes(due.warm_bytes), got.warm_bytes}},
        {"cold bytes", {bytes(due.cold_bytes), got.cold_bytes}}};
    for (const auto& [name, values] : rows) {
      if (values.second < 0 || values.first == values.second) continue;
      return fmt::format("{}: {}: expected {}, got {}", what, name, values.first, values.second);
    }
    return "";
  }

  TieredShape shape_;
  std::vector<reference::KeptTensor> kept_;
  reference::TieredCache plain_;
  std::unique_ptr<TieredSubject> subject_;
  int64_t written_ = 0;
};

TieredShape shape_of(Dice& dice) {
  const int64_t block = 1 + dice.below(dice.below(2) == 0 ? 3 : 9);
  return {4 * block * (1 + dice.below(5)), block, 1 + dice.below(4)};
}

// A range inside of what is held, more or less.
std::string read_somewhere(Pair& pair, Dice& dice) {
  const int64_t oldest = pair.oldest(), held = pair.length() - oldest;
  switch (dice.below(6)) {
    case 0:
      return pair.read(oldest, pair.length());
    case 1:
      return pair.read(oldest - 1 - dice.below(3), oldest + dice.below(held + 1));
    case 2:
      return pair.read(oldest + dice.below(held + 1), pair.length() + 1 + dice.below(3));
    case 3:
      return held == 0 ? "" : pair.read(oldest, oldest + 1);
    default: {
      const int64_t first = oldest + dice.below(held + 1);
      return pair.read(first, first + dice.below(pair.length() - first + 1));
    }
  }
}

}  // namespace

Check check_tiered(const MakeTiered& make, int64_t cases, uint64_t seed) {
  Check check;
  check.name = "systems: tiered cache";
  int64_t compared = 0, refusals = 0, differ = 0;
  for (int64_t i = 0; i < cases; ++i) {
    Dice dice(seed, i);
    const TieredShape shape = shape_of(dice);
    Pair pair(make, shape);
    std::string fault;
    for (int64_t k = 0; k < kOperations && fault.empty(); ++k) {
      const int64_t what = dice.below(20);
      if (what == 0) pair.reset();
      if (what == 1) pair.append(dice.below(3 * shape.capacity));
      if (what > 1 && what < 11) pair.append(1 + dice.below(what < 7 ? 2 : shape.capacity));
      fault = read_somewhere(pair, dice);
    }
    compared += pair.compared;
    refusals += pair.refusals;
    if (fault.empty()) continue;
    ++differ;
    if (check.details.size() >= kMostTieredTold) continue;
    check.details.push_back(fmt::format("case {}: capacity {}, blocks of {}, width {}: {}", i,
                                        shape.capacity, shape.block, shape.width, fault));
  }
  check.status = differ > 0                       ? Status::fail
                 : compared == 0 || refusals == 0 ? Status::inconclusive
                                                  : Status::pass;
  check.summary = fmt::format("{} cases, {} differ; {} values compared, {} reads refused", cases,
                              differ, compared, refusals);
  return check;
}

}  // namespace assay::verify
