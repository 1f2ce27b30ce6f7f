#include "golden/file/manifest.h"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/file/hasher.h"

namespace assay::golden {
namespace {

static_assert(std::endian::native == std::endian::little,
              "raw data is written as it lies in memory");

constexpr std::size_t kChunk = 1 << 15;  // elements; fixed, since sums of squares depend on it
constexpr std::size_t kPiece = 1 << 20;  // bytes read at once

template <std::size_t N>
void fill(std::array<char, N>& field, const std::string& text) {
  field.fill('\0');
  text.copy(field.data(), N);
}

template <std::size_t N>
std::string text_of(const std::array<char, N>& field) {
  return {field.data(), strnlen(field.data(), N)};
}

// Two doubles, the widest vector that every x86-64 has: gcc takes wider ones apart lane by lane,
// which is 7 times slower. Masks are -1 or 0 per lane.
using Pair = double __attribute__((vector_size(16)));
using Counts = int64_t __attribute__((vector_size(16)));
constexpr std::size_t kPairs = 2;  // independent chains of additions
constexpr std::size_t kLanes = 2 * kPairs;

struct Partial {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  double squares = 0;  // of scale * x
  int64_t zeros = 0, nonfinite = 0;
};

Pair both(double x) { return Pair{x, x}; }

// Finite is -DBL_MAX <= x <= DBL_MAX, which NaN and the infinities fail; they count as 0 in the
// sum.
Partial scan(const double* values, std::size_t count, double scale) {
  struct Accumulator {
    Pair min, max, squares;
    Counts zeros, finite;
  };
  const Pair most = both(std::numeric_limits<double>::max()), least = -most, none = both(0);
  const Pair up = both(std::numeric_limits<double>::infinity()), down = -up, factor = both(scale);
  Accumulator pairs[kPairs];
  for (Accumulator& a : pairs) a = Accumulator{up, down, none, Counts{}, Counts{}};
  const auto take = [&](const double* at) {  // kLanes elements
    for (std::size_t p = 0; p < kPairs; ++p) {
      Accumulator& a = pairs[p];
      Pair x;
      std::memcpy(&x, at + 2 * p, sizeof x);
      const Counts is_finite = (x <= most) & (x >= least);
      const Pair low = is_finite ? x : up, high = is_finite ? x : down;
      const Pair scaled = (is_finite ? x : none) * factor;
      a.min = low < a.min ? low : a.min;
      a.max = high > a.max ? high : a.max;
      a.squares += scaled * scaled;
      a.zeros -= x == none;
      a.finite -= is_finite;
    }
  };
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) take(values + i);
  if (i < count) {  // filled up with NaN, which counts as nothing
    std::array<double, kLanes> tail;
    tail.fill(std::numeric_limits<double>::quiet_NaN());
    std::copy(values + i, values + count, tail.begin());
    take(tail.data());
  }
  Partial sum;
  sum.nonfinite = static_cast<int64_t>(count);
  for (const Accumulator& a : pairs) {
    for (std::size_t lane = 0; lane < 2; ++lane) {
      sum.min = std::min(sum.min, a.min[lane]);
      sum.max = std::max(sum.max, a.max[lane]);
      sum.squares += a.squares[lane];
      sum.zeros += a.zeros[lane];
      sum.nonfinite -= a.finite[lane];
    }
  }
  return sum;
}

template <class T>
Partial scan_chunk(std::span<const T> chunk, double scale) {
  if constexpr (std::is_same_v<T, double>) {
    return scan(chunk.data(), chunk.size(), scale);
  } else {
    const std::vector<double> widened(chunk.begin(), chunk.end());
    return scan(widened.data(), widened.size(), scale);
  }
}

template <class T>
Partial scan_all(std::span<const T> values, double scale) {
  std::vector<Partial> partials((values.size() + kChunk - 1) / kChunk);
  tbb::parallel_for(std::size_t{0}, partials.size(), [&](std::size_t i) {
    const std::size_t begin = i * kChunk;
    partials[i] = scan_chunk(values.subspan(begin, std::min(kChunk, values.size() - begin)), scale);
  });
  Partial sum;
  for (const Partial& p : partials) {  // ascending
    sum.min = std::min(sum.min, p.min);
    sum.max = std::max(sum.max, p.max);
    sum.squares += p.squares;
    sum.zeros += p.zeros;
    sum.nonfinite += p.nonfinite;
  }
  return sum;
}

template <class T>
Statistics statistics_of(std::span<const T> values) {
  const Partial sum = scan_all(values, 1.0);
  const auto count = static_cast<int64_t>(values.size());
  Statistics stats{.nonfinite = sum.nonfinite};
  if (count > 0) stats.zero_share = static_cast<double>(sum.zeros) / static_cast<double>(count);
  if (sum.nonfinite == count) return stats;
  stats.min = sum.min + 0.0;  // +0 whichever zero came first
  stats.max = sum.max + 0.0;
  // Squares that would overflow or vanish are taken of x / 2^e, 2^e near the largest |x|.
  const double largest = std::max(std::abs(sum.min), std::abs(sum.max));
  const bool safe = largest == 0 || (largest > 1e-120 && largest < 1e120);
  const int exponent = safe ? 0 : std::clamp(std::ilogb(largest), -1020, 1020);
  const double squares = safe ? sum.squares : scan_all(values, std::ldexp(1.0, -exponent)).squares;
  stats.rms = std::ldexp(std::sqrt(squares / static_cast<double>(count - sum.nonfinite)), exponent);
  return stats;
}

}  // namespace

