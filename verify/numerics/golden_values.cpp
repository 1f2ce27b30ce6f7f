#include "verify/numerics/golden_values.h"

#include <fmt/format.h>

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "golden/contract/error.h"
#include "golden/file/hasher.h"
#include "verify/statistics/chunks.h"
#include "verify/subjects/subject.h"

namespace assay::verify {
namespace {

// What probability rows with at least two allowed keys look like; `steps` is what a storage type
// cannot tell apart.
struct ProbRows {
  int64_t rows = 0, one_hot = 0, uniform = 0;
};

// Adds the row of query t.
void look_at_row(std::span<const double> probs, std::span<const uint8_t> mask, int64_t t,
                 double steps, ProbRows& seen) {
  double least = INFINITY, most = 0;
  int64_t allowed = 0;
  for (std::size_t s = 0; s < probs.size() && static_cast<int64_t>(s) <= t; ++s) {
    if (mask[s] == 0) continue;
    least = std::min(least, probs[s]);
    most = std::max(most, probs[s]);
    ++allowed;
  }
  if (allowed < 2) return;
  ++seen.rows;
  seen.one_hot += 1 - most <= steps;
  seen.uniform += most - least <= steps * most;
}

ProbRows look_at_rows(const golden::Shape& shape, std::span<const double> probs,
                      std::span<const uint8_t> attention_mask, double steps) {
  const int64_t heads = shape[1], positions = shape[2];
  const auto keys = static_cast<std::size_t>(shape[3]);
  std::vector<ProbRows> of_head(static_cast<std::size_t>(shape[0] * heads));
  tbb::parallel_for(std::size_t{0}, of_head.size(), [&](std::size_t head) {
    const std::size_t b = head / static_cast<std::size_t>(heads);
    for (int64_t t = 0; t < positions; ++t) {
      const std::size_t row =
          head * static_cast<std::size_t>(positions) + static_cast<std::size_t>(t);
      look_at_row(probs.subspan(row * keys, keys), attention_mask.subspan(b * keys, keys), t, steps,
                  of_head[head]);
    }
  });
  ProbRows seen;
  for (const ProbRows& part : of_head) {
    seen.rows += part.rows;
    seen.one_hot += part.one_hot;
    seen.uniform += part.uniform;
  }
  return seen;
}

std::string distrust_probs(const golden::Shape& shape, std::span<const double> probs,
                           std::span<const uint8_t> attention_mask, golden::Precision storage) {
  const ProbRows seen = look_at_rows(shape, probs, attention_mask, golden::unit_roundoff(storage));
  if (seen.rows == 0) return "";
  if (seen.one_hot == seen.rows) return "golden probabilities are one-hot everywhere";
  if (seen.uniform == seen.rows) return "golden probabilities are uniform everywhere";
  return "";
}

// What the elements of a tensor are like. An infinity below 0 is no value where scores are masked.
struct Look {
  int64_t elements = 0, finite = 0, unusable = 0;
  double least = INFINITY, most = -INFINITY, sum_sq = 0;

