#include "golden/maps/layouts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace assay::golden {
namespace {

constexpr std::size_t kMostLayouts = 256;

// An axis of theirs, or a factor of one.
struct Piece {
  std::size_t dimension = 0;
  std::string name;
  int64_t extent = 1;
  int atom = -1;  // of ours; -1: something else
  enum class Kind { atom, one, layer, copies, part, sum, cut } kind = Kind::atom;
};

bool ends_with_any(const std::string& name, std::initializer_list<const char*> ends) {
  return std::any_of(ends.begin(), ends.end(),
                     [&](const char* end) { return name.ends_with(end); });
}

// Goes through their axes from the first and takes factors of each in turn.
class LayoutSearch {
 public:
  LayoutSearch(const SampledTensor& ours, const Shape& theirs, const LayoutExtras& extras)
      : ours_(ours), theirs_(theirs), extras_(extras), used_(ours.atoms.size(), false) {
    for (std::size_t a = 0; a < used_.size(); ++a) used_[a] = ours.extents[a] == 1;
    is_q_ = ends_with_any(ours.info.name, {"attn/q"});
    is_kv_ =
        ends_with_any(ours.info.name, {"attn/k", "attn/v"}) ||
        (ours.info.name.find("recompute/") != std::string::npos && ours.info.name.ends_with("/v"));
  }

  std::vector<Layout> run() {
    next_axis(0);
    return std::move(found_);
  }

 private:
  void next_axis(std::size_t dimension) {
    if (found_.size() >= kMostLayouts) return;
    if (dimension == theirs_.size()) return finish();
    const int64_t extent = theirs_[dimension];
    if (extent == 1) {
      with({dimension, "1", 1, -1, Piece::Kind::one}, [&] { next_axis(dimension + 1); });
      return;
    }
    factor(dimension, extent);
    whole_axis(dimension, extent);
  }

  template <class Then>
  void with(const Piece& piece, Then then) {
    pieces_.push_back(piece);
    then();
    pieces_.pop_back();
  }

  bool has(Piece::Kind kind) const {
    return std::any_of(pieces_.begin(), pieces_.end(),
                       [&](const Piece& piece) { return piece.kind == kind; });
  }

  void go_on(std::size_t dimension, int64_t left) {
    if (left == 1) return next_axis(dimension + 1);
    factor(dimension, left);
  }

  void factor(std::size_t dimension, int64_t left) {
    for (std::size_t a = 0; a < used_.size(); ++a) {
      if (used_[a] || left % ours_.extents[a] != 0) continue;
      used_[a] = true;
      with({dimension, ours_.atoms[a], ours_.extents[a], static_cast<int>(a), Piece::Kind::atom},
           [&] { go_on(dimension, left / ours_.extents[a]); });
      used_[a] = false;
    }
    other_factors(dimension, left);
  }

  void other_factors(std::size_t dimension, int64_t left) {
    const auto take = [&](Piece::Kind kind, const char* name, int64_t extent) {
      if (extent < 2 || left % extent != 0 || has(kind)) return;
      with({dimension, name, extent, -1, kind}, [&] { go_on(dimension, left / extent); });
    };
    if (extras_.layer >= 0) take(Piece::Kind::layer, "L", extras_.layers);
    if (is_kv_ && extras_.groups > 0) {
      take(Piece::Kind::copies, "copies", extras_.heads / extras_.groups);
    }
    if (has(Piece::Kind::sum)) return;
    take(Piece::Kind::part, "two", 2);
    take(Piece::Kind::part, "three", 3);
  }

  int find_atom(const char* name) const {
    const auto at = std::find(ours_.atoms.begin(), ours_.atoms.end(), name);
    return at == ours_.atoms.end() ? -1 : static_cast<int>(at - ours_.atoms.begin());
  }

  // Axes that are no product: queries, keys and values side by side; a padded vocabulary.
  void whole_axis(std::size_t dimension, int64_t extent) {
    const int64_t fused = (extras_.heads + 2 * extras_.groups) * extras_.head;
    const int head = find_atom("Dh"), heads = find_atom(is_q_ ? "H" : "Hkv");
    if ((is_q_ || is_kv_) && extent == fused && head >= 0 && heads >= 0 &&
        extras_.heads != extras_.groups && !has(Piece::Kind::part)) {
      const bool head_used = used_[static_cast<std::size_t>(head)];
      const bool heads_used = used_[static_cast<std::size_t>(heads)];
      if ((head_used && extras_.head > 1) ||
          (heads_used && ours_.extents[static_cast<std::size_t>(heads)] > 1)) {
        return;
      }
      used_[static_cast<std::size_t>(head)] = used_[static_cast<std::size_t>(heads)] = true;
      with({dimension, "(H Dh + Hkv Dh + Hkv Dh)", extent, -1, Piece::Kind::sum},
           [&] { next_axis(dimension + 1); });
      used_[static_cast<std::size_t>(head)] = head_used;
      used_[static_cast<std::size_t>(heads)] = heads_used;
    }
    const int vocabulary = find_atom("V");
    if (vocabulary < 0 || used_[static_cast<std::size_t>(vocabulary)]) return;
    const int64_t due = ours_.extents[static_cast<std::size_t>(vocabulary)];
    if (extent <= due || extent > due + std::max<int64_t>(due, 1024)) return;
    used_[static_cast<std::size_t>(vocabulary)] = true;
    with({dimension, "V", extent, vocabulary, Piece::Kind::cut}, [&] { next_axis(dimension + 1); });
    used_[static_cast<std::size_t>(vocabulary)] = false;
  }

