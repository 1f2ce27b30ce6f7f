#include "verify/training/readers/token_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "verify/training/offsets.h"

namespace assay::verify::training {
namespace {

using golden::Tensor;

// [T] is one row; axes of 1 behind the second are none.
void make_rows(Tensor& tensor, const std::string& where) {
  while (tensor.shape.size() > 2 && tensor.shape.back() == 1) tensor.shape.pop_back();
  if (tensor.shape.size() == 1) tensor.shape.insert(tensor.shape.begin(), 1);
  if (tensor.shape.size() != 2) {
    throw InputError(
        fmt::format("{}: expected [T] or [N,T], got {}", where, golden::shape_text(tensor.shape)));
  }
}

std::vector<int32_t> whole_numbers(const Tensor& tensor, const std::string& where) {
  std::vector<int32_t> whole;
  whole.reserve(tensor.values.size());
  for (const double value : tensor.values) {
    if (!(std::abs(value) < 2147483648.0) || value != std::floor(value)) {
      throw InputError(fmt::format("{}: expected whole numbers, got {}", where, value));
    }
    whole.push_back(static_cast<int32_t>(value));
  }
  return whole;
}

// Columns first .. of rows.
template <class T>
std::vector<T> columns(const std::vector<T>& values, int64_t positions, int64_t first,
                       int64_t count) {
  std::vector<T> out;
  const auto rows = static_cast<int64_t>(values.size()) / std::max<int64_t>(positions, 1);
  for (int64_t row = 0; row < rows; ++row) {
    const auto begin = values.begin() + row * positions + first;
    out.insert(out.end(), begin, begin + count);
  }
  return out;
}

class Aligner {
 public:
  Aligner(const SetArrays& arrays, Set which, double scale)
      : arrays_(arrays),
        where_(fmt::format("{}: {}", arrays.path, kSetNames[which])),
        scale_(scale) {}

  AlignedSet align() {
    set_.path = arrays_.path;
    take_losses();
    take_logits();
    take_sequences();
    take_oracle();
    take_others();
    leave_out_padding();
    if (scale_ != 1) set_.notes.push_back("losses are read as bits");
    return std::move(out_);
  }

 private:
  std::string at(const char* what) const { return where_ + "/" + what; }

  [[noreturn]] void misfit(const char* what, const Tensor& tensor) const {
    throw InputError(
        fmt::format("{}: expected [{},{}] as the losses have it, or a column more, got {}",
                    at(what), set_.rows, set_.positions, golden::shape_text(tensor.shape)));
  }

  void take_losses() {
    if (!arrays_.losses && !arrays_.log_probs) return;
    if (!arrays_.losses && arrays_.log_probs->shape.size() == 3 &&
        arrays_.log_probs->shape.back() > 1) {
      return;  // of whole vocabularies
    }
    Tensor losses = arrays_.losses ? *arrays_.losses : *arrays_.log_probs;
    const char* name = arrays_.losses ? "losses" : "log_probs";
    make_rows(losses, at(name));
    const double sign = arrays_.losses ? scale_ : -scale_;
    for (double& value : losses.values) value *= sign;
    const auto below = std::count_if(losses.values.begin(), losses.values.end(),
                                     [](double value) { return value < 0; });
    if (2 * below > static_cast<int64_t>(losses.values.size())) {
      throw InputError(fmt::format(
          "{}: expected {}, got the opposite sign at {} of {}: name the array {}", at(name),
          arrays_.losses ? "losses, 0 or above" : "log probabilities, 0 or below", below,
          losses.values.size(), arrays_.losses ? "log_probs" : "losses"));
    }
    set_.rows = losses.shape[0];
    set_.positions = losses.shape[1];
    set_.losses = std::move(losses.values);
    if (set_.losses.empty()) throw InputError(at(name) + ": expected losses, got none");
    set_.loss_resolution = resolution_of(set_.losses);
    set_.counted.assign(set_.losses.size(), 1);
  }

  // Logits without losses give them.
  void take_logits() {
    const bool whole = arrays_.log_probs && arrays_.log_probs->shape.size() == 3 &&
                       arrays_.log_probs->shape.back() > 1;
    if (!arrays_.logits && !whole) return;
    const Tensor& tensor = whole ? *arrays_.log_probs : *arrays_.logits;
    const char* name = whole ? "log_probs" : "logits";
    if (tensor.shape.size() != 3) {
      throw InputError(
          fmt::format("{}: expected [N,T,V], got {}", at(name), golden::shape_text(tensor.shape)));
    }
    if (!arrays_.tokens) throw InputError(at(name) + ": expected tokens beside it, got none");
    Tensor tokens = *arrays_.tokens;
    make_rows(tokens, at("tokens"));
    if (tokens.shape[0] != tensor.shape[0] || tokens.shape[1] != tensor.shape[1]) {
      throw InputError(fmt::format("{}: expected [N,T,V] for tokens {}, got {}", at(name),
                                   golden::shape_text(tokens.shape),
                                   golden::shape_text(tensor.shape)));
    }
    set_.logits = Logits{tensor.shape[0],
                         tensor.shape[1],
                         tensor.shape[2],
                         tensor.values,
                         whole_numbers(tokens, at("tokens")),
                         whole};
    set_.reported_loss = arrays_.reported_loss;
    if (!set_.losses.empty() || set_.logits->positions < 2) return;
    set_.losses = next_token_losses(*set_.logits);
    set_.rows = set_.logits->rows;
    set_.positions = set_.logits->positions - 1;
    set_.loss_resolution = resolution_of(set_.logits->values);
    set_.counted.assign(set_.losses.size(), 1);
    set_.notes.push_back("the losses are those of the logits");
  }

