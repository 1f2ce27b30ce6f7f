#include "reference/ops/distance.h"

#include <cstdlib>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

// body(index in [B,C,T,S], index in [B,K*C,T,S] of the group of its pair) for every index;
// group_of(b, t, s) is that group.
template <class GroupOf, class Body>
void for_pairs_of(const DistanceGroups& groups, const Shape& narrow, GroupOf&& group_of,
                  Body&& body) {
  const int64_t channels = narrow[1], queries = narrow[2], keys = narrow[3];
  for_rows(narrow[0] * channels * queries, keys, [&](int64_t row) {
    const int64_t t = row % queries, plane = row / queries;
    const int64_t b = plane / channels, c = plane % channels;
    for (int64_t s = 0; s < keys; ++s) {
      const int64_t head = (b * groups.count() + group_of(b, t, s)) * channels + c;
      body(row * keys + s, (head * queries + t) * keys + s);
    }
  });
}

template <class Body>
void for_pairs(const DistanceGroups& groups, const Shape& narrow, Body&& body) {
  for_pairs_of(
      groups, narrow, [&](int64_t, int64_t t, int64_t s) { return groups.of(t, s); }, body);
}

// Rows and keys that stand at positions of their own.
template <class Body>
void for_pairs_at(const Places& at, const DistanceGroups& groups, const Shape& narrow,
                  Body&& body) {
  for_pairs_of(
      groups, narrow,
      [&](int64_t b, int64_t t, int64_t s) {
        return groups.of(at.query_at(b, t), at.key_at(b, s));
      },
      body);
}

class PickByDistance final : public Differentiated<PickByDistance> {
 public:
  explicit PickByDistance(DistanceGroups groups) : groups_(std::move(groups)) {}
  std::string name() const override { return "pick_by_distance"; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    const Shape& x = in[0].shape;
    expect_extent(*this, "heads beyond whole distance groups", 0, x[1] % groups_.count());
    return {{x[0], x[1] / groups_.count(), x[2], x[3]}, "BHTS"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    for_pairs(groups_, out.shape(),
              [&](int64_t to, int64_t from) { out.data()[to] = in[0].data()[from]; });
  }

  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    for_pairs_at(at, groups_, out.shape(),
                 [&](int64_t to, int64_t from) { out.data()[to] = in[0].data()[from]; });
  }

  template <class A>
  void backward(std::span<const A>, const A& out, const A& grad_out, std::span<A> grad_in) const {
    if (grad_in[0].absent()) return;
    for_pairs(groups_, out.shape(),
              [&](int64_t to, int64_t from) { grad_in[0].data()[from] += grad_out.data()[to]; });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    for_pairs(groups_, out.cell_shape(), [&](int64_t to, int64_t from) {
      out.unite(to, in[0], from);
      out.set_kind(to, in[0].kind(from));
    });
  }

  void error(const ErrorModel&, std::span<const Array>, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    for_pairs(groups_, out.shape(), [&](int64_t to, int64_t from) {
      out_error.data()[to] = error_at(in_error[0], from);
    });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  DistanceGroups groups_;
};

class SpreadByDistance final : public Differentiated<SpreadByDistance> {
 public:
  explicit SpreadByDistance(DistanceGroups groups) : groups_(std::move(groups)) {}
  std::string name() const override { return "spread_by_distance"; }
  bool gradient_reads(std::size_t) const override { return false; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    const Shape& x = in[0].shape;
    return {{x[0], x[1] * groups_.count(), x[2], x[3]}, "BHTS"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    std::fill(out.data(), out.data() + out.size(), X(0.0));
    for_pairs(groups_, in[0].shape(),
              [&](int64_t from, int64_t to) { out.data()[to] = in[0].data()[from]; });
  }

  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    std::fill(out.values().begin(), out.values().end(), 0.0);
    for_pairs_at(at, groups_, in[0].shape(),
                 [&](int64_t from, int64_t to) { out.data()[to] = in[0].data()[from]; });
  }

  template <class A>
  void backward(std::span<const A> in, const A&, const A& grad_out, std::span<A> grad_in) const {
    if (grad_in[0].absent()) return;
    for_pairs(groups_, in[0].shape(),
              [&](int64_t from, int64_t to) { grad_in[0].data()[from] += grad_out.data()[to]; });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    for (int64_t cell = 0; cell < out.cells(); ++cell) out.set_kind(cell, Relation::Cell::zero);
    for_pairs(groups_, in[0].cell_shape(), [&](int64_t from, int64_t to) {
      out.unite(to, in[0], from);
      out.set_kind(to, in[0].kind(from));
    });
  }

  void error(const ErrorModel&, std::span<const Array> in, std::span<const Array> in_error,
             const Array&, Array& out_error) const override {
    std::fill(out_error.values().begin(), out_error.values().end(), 0.0);
    for_pairs(groups_, in[0].shape(), [&](int64_t from, int64_t to) {
      out_error.data()[to] = error_at(in_error[0], from);
    });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  DistanceGroups groups_;
};

}  // namespace

int64_t DistanceGroups::count() const {
  return (both_sides ? 2 : 1) * (static_cast<int64_t>(starts.size()) + 1);
}

int64_t DistanceGroups::of(int64_t t, int64_t s) const {
  const int64_t distance = std::abs(t - s);
  int64_t group = 0;
  for (const int64_t start : starts) group += start <= distance;
  const bool behind = both_sides && s > t;
  return behind ? group + static_cast<int64_t>(starts.size()) + 1 : group;
}

Node pick_by_distance(Node scores, const DistanceGroups& groups) {
  return scores.graph->add(std::make_shared<PickByDistance>(groups), {scores});
}

Node spread_by_distance(Node probs, const DistanceGroups& groups) {
  return probs.graph->add(std::make_shared<SpreadByDistance>(groups), {probs});
}

}  // namespace assay::reference
