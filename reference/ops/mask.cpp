#include "reference/ops/mask.h"

#include <cstdlib>

#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

// A rule says which pairs are allowed by their positions, and which positions have to be real.
struct CausalRule {
  static constexpr const char* kName = "causal_mask";
  static constexpr bool kQueryIsReal = false;
  KeyWindow keys;
  bool allows(int64_t t, int64_t s) const {
    return s <= t && (keys.window == 0 || t - keys.window < s || s < keys.sinks);
  }
};
struct HeadRule {
  static constexpr const char* kName = "head_mask";
  static constexpr bool kQueryIsReal = true;
  Heads heads;
  int64_t reach = kEveryWord;
  bool allows(int64_t t, int64_t s) const {
    return (heads == Heads::earlier_word ? s < t : s != t) && std::abs(s - t) <= reach;
  }
};

// body(i, allowed) for every score i of [B,H,T,T], by its rule and attention_mask [B,T].
template <class Rule, class A, class Body>
void for_allowed(const Rule& rule, const Shape& scores, const A& attention_mask, Body&& body) {
  const int64_t queries = scores[2], keys = scores[3], batch_rows = scores[1] * queries;
  for_rows(golden::element_count(scores) / keys, keys, [&](int64_t row) {
    const auto* real = attention_mask.data() + row / batch_rows * keys;
    const int64_t t = row % queries;
    const bool query = !Rule::kQueryIsReal || to_double(real[t]) != 0;
    for (int64_t s = 0; s < keys; ++s) {
      body(row * keys + s, query && rule.allows(t, s) && to_double(real[s]) != 0);
    }
  });
}

// The same of a chunk's rows: attention_mask [B,S] is of the keys, of which the queries are the
// last. A row or key without a position takes part in nothing.
template <class Rule, class Body>
void for_allowed_at(const Rule& rule, const Places& at, const Shape& scores,
                    const Array& attention_mask, Body&& body) {
  const int64_t queries = at.queries, keys = at.keys, batch_rows = scores[1] * queries;
  for_rows(golden::element_count(scores) / keys, keys, [&](int64_t row) {
    const int64_t b = row / batch_rows, t = at.query_at(b, row % queries);
    const double* real = attention_mask.data() + b * keys;
    const bool query =
        t != kNoPosition && (!Rule::kQueryIsReal || real[keys - queries + row % queries] != 0);
    for (int64_t i = 0; i < keys; ++i) {
      const int64_t s = at.key_at(b, i);
      body(row * keys + i, query && s != kNoPosition && rule.allows(t, s) && real[i] != 0);
    }
  });
}

// A pair that no mask allows is excluded; the others depend on the mask's entries.
template <class Rule>
void mask_dependence(const Rule& rule, const Relation& attention_mask, Relation& out) {
  const int64_t queries = out.cell_shape()[2], keys = out.cell_shape()[3];
  const int64_t batch_cells = out.cells() / out.cell_shape()[0];
  for (int64_t cell = 0; cell < out.cells(); ++cell) {
    const int64_t s = cell % keys, t = cell / keys % queries, b = cell / batch_cells;
    if (!rule.allows(t, s)) {
      out.set_kind(cell, Relation::Cell::excluded);
      continue;
    }
    out.unite(cell, attention_mask, b * keys + s);
    if (Rule::kQueryIsReal) out.unite(cell, attention_mask, b * keys + t);
  }
}

template <class Rule>
class Mask final : public Differentiated<Mask<Rule>> {
 public:
  explicit Mask(Rule rule) : rule_(rule) {}
  std::string name() const override { return Rule::kName; }
  bool in_place() const override { return true; }
  bool gradient_reads(std::size_t operand) const override { return operand == 1; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BHTS");
    expect_axes(*this, in, 1, "BT");
    expect_extent(*this, "positions of the mask", in[0].shape[3], in[1].shape[1]);
    return in[0];
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_allowed(rule_, out.shape(), in[1], [&](int64_t i, bool allowed) {
      out.data()[i] = allowed ? in[0].data()[i] : X(-INFINITY);
    });
  }