  void take_sequences() {
    const bool has_labels = arrays_.labels.has_value();
    if (set_.losses.empty() || (!arrays_.tokens && !has_labels)) return;
    std::vector<int32_t> labels;
    if (has_labels) {
      Tensor tensor = *arrays_.labels;
      make_rows(tensor, at("labels"));
      labels = whole_numbers(tensor, at("labels"));
      if (tensor.shape[0] != set_.rows) misfit("labels", tensor);
      if (tensor.shape[1] == set_.positions + 1) {
        labels = columns(labels, tensor.shape[1], 1, set_.positions);
      } else if (tensor.shape[1] != set_.positions) {
        misfit("labels", tensor);
      }
      for (std::size_t i = 0; i < labels.size(); ++i) {
        if (labels[i] < 0) set_.counted[i] = 0;  // -100: not a label
      }
    }
    if (!arrays_.tokens) {
      set_.targets = std::move(labels);
      out_.sequences = set_.targets;
      out_.sequence_positions = set_.positions;
      return;
    }
    Tensor tensor = *arrays_.tokens;
    make_rows(tensor, at("tokens"));
    std::vector<int32_t> tokens = whole_numbers(tensor, at("tokens"));
    if (tensor.shape[0] != set_.rows) misfit("tokens", tensor);
    if (tensor.shape[1] == set_.positions + 1) {
      set_.targets = columns(tokens, tensor.shape[1], 1, set_.positions);
      out_.sequences = std::move(tokens);
      out_.sequence_positions = set_.positions + 1;
    } else if (tensor.shape[1] == set_.positions) {
      take_equal_length(std::move(tokens), std::move(labels));
    } else {
      misfit("tokens", tensor);
    }
  }

  // Inputs x and labels y with y[t] = x[t+1], or the tokens that the losses are of.
  void take_equal_length(std::vector<int32_t> tokens, std::vector<int32_t> labels) {
    const int64_t T = set_.positions;
    bool shifted = !labels.empty();
    for (int64_t i = 0; i < static_cast<int64_t>(labels.size()) && shifted; ++i) {
      const auto now = static_cast<std::size_t>(i);
      shifted = (i + 1) % T == 0 || labels[now] < 0 || labels[now] == tokens[now + 1];
    }
    const bool same = !labels.empty() && labels == tokens;
    if (!shifted || same) {
      set_.targets = labels.empty() || same ? tokens : labels;
      out_.sequences = set_.targets;
      out_.sequence_positions = T;
      return;
    }
    for (int64_t row = 0; row < set_.rows; ++row) {
      out_.sequences.push_back(tokens[static_cast<std::size_t>(row * T)]);
      for (int64_t t = 0; t < T; ++t) {
        const auto i = static_cast<std::size_t>(row * T + t);
        const bool known = labels[i] >= 0 || t + 1 == T;
        out_.sequences.push_back(known ? labels[i] : tokens[i + 1]);
      }
    }
    out_.sequence_positions = T + 1;
    set_.targets = columns(out_.sequences, T + 1, 1, T);
  }

  void take_oracle() {
    if (!arrays_.oracle || set_.losses.empty()) return;
    Tensor tensor = *arrays_.oracle;
    make_rows(tensor, at("oracle"));
    const bool longer = tensor.shape[1] == set_.positions + 1;
    if (tensor.shape[0] != set_.rows || (!longer && tensor.shape[1] != set_.positions)) {
      misfit("oracle", tensor);
    }
    set_.oracle =
        longer ? columns(tensor.values, tensor.shape[1], 1, set_.positions) : tensor.values;
    set_.oracle_resolution = resolution_of(set_.oracle);
    for (std::size_t i = 0; i < set_.oracle.size(); ++i) {
      if (set_.oracle[i] >= -1e-6 || !set_.is_counted(i)) continue;
      throw InputError(
          fmt::format("{}: expected -log p of 0 or above, got {} at row {}, position "
                      "{}: log probabilities are to be named oracle_log_probs",
                      at("oracle"), set_.oracle[i], static_cast<int64_t>(i) / set_.positions,
                      static_cast<int64_t>(i) % set_.positions));
    }
  }