Statistics statistics(std::span<const double> values) { return statistics_of(values); }
Statistics statistics(std::span<const int32_t> values) { return statistics_of(values); }
Statistics statistics(std::span<const uint8_t> values) { return statistics_of(values); }

std::vector<float> as_exact_floats(std::span<const double> values) {
  std::vector<float> floats(values.size());
  std::atomic<bool> exact = true;
  tbb::parallel_for(std::size_t{0}, (values.size() + kChunk - 1) / kChunk, [&](std::size_t i) {
    if (!exact.load(std::memory_order_relaxed)) return;
    bool same = true;
    for (std::size_t k = i * kChunk; k < std::min((i + 1) * kChunk, values.size()); ++k) {
      floats[k] = static_cast<float>(values[k]);
      same &= static_cast<double>(floats[k]) == values[k];
    }
    if (!same) exact = false;
  });
  if (!exact) floats.clear();
  return floats;
}

uint64_t raw_bytes(const ManifestRow& row) {
  return static_cast<uint64_t>(element_count(row.shape)) * dtype_bytes(row.dtype);
}

ManifestRecord to_record(const ManifestRow& row, int64_t offset, const std::string& where) {
  ManifestRecord record{};
  if (row.path.size() >= record.path.size()) {
    throw InputError(fmt::format("{}: {}: the name is too long: expected at most {} bytes, got {}",
                                 where, row.path, record.path.size() - 1, row.path.size()));
  }
  if (row.shape.size() > kMostAxes) {
    throw InputError(fmt::format("{}: {}: expected at most {} axes, got {}", where, row.path,
                                 kMostAxes, shape_text(row.shape)));
  }
  fill(record.path, row.path);
  fill(record.dtype, dtype_name(row.dtype));
  fill(record.role, row.role);
  fill(record.hash, row.hash);
  record.rank = static_cast<int64_t>(row.shape.size());
  std::copy(row.shape.begin(), row.shape.end(), record.shape.begin());
  record.min = row.stats.min;
  record.max = row.stats.max;
  record.rms = row.stats.rms;
  record.zero_share = row.stats.zero_share;
  record.nonfinite = row.stats.nonfinite;
  record.stored = row.stored ? 1 : 0;
  record.offset = offset;
  record.bytes = static_cast<int64_t>(raw_bytes(row));
  return record;
}