  void finish() {
    bool last = false;
    for (std::size_t a = 0; a < used_.size(); ++a) {
      if (used_[a]) continue;
      if (ours_.atoms[a] != "T" || ours_.info.name != "logits") return;
      last = true;
    }
    if (has(Piece::Kind::sum)) {
      emit(is_q_ ? 0 : 1, 3, last);
      if (!is_q_) emit(2, 3, last);
      return;
    }
    const int parts = parts_of();
    for (int part = 0; part < std::max(1, parts); ++part) emit(part, parts, last);
  }

  int parts_of() const {
    for (const Piece& piece : pieces_) {
      if (piece.kind == Piece::Kind::part) return static_cast<int>(piece.extent);
    }
    return 0;
  }

  void emit(int part, int parts, bool last) {
    Layout layout;
    layout.strides.assign(used_.size(), 0);
    layout.last = last;
    int64_t stride = 1;
    for (std::size_t p = pieces_.size(); p-- > 0;) {
      const Piece& piece = pieces_[p];
      switch (piece.kind) {
        case Piece::Kind::cut:
          layout.cut = true;
          [[fallthrough]];
        case Piece::Kind::atom:
          layout.strides[static_cast<std::size_t>(piece.atom)] = stride;
          break;
        case Piece::Kind::one:
          break;
        case Piece::Kind::layer:
          layout.base += extras_.layer * stride;
          break;
        case Piece::Kind::copies:
          layout.copies = piece.extent;
          layout.copy_stride = stride;
          break;
        case Piece::Kind::part:
          layout.base += part * stride;
          break;
        case Piece::Kind::sum: {
          const int64_t before[] = {0, extras_.heads, extras_.heads + extras_.groups};
          layout.base += before[part] * extras_.head * stride;
          const auto head = static_cast<std::size_t>(find_atom("Dh"));
          layout.strides[head] = stride;
          layout.strides[static_cast<std::size_t>(find_atom(is_q_ ? "H" : "Hkv"))] =
              stride * extras_.head;
          break;
        }
      }
      stride *= piece.extent;
    }
    if (parts > 0) layout.part = fmt::format("[{}, {}]", part, parts);
    describe(layout);
    found_.push_back(std::move(layout));
  }

  void describe(Layout& layout) const {
    std::string left;
    bool named_batch =
        find_atom("B") < 0 || ours_.extents[static_cast<std::size_t>(find_atom("B"))] > 1;
    for (std::size_t dimension = 0; dimension < theirs_.size(); ++dimension) {
      std::string axis;
      int factors = 0;
      for (const Piece& piece : pieces_) {
        if (piece.dimension != dimension) continue;
        const bool is_batch = piece.kind == Piece::Kind::one && !named_batch && dimension == 0;
        named_batch = named_batch || is_batch;
        const std::string name = is_batch ? ours_.atoms[0] : piece.name;
        axis += fmt::format("{}{}", factors++ == 0 ? "" : " ", name);
      }
      left +=
          fmt::format(fmt::runtime(factors > 1 ? "{}({})" : "{}{}"), left.empty() ? "" : " ", axis);
    }
    const std::string right = axes_text(ours_.axes);
    layout.axes = fmt::format("{} -> {}", left, right);
    layout.same = left == right && !layout.cut && layout.part.empty() && layout.copies == 1;
    layout.operations = layout.same ? 0 : 1 + static_cast<int>(pieces_.size());
    layout.operations += (layout.part.empty() ? 0 : 2) + (layout.copies > 1 ? 2 : 0);
  }

  const SampledTensor& ours_;
  const Shape& theirs_;
  const LayoutExtras& extras_;
  std::vector<bool> used_;
  bool is_q_ = false, is_kv_ = false;
  std::vector<Piece> pieces_;
  std::vector<Layout> found_;
};

}  // namespace

std::vector<Layout> layouts_of(const SampledTensor& ours, const Shape& theirs,
                               const LayoutExtras& extras) {
  return LayoutSearch(ours, theirs, extras).run();
}

}  // namespace assay::golden