  void take_others() {
    const auto fitting = [&](const std::optional<Tensor>& given, const char* what) {
      std::vector<double> values;
      if (!given || set_.losses.empty()) return values;
      Tensor tensor = *given;
      make_rows(tensor, at(what));
      const bool longer = tensor.shape[1] == set_.positions + 1;
      if (tensor.shape[0] != set_.rows || (!longer && tensor.shape[1] != set_.positions)) {
        misfit(what, tensor);
      }
      return longer ? columns(tensor.values, tensor.shape[1], 1, set_.positions) : tensor.values;
    };
    const std::vector<double> mask = fitting(arrays_.mask, "mask");
    for (std::size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] == 0) set_.counted[i] = 0;
    }
    set_.probability_sums = fitting(arrays_.probability_sums, "probability_sums");
    const std::vector<double> documents = fitting(arrays_.documents, "documents");
    std::vector<double> names = documents;  // numbered from 0 in ascending order
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (const double document : documents) {
      set_.documents.push_back(static_cast<int32_t>(
          std::lower_bound(names.begin(), names.end(), document) - names.begin()));
    }
  }

  bool is_zero(int64_t row, int64_t t) const {
    const auto i = static_cast<std::size_t>(row * set_.positions + t);
    return set_.losses[i] == 0;
  }

  void leave_out_padding() {
    if (set_.losses.empty()) return;
    leave_out_first_column();
    std::vector<int64_t> ends;  // where the zeros at the end of each row begin
    bool any = false, all_one_token = !set_.targets.empty();
    int32_t token = -1;
    for (int64_t row = 0; row < set_.rows; ++row) {
      int64_t end = set_.positions;
      while (end > 0 && is_zero(row, end - 1)) --end;
      if (end == 0) end = set_.positions;  // no row is all padding
      ends.push_back(end);
      any = any || end < set_.positions;
      for (int64_t t = end; t < set_.positions && !set_.targets.empty(); ++t) {
        const int32_t own = set_.targets[static_cast<std::size_t>(row * set_.positions + t)];
        if (token < 0) token = own;
        all_one_token = all_one_token && own == token;
      }
    }
    const bool differ =
        std::any_of(ends.begin(), ends.end(), [&](int64_t end) { return end != ends.front(); });
    const bool is_padding = any && (set_.targets.empty() ? differ : all_one_token);
    if (!is_padding) return;
    int64_t left_out = 0;
    for (int64_t row = 0; row < set_.rows; ++row) {
      for (int64_t t = ends[static_cast<std::size_t>(row)]; t < set_.positions; ++t) {
        auto& counts = set_.counted[static_cast<std::size_t>(row * set_.positions + t)];
        left_out += counts;
        counts = 0;
      }
    }
    if (left_out == 0) return;
    set_.notes.push_back(
        fmt::format("{} losses of exactly 0 at the ends of rows are taken for padding", left_out));
  }

  // Losses that are padded in front, for the first token has none.
  void leave_out_first_column() {
    if (set_.positions < 2) return;
    bool first = true, second = true;
    for (int64_t row = 0; row < set_.rows; ++row) {
      first = first && is_zero(row, 0);
      second = second && is_zero(row, 1);
    }
    if (!first || second || set_.rows < 2) return;
    for (int64_t row = 0; row < set_.rows; ++row) {
      set_.counted[static_cast<std::size_t>(row * set_.positions)] = 0;
    }
    set_.notes.push_back("the first loss of every row is exactly 0: it is taken for none");
  }

  const SetArrays& arrays_;
  std::string where_;
  double scale_;
  AlignedSet out_;
  TokenSet& set_ = out_.set;
};

}  // namespace

AlignedSet align(const SetArrays& arrays, Set which, double scale) {
  return Aligner(arrays, which, scale).align();
}

void give_oracle(AlignedSet& aligned, std::span<const double> log_probs,
                 std::span<const Expected> expected) {
  TokenSet& set = aligned.set;
  const int64_t first = aligned.sequence_positions - set.positions;
  set.oracle.clear();
  set.expected.clear();
  for (int64_t row = 0; row < set.rows; ++row) {
    for (int64_t t = 0; t < set.positions; ++t) {
      const auto i = static_cast<std::size_t>(row * aligned.sequence_positions + first + t);
      set.oracle.push_back(-log_probs[i]);
      if (!expected.empty()) set.expected.push_back(expected[i]);
    }
  }
  set.oracle_resolution = {0, 1e-12, "exact"};
}

void leave_out(TokenSet& set, std::span<const int64_t> rows, const std::string& why) {
  if (rows.empty()) return;
  for (const int64_t row : rows) {
    const auto begin = set.counted.begin() + row * set.positions;
    std::fill(begin, begin + set.positions, uint8_t{0});
  }
  set.notes.push_back(fmt::format("{} of {} rows are left out: {}", rows.size(), set.rows, why));
}

void leave_out_beginnings(AlignedSet& aligned, int64_t count, const std::string& why) {
  TokenSet& set = aligned.set;
  const int64_t first = aligned.sequence_positions - set.positions;
  for (int64_t row = 0; row < set.rows; ++row) {
    for (int64_t t = 0; t < std::min(count - first, set.positions); ++t) {
      set.counted[static_cast<std::size_t>(row * set.positions + t)] = 0;
    }
  }
  if (count > first) set.notes.push_back(why);
}

}  // namespace assay::verify::training