  bool reads_keys(std::size_t operand, std::size_t) const override { return operand == 1; }
  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    for_allowed_at(rule_, at, out.shape(), in[1], [&](int64_t i, bool allowed) {
      out.data()[i] = allowed ? in[0].data()[i] : -INFINITY;
    });
  }

  template <class A>
  void backward(std::span<const A> in, const A& out, const A& grad_out,
                std::span<A> grad_in) const {
    if (!grad_in[1].absent()) throw NotDifferentiable(name() + ": the mask is a selection");
    if (grad_in[0].absent()) return;
    for_allowed(rule_, out.shape(), in[1], [&](int64_t i, bool allowed) {
      if (allowed) grad_in[0].data()[i] += grad_out.data()[i];
    });
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    mask_dependence(rule_, in[1], out);
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      if (out.kind(cell) != Relation::Cell::excluded) out.unite(cell, in[0], cell);
    }
  }

  void error(const ErrorModel&, std::span<const Array> in, std::span<const Array> in_error,
             const Array& out, Array& out_error) const override {
    for_allowed(rule_, out.shape(), in[1], [&](int64_t i, bool allowed) {
      out_error.data()[i] = allowed ? error_at(in_error[0], i) : 0.0;
    });
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

  const Rule& rule() const { return rule_; }

 private:
  Rule rule_;
};

class EvenHeadScores final : public Differentiated<EvenHeadScores> {
 public:
  EvenHeadScores(int64_t channels, const HeadRule& rule) : channels_(channels), rule_(rule) {}
  std::string name() const override { return "even_head_scores"; }

  Operand result(std::span<const Operand> in) const override {
    expect_axes(*this, in, 0, "BT");
    return {{in[0].shape[0], channels_, in[0].shape[1], in[0].shape[1]}, "BHTS"};
  }

  template <class A>
  void compute(std::span<const A> in, A& out) const {
    using X = typename A::Element;
    for_allowed(rule_, out.shape(), in[0],
                [&](int64_t i, bool allowed) { out.data()[i] = allowed ? X(0.0) : X(-INFINITY); });
  }

  bool reads_keys(std::size_t, std::size_t) const override { return true; }
  Operand result_at(const Places& at, std::span<const Operand>) const override {
    return {{at.batch, channels_, at.queries, at.keys}, "BHTS"};
  }
  void value_at(const Places& at, std::span<const Array> in, Array& out) const override {
    for_allowed_at(rule_, at, out.shape(), in[0],
                   [&](int64_t i, bool allowed) { out.data()[i] = allowed ? 0.0 : -INFINITY; });
  }

  template <class A>
  void backward(std::span<const A>, const A&, const A&, std::span<A> grad_in) const {
    if (!grad_in[0].absent()) throw NotDifferentiable(name() + ": the mask is a selection");
  }

  void dependence(std::span<const Relation> in, Relation& out) const override {
    mask_dependence(rule_, in[0], out);
  }

  void error(const ErrorModel&, std::span<const Array>, std::span<const Array>, const Array&,
             Array& out_error) const override {
    std::fill(out_error.values().begin(), out_error.values().end(), 0.0);
  }

  double flops(std::span<const Operand>, const Operand&) const override { return 0; }

 private:
  int64_t channels_;
  HeadRule rule_;
};

}  // namespace

Node causal_mask(Node scores, Node attention_mask, const KeyWindow& keys) {
  return scores.graph->add(std::make_shared<Mask<CausalRule>>(CausalRule{keys}),
                           {scores, attention_mask});
}

const KeyWindow* key_window_of(const Op& op) {
  const auto* mask = dynamic_cast<const Mask<CausalRule>*>(&op);
  return mask == nullptr ? nullptr : &mask->rule().keys;
}

Node head_mask(Node scores, Node attention_mask, Heads heads, int64_t reach) {
  return scores.graph->add(std::make_shared<Mask<HeadRule>>(HeadRule{heads, reach}),
                           {scores, attention_mask});
}

Node even_head_scores(Node attention_mask, int64_t channels, Heads heads, int64_t reach) {
  const HeadRule rule{heads, reach};
  return attention_mask.graph->add(std::make_shared<EvenHeadScores>(channels, rule),
                                   {attention_mask});
}

}  // namespace assay::reference
