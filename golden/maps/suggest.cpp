#include "golden/maps/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/precision.h"
#include "golden/maps/gather.h"
#include "golden/maps/layouts.h"
#include "golden/maps/name_map.h"

namespace assay::golden {
namespace {

constexpr double kNear = 0.3;  // of rms: what agrees less in a few samples is something else
constexpr std::size_t kFewSamples = 8;
constexpr double kFarBelow = 100;  // a score so far below all others has a probability of 0

// How a layout was found to hold a tensor.
struct Match {
  std::string from;
  Layout layout;
  Shape theirs;
  double factor = 1;
  bool interleaved = false, before_mask = false;
  double error = 0;
  int likeness = 0;  // of the names
};

// Where the elements of a sample lie under a layout.
class Place {
 public:
  Place(const SampledTensor& ours, const Layout& layout, bool interleaved)
      : layout_(layout),
        interleaved_(interleaved),
        head_(ours.extents.empty() ? 1 : ours.extents.back()) {}

  std::size_t of(const Sample& sample) const {
    int64_t place = layout_.base;
    for (std::size_t a = 0; a < sample.index.size(); ++a) {
      int64_t index = sample.index[a];
      if (interleaved_ && a + 1 == sample.index.size()) {
        index = index < head_ / 2 ? 2 * index : 2 * (index - head_ / 2) + 1;
      }
      place += index * layout_.strides[a];
    }
    return static_cast<std::size_t>(place);
  }

 private:
  const Layout& layout_;
  bool interleaved_;
  int64_t head_;
};

double deviation(const SampledTensor& ours, const std::vector<Sample>& samples, std::size_t count,
                 const Layout& layout, bool interleaved, double factor,
                 const std::vector<double>& values) {
  const Place place(ours, layout, interleaved);
  double sum = 0;
  count = std::min(count, samples.size());
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = place.of(samples[i]);
    const double difference = values[at] * factor - samples[i].value;
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    sum += difference * difference;
    if (layout.copies == 1) continue;
    for (int64_t copy = 1; copy < layout.copies; ++copy) {
      const double other = values[at + static_cast<std::size_t>(copy * layout.copy_stride)];
      if (other != values[at]) return std::numeric_limits<double>::infinity();
    }
  }
  if (count == 0) return std::numeric_limits<double>::infinity();
  const double rms = ours.rms > 0 ? ours.rms : 1;
  return std::sqrt(sum / static_cast<double>(count)) / rms;
}

// Words of a name in small letters.
std::set<std::string> words_of(const std::string& name) {
  std::set<std::string> words;
  std::string word;
  for (const char c : name + "/") {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      words.insert(word);
      word.clear();
    }
  }
  return words;
}

int likeness(const std::string& ours, const std::string& theirs) {
  const std::set<std::string> words = words_of(theirs);
  int alike = ours == theirs ? 10 : 0;
  for (const std::string& word : words_of(ours)) alike += words.contains(word);
  const std::size_t digit = ours.find_first_of("0123456789");
  if (digit == std::string::npos) return alike;
  const std::string layer = ours.substr(digit, ours.find_first_not_of("0123456789", digit) - digit);
  for (std::size_t at = 0; (at = theirs.find(layer, at)) != std::string::npos; ++at) {
    const bool begins = at == 0 || std::isdigit(static_cast<unsigned char>(theirs[at - 1])) == 0;
    const std::size_t end = at + layer.size();
    if (begins &&
        (end == theirs.size() || std::isdigit(static_cast<unsigned char>(theirs[end])) == 0)) {
      return alike + 2;
    }
  }
  return alike;
}

int64_t layer_of(const std::string& name) {
  if (!name.starts_with("layers/")) return -1;
  return std::stoll(name.substr(std::string("layers/").size()));
}

// The coarsest type whose numbers a dump's tensors are: their rounding is what errors are due to.
Precision apparent_precision(const std::vector<double>& values) {
  for (const Precision precision : {Precision::bf16, Precision::fp16, Precision::fp32}) {
    std::size_t seen = 0;
    const bool all = std::all_of(values.begin(), values.end(), [&](double x) {
      if (x == 0 || !std::isfinite(x)) return true;
      ++seen;
      return round_to(precision, x) == x;
    });
    if (all && seen >= 64) return precision;
    if (all) return Precision::fp64;  // too few to tell
  }
  return Precision::fp64;
}