  void add(double x, bool masks) {
    ++elements;
    if (!std::isfinite(x)) {
      unusable += !(masks && x < 0);
      return;
    }
    ++finite;
    least = std::min(least, x);
    most = std::max(most, x);
    sum_sq += x * x;
  }
  void join(const Look& next) {
    elements += next.elements;
    finite += next.finite;
    unusable += next.unusable;
    least = std::min(least, next.least);
    most = std::max(most, next.most);
    sum_sq += next.sum_sq;
  }
  double rms() const { return finite == 0 ? 0 : std::sqrt(sum_sq / static_cast<double>(finite)); }
};

Look look_at(std::span<const double> values, bool masks) {
  return over_chunks<Look>(values.size(), [&](std::size_t first, std::size_t last, Look& part) {
    for (std::size_t i = first; i < last; ++i) part.add(values[i], masks);
  });
}

bool same_bits(std::span<const double> a, std::span<const double> b) {
  struct Same {
    bool all = true;
    void join(const Same& next) { all = all && next.all; }
  };
  return a.size() == b.size() &&
         over_chunks<Same>(a.size(), [&](std::size_t first, std::size_t last, Same& part) {
           part.all = std::memcmp(&a[first], &b[first], (last - first) * sizeof(double)) == 0;
         }).all;
}

}  // namespace

namespace {

std::string path_in_file(const std::string& name) {
  return (is_gradient(name) ? "/" : "/forward/") + name;
}

}  // namespace

reference::Array GoldenValues::settle(const std::string& name, const reference::Array& computed) {
  const std::string path = path_in_file(name);
  const golden::ManifestRow* row = golden_.find(path);
  ASSAY_CHECK(row != nullptr, path);
  if (row->stored) {
    reference::Array stored = read(name);
    settled_[name] = same_bits(stored.values(), computed.values());
    return stored;
  }
  settled_[name] = false;
  const std::span<const double> values = computed.values();
  if (const std::string got = golden::hash_hex(values.data(), values.size_bytes());
      got != row->hash) {
    throw InputError(fmt::format(
        "{}: {}: cannot be reproduced here: expected hash {}, got {}; products engine or CPU "
        "differs: generate with --capture full",
        golden_.path(), path, row->hash, got));
  }
  return kept_[name] = computed;
}

int64_t GoldenValues::reproduced() const {
  return std::count_if(settled_.begin(), settled_.end(),
                       [](const auto& one) { return one.second; });
}

bool GoldenValues::lacks(const std::string& name) const {
  const golden::ManifestRow* row = golden_.find(path_in_file(name));
  return row != nullptr && !row->stored && !kept_.contains(name);
}

reference::Array GoldenValues::read(const std::string& name) const {
  const auto found = kept_.find(name);
  if (found != kept_.end()) return found->second;
  const std::string path = path_in_file(name);
  const golden::ManifestRow* row = golden_.find(path);
  ASSAY_CHECK(row != nullptr, path);
  auto tensor = reference::Array::uninitialized(row->shape);
  golden_.read_tensor(path, tensor.values());
  return tensor;
}

reference::Array GoldenValues::rounded(const std::string& name, golden::Precision precision) const {
  const reference::Array tensor = read(name);
  return precision == golden::Precision::fp64 ? tensor : rounded_to(precision, tensor);
}

reference::Array rounded_to(golden::Precision precision, const reference::Array& tensor) {
  auto rounded = reference::Array::uninitialized(tensor.shape());
  tbb::parallel_for(tbb::blocked_range<int64_t>(0, tensor.size(), 1 << 14), [&](const auto& part) {
    for (int64_t i = part.begin(); i < part.end(); ++i) {
      rounded.data()[i] = golden::round_to(precision, tensor.data()[i]);
    }
  });
  return rounded;
}

std::string distrust(const std::string& name, const std::string& axes, const golden::Shape& shape,
                     std::span<const double> golden, std::span<const uint8_t> attention_mask,
                     golden::Precision storage) {
  const bool masks = golden::is_attention_matrix(name);  // with -inf
  const Look seen = look_at(golden, masks);
  if (seen.unusable > 0) {
    return fmt::format("{} in {} of {} elements", kNotFinite, seen.unusable, golden.size());
  }
  if (seen.least == 0 && seen.most == 0 && seen.finite == seen.elements) return kAllZero;
  if (axes == "BHTS" && name.ends_with("probs")) {
    return distrust_probs(shape, golden, attention_mask, storage);
  }
  if (seen.finite == 0) return "golden has no finite element";
  return seen.finite > 1 && seen.least == seen.most ? "golden is constant" : "";
}

double rms(std::span<const double> values) { return look_at(values, true).rms(); }

}  // namespace assay::verify