ManifestRow from_record(const ManifestRecord& record, const std::string& where) {
  ManifestRow row;
  row.path = text_of(record.path);
  row.role = text_of(record.role);
  row.hash = text_of(record.hash);
  row.stats = {.min = record.min,
               .max = record.max,
               .rms = record.rms,
               .zero_share = record.zero_share,
               .nonfinite = record.nonfinite};
  row.stored = record.stored == 1;
  const auto reject = [&](const char* what) {
    throw InputError(fmt::format("{}: /manifest: {}: {}", where, row.path, what));
  };
  const std::string dtype = text_of(record.dtype);
  bool known = false;
  for (const DType candidate :
       {DType::float64, DType::float32, DType::bfloat16, DType::int32, DType::uint8}) {
    if (dtype_name(candidate) != dtype) continue;
    row.dtype = candidate;
    known = true;
  }
  if (!known) reject("no such dtype");
  if (record.rank < 0 || record.rank > int64_t{kMostAxes}) reject("no such rank");
  int64_t count = 1;
  for (int64_t axis = 0; axis < record.rank; ++axis) {
    const int64_t extent = record.shape[axis];
    if (extent < 0 || (extent > 0 && count > kMostElements / extent)) reject("no such shape");
    row.shape.push_back(extent);
    count *= extent;
  }
  if (record.bytes != static_cast<int64_t>(raw_bytes(row))) reject("bytes do not fit the shape");
  return row;
}

std::string root_hash(const std::string& config_json, uint64_t seed,
                      std::span<const ManifestRow> rows) {
  std::vector<std::string> lines;
  for (const ManifestRow& row : rows) {
    lines.push_back(fmt::format("{}|{}|{}|{}|{}\n", row.path, dtype_name(row.dtype),
                                shape_text(row.shape), row.role, row.hash));
  }
  std::sort(lines.begin(), lines.end());
  const std::string text = fmt::format("{} {}\nconfig {}\nseed {}\n{}", kSchema, kSchemaVersion,
                                       config_json, seed, fmt::join(lines, ""));
  return hash_hex(text.data(), text.size());
}

std::string block_text(const Block& block) {
  std::string text = fmt::format("{} {}\nsize {}\nmanifest {} {} {}\nmetadata {}\n", kSchema,
                                 kSchemaVersion, block.file_bytes, block.manifest.offset,
                                 block.manifest.bytes, block.manifest_hash, block.metadata_hash);
  text += fmt::format("block {}\n", hash_hex(text.data(), text.size()));
  ASSAY_CHECK(text.size() < kBlockBytes, text);
  text.resize(kBlockBytes - 1, ' ');
  return text + '\n';
}

Block parse_block(const std::string& text, const std::string& where) {
  int64_t version = 0;
  if (std::sscanf(text.c_str(), "assay-golden %" SCNd64 "\n", &version) == 1 &&
      version > kSchemaVersion) {
    throw InputError(
        fmt::format("{}: newer schema version: expected at most {}, got {}; use a newer assay",
                    where, kSchemaVersion, version));
  }
  Block block;
  std::array<char, 33> manifest_hash{}, metadata_hash{};
  std::sscanf(text.c_str(),
              "assay-golden %*d\nsize %" SCNu64 "\nmanifest %" SCNu64 " %" SCNu64
              " %32[0-9a-f]\nmetadata %32[0-9a-f]\n",
              &block.file_bytes, &block.manifest.offset, &block.manifest.bytes,
              manifest_hash.data(), metadata_hash.data());
  block.manifest_hash = manifest_hash.data();
  block.metadata_hash = metadata_hash.data();
  if (block_text(block) != text) {
    throw InputError(fmt::format(
        "{}: the text block at its start is damaged: expected {} bytes as written, got others; "
        "generate the file again",
        where, kBlockBytes));
  }
  return block;
}

std::string metadata_hash(const RawFile& file, uint64_t file_bytes, std::vector<Extent> extents,
                          const std::string& where) {
  extents.push_back({file_bytes, 0});
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
  Hasher hasher;
  std::vector<char> piece(kPiece);
  uint64_t at = kBlockBytes;
  for (const Extent& extent : extents) {
    if (extent.offset < at || extent.offset > file_bytes ||
        extent.bytes > file_bytes - extent.offset) {
      throw InputError(fmt::format(
          "{}: /manifest: data of {} bytes at byte {} overlaps something or leaves the file", where,
          extent.bytes, extent.offset));
    }
    while (at < extent.offset) {
      const uint64_t bytes = std::min<uint64_t>(kPiece, extent.offset - at);
      file.read({at, bytes}, piece.data());
      hasher.add(piece.data(), bytes);
      at += bytes;
    }
    at += extent.bytes;
  }
  return hasher.hex();
}

}  // namespace assay::golden