double widest_error(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return 0.15;
    case Precision::fp16:
      return 0.04;
    default:
      return 2e-3;
  }
}

class Matcher {
 public:
  Matcher(const ModelConfig& config, int64_t batch, int64_t positions, const OurValues& ours)
      : config_(config) {
    const auto extents = axis_extents(config, batch, positions);
    for (const TensorInfo& info : tensor_list(config, batch, positions)) {
      ours_.push_back(sample_tensor(config, info, extents, ours(info.name)));
    }
    matches_.resize(ours_.size());
  }

  void look_into(const DumpEntry& entry, const std::vector<double>& values) {
    limit_ = std::max(limit_, widest_error(apparent_precision(values)));
    for (std::size_t i = 0; i < ours_.size(); ++i) look_for(i, entry, values);
  }

  Suggestions choose();
  void settle_errors();

 private:
  LayoutExtras extras_of(const SampledTensor& ours) const {
    return {.layer = layer_of(ours.info.name),
            .layers = config_.num_hidden_layers,
            .heads = config_.num_attention_heads,
            .groups = config_.num_key_value_heads,
            .head = config_.head_dim};
  }

  // Cheap: could one be in the other at all?
  static bool may_hold(const SampledTensor& ours, int64_t theirs) {
    if (ours.info.name == "logits") return true;
    return theirs >= ours.elements() &&
           (theirs % ours.elements() == 0 || ours.info.name.find("attn/") != std::string::npos);
  }

  void look_for(std::size_t i, const DumpEntry& entry, const std::vector<double>& values) {
    const SampledTensor& ours = ours_[i];
    if (ours.samples.empty() || !may_hold(ours, static_cast<int64_t>(values.size()))) return;
    for (const Layout& layout : layouts_of(ours, entry.shape, extras_of(ours))) {
      const std::vector<Sample>& samples = layout.last ? ours.last : ours.samples;
      const bool rotates = ours.info.name.ends_with("attn/q") || ours.info.name.ends_with("attn/k");
      for (const bool interleaved : {false, true}) {
        if (interleaved && (!rotates || config_.block != BlockKind::llama)) continue;
        for (const double factor : factors_of(ours.info.name)) {
          const double few =
              deviation(ours, samples, kFewSamples, layout, interleaved, factor, values);
          if (!(few < kNear)) continue;
          const double error =
              deviation(ours, samples, samples.size(), layout, interleaved, factor, values);
          if (!(error < kNear)) continue;
          Match match{entry.name,  layout, entry.shape, factor,
                      interleaved, false,  error,       likeness(ours.info.name, entry.name)};
          match.before_mask = is_unmasked(ours, layout, values, factor);
          match.layout.operations += (factor != 1) + 2 * interleaved;
          matches_[i].push_back(std::move(match));
        }
      }
    }
  }

  std::vector<double> factors_of(const std::string& name) const {
    const double root = std::sqrt(static_cast<double>(config_.head_dim));
    if (name.ends_with("attn/scores")) return {1, 1 / root};
    if (name.ends_with("attn/q")) return {1, root};
    return {1};
  }

  // Where ours is -inf, theirs is a number that counts.
  static bool is_unmasked(const SampledTensor& ours, const Layout& layout,
                          const std::vector<double>& values, double factor) {
    const Place place(ours, layout, false);
    return std::any_of(ours.masked.begin(), ours.masked.end(), [&](const Sample& sample) {
      return values[place.of(sample)] * factor > -ours.largest - kFarBelow;
    });
  }

  std::vector<SampledTensor> ours_;
  std::vector<std::vector<Match>> matches_;
  const ModelConfig& config_;
  double limit_ = 0;
};

// Errors of what is the same are alike over a dump: what is far above them is something else.
void Matcher::settle_errors() {
  std::vector<double> best;
  for (std::vector<Match>& matches : matches_) {
    std::stable_sort(matches.begin(), matches.end(),
                     [](const Match& a, const Match& b) { return a.error < b.error; });
    if (!matches.empty() && matches[0].error < limit_) best.push_back(matches[0].error);
  }
  if (best.empty()) return;
  const auto most = best.begin() + static_cast<std::ptrdiff_t>(best.size() * 3 / 4);
  std::nth_element(best.begin(), most, best.end());
  limit_ = std::min(limit_, std::max({5 * *most, 1e-9, limit_ / 50}));
}

// Of equal values the tensor whose name is nearest, then that with the fewest operations.
const Match& likeliest(const std::vector<const Match*>& equal) {
  return **std::min_element(equal.begin(), equal.end(), [](const Match* a, const Match* b) {
    if (a->likeness != b->likeness) return a->likeness > b->likeness;
    return a->layout.operations < b->layout.operations;
  });
}

Sureness sureness_of(double error, double next, double limit) {
  if (next > 0 && next < 1.5 * error) return Sureness::doubtful;
  if (error < limit / 3 && (next == 0 || next > 5 * error)) return Sureness::certain;
  return Sureness::likely;
}

std::string place_of(const Match& match) {
  return match.from + " " + match.layout.axes + " " + match.layout.part + " " +
         std::to_string(match.layout.base);
}

std::string factor_text(double factor) {
  return factor == 1 ? "" : factor < 1 ? "1/sqrt(Dh)" : "sqrt(Dh)";
}

Suggestion suggestion_of(const std::string& ours, const Match& match) {
  Suggestion line;
  line.ours = ours;
  line.from = match.from;
  line.theirs = match.theirs;
  line.error = match.error;
  line.last = match.layout.last;
  line.cut = match.layout.cut;
  line.interleaved = match.interleaved;
  line.before_mask = match.before_mask;
  line.factor = factor_text(match.factor);
  line.part = match.layout.part;
  if (!match.layout.same) line.axes = match.layout.axes;
  return line;
}

Suggestions Matcher::choose() {
  settle_errors();
  Suggestions all;
  all.error_limit = limit_;
  // One place holds one of our tensors: of two that it is near to, the nearer.
  std::map<std::string, double> best_at;
  for (const std::vector<Match>& matches : matches_) {
    for (const Match& match : matches) {
      const auto [known, is_new] = best_at.emplace(place_of(match), match.error);
      if (!is_new) known->second = std::min(known->second, match.error);
    }
  }
  for (std::size_t i = 0; i < ours_.size(); ++i) {
    std::vector<const Match*> equal;
    double error = 0, next = 0;
    for (const Match& match : matches_[i]) {
      const bool taken = match.error > 4 * best_at.at(place_of(match)) + limit_ / 1000;
      if (match.error > limit_ || taken) {
        if (!equal.empty() && next == 0) next = match.error;
        continue;
      }
      if (equal.empty()) error = match.error;
      if (match.error <= 1.01 * error + 1e-12) {
        equal.push_back(&match);
      } else if (next == 0) {
        next = match.error;
      }
    }
    if (equal.empty()) {
      all.not_found.push_back(ours_[i].info.name);
      continue;
    }
    Suggestion line = suggestion_of(ours_[i].info.name, likeliest(equal));
    line.next = next;
    line.sureness = sureness_of(error, next, limit_);
    all.lines.push_back(std::move(line));
  }
  return all;
}

}  // namespace

std::string sureness_name(Sureness sureness) {
  switch (sureness) {
    case Sureness::certain:
      return "certain";
    case Sureness::likely:
      return "likely";
    case Sureness::doubtful:
      return "doubtful";
  }
  throw InternalError("no such Sureness");
}

Suggestions suggest_map(const ModelConfig& config, int64_t batch, int64_t positions,
                        const OurValues& ours, const DumpReader& dump) {
  Matcher matcher(config, batch, positions, ours);
  for (const DumpEntry& entry : dump.entries()) {
    const bool is_float = entry.dtype != DType::int32 && entry.dtype != DType::uint8;
    if (!entry.problem.empty() || !is_float || element_count(entry.shape) == 0) continue;
    if (entry.name.find_first_of("{}") != std::string::npos) continue;  // a map cannot name it
    matcher.look_into(entry, dump.read(entry.name).values);
  }
  Suggestions all = matcher.choose();
  std::set<std::string> used;
  for (const Suggestion& line : all.lines) used.insert(line.from);
  for (const DumpEntry& entry : dump.entries()) {
    if (!used.contains(entry.name)) all.not_used.push_back(entry.name);
  }
  return all;
}

}  // namespace assay::golden
