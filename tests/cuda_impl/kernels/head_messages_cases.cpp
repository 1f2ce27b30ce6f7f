// head_lse, head_scores, head_probs, heads_sum, dependents_sum, head_delta, head_gradient
#include <memory>

#include "head_messages_problem.h"

namespace assay::kernel_test {
namespace {

using heads::Problem;
using heads::Shape;
using heads::Sum;

// Of arrays [B,n,T,inner] the rows of the words.
std::vector<Values> of_words(const Shape& s, const std::vector<Values>& arrays, int64_t n,
                             int64_t inner) {
  std::vector<Values> rows;
  for (const Values& array : arrays) rows.push_back(s.of_words(array, n, inner));
  return rows;
}

// The problem in device memory.
template <class S>
struct OnDevice {
  using A = accum_t<S>;
  template <class T>
  struct Table {
    std::vector<simt::Buffer<T>> arrays;
    simt::Buffer<const T*> pointers;
    explicit Table(const std::vector<Values>& values) {
      std::vector<const T*> all;
      for (const Values& array : values) {
        arrays.push_back(upload<T>(array));
        all.push_back(arrays.back().get());
      }
      pointers = simt::Buffer<const T*>(all);
    }
    const T* const* get() const { return pointers.get(); }
  };

  explicit OnDevice(const Problem& p)
      : s(p.s),
        uses(p.uses),
        q(of_words(p.s, p.q, p.s.K() * p.s.C, p.s.r)),
        k(p.k),
        used_q(p.used_q),
        used_k(p.used_k),
        du(p.du),
        dv(p.dv),
        lse(of_words(p.s, p.lse, p.s.C, 1)),
        delta(p.delta),
        even(upload<A>(p.s.of_words(p.even, 1, 1))),
        weights(upload<A>(p.weights)),
        v(upload<S>(p.v)),
        offsets(p.s.offsets()) {
    std::vector<uint8_t> all;
    for (int64_t n = 0; n < s.B * s.T; ++n) all.push_back(s.is_real(n / s.T, n % s.T));
    padding_mask = simt::Buffer<uint8_t>(all);
    std::vector<int32_t> positions;
    for (int64_t b = 0; b < s.B; ++b)
      positions.push_back(static_cast<int32_t>(s.position_offset(b)));
    position_offset = simt::Buffer<int32_t>(positions);
  }
  cuda::HeadOperands<S> heads() const {
    const bool from_even = s.step != 1 || s.updates == 0;
    return {.q = q.get(),
            .k = k.get(),
            .lse = lse.get(),
            .even = from_even ? View<const A, 2>{even.get(), {s.B, s.words()}} : View<const A, 2>{},
            .padding_mask = {padding_mask.get(), {s.B, s.T}},
            .position_offset = s.decoded == 0 ? nullptr : position_offset.get(),
            .offsets = {offsets.get(), {s.K(), 2}},
            .updates = s.updates,
            .terms = s.terms,
            .channels = s.C,
            .rank = s.r,
            .scale = Problem::kScale,
            .damping = s.damping,
            .step = s.step,
            .causal = s.causal,
            .window = s.window};
  }
  cuda::HeadUses<S> used() const {
    return {used_q.get(), used_k.get(), du.get(), dv.get(), weights.get(), uses};
  }
  View<const S, 4> values() const { return {v.get(), {s.B, s.K() * s.C, s.T, s.r}}; }
  View<A, 3> concatenated(const simt::Buffer<A>& out) const {
    return {out.get(), {s.B, s.words(), s.K() * s.C * s.r}};
  }
  View<A, 3> rows(const simt::Buffer<A>& out) const { return {out.get(), {s.B, s.C, s.words()}}; }

  Shape s;
  int64_t uses;
  Table<S> q, k, used_q, used_k, du, dv;
  Table<A> lse, delta;
  simt::Buffer<A> even, weights;
  simt::Buffer<S> v;
  simt::Buffer<int32_t> offsets, position_offset;
  simt::Buffer<uint8_t> padding_mask;
};

template <class S>
class Cases {
 public:
  using A = accum_t<S>;
  using Shared = std::shared_ptr<const Problem>;
  using Launch = std::function<Values(const OnDevice<S>&)>;
  using Solve = std::function<std::vector<Sum>(const Problem&)>;

  Cases(const Shape& shape, std::vector<Case>& cases)
      : p_(std::make_shared<const Problem>(Problem::make<S>(shape))), cases_(cases) {}

  void add(const char* kernel, const Launch& launch, const Solve& solve) {
    const Shared p = p_;
    cases_.push_back({kernel, p->s.text(), [=] { return launch(OnDevice<S>(*p)); },
                      [=] {
                        std::vector<Expected> out;
                        for (const Sum& sum : solve(*p)) {
                          out.push_back(std::isfinite(sum.value)
                                            ? expected<S, A>(sum.value, 1, sum.error)
                                            : Expected{sum.value, 0});
                        }
                        return out;
                      }});
  }

  void lse(int64_t last) {
    add(
        "head_lse",
        [](const OnDevice<S>& g) {
          const simt::Buffer<A> out(at(g.s.B * g.s.C * g.s.words()));
          cuda::head_lse<S>(g.rows(out), g.heads(), nullptr);
          return read(out);
        },
        [last](const Problem& p) {
          return p.s.of_words(
              by_row(p, [&](int64_t b, int64_t c, int64_t t) { return p.log_sum(last, b, c, t); }),
              p.s.C, 1);
        });
  }

  void delta(int64_t last) {
    add(
        "head_delta",
        [last](const OnDevice<S>& g) {
          const simt::Buffer<A> out(at(g.s.B * g.s.C * g.s.T));
          cuda::head_delta<S>(g.rows(out), g.heads(), g.used(), last, nullptr);
          return read(out);
        },
        [last](const Problem& p) {
          return by_row(p,
                        [&](int64_t b, int64_t c, int64_t t) { return p.delta_of(last, b, c, t); });
        });
  }

  void matrix(const char* kernel, bool probs) {
    add(
        kernel,
        [probs](const OnDevice<S>& g) {
          const simt::Buffer<A> out(at(g.s.B * g.s.C * g.s.T * g.s.T));
          const View<A, 4> view{out.get(), {g.s.B, g.s.C, g.s.T, g.s.T}};
          (probs ? cuda::head_probs<S> : cuda::head_scores<S>)(view, g.heads(), nullptr);
          return read(out);
        },
        [probs](const Problem& p) {
          const Sum hidden{probs ? 0.0 : -std::numeric_limits<double>::infinity(), 0};
          std::vector<Sum> out;
          for (int64_t n = 0; n < p.s.B * p.s.C * p.s.T * p.s.T; ++n) {
            const int64_t key = n % p.s.T, t = n / p.s.T % p.s.T;
            const int64_t c = n / p.s.T / p.s.T % p.s.C, b = n / p.s.T / p.s.T / p.s.C;
            if (!p.s.visible(b, t, key)) {
              out.push_back(hidden);
            } else {
              out.push_back(probs ? p.head(b, c, t, key)
                                  : p.scaled_message(p.s.updates - 1, b, c, t, key));
            }
          }
          return out;
        });
  }

  void sum(const char* kernel, bool dependents, bool accumulate) {
    add(
        kernel,
        [=](const OnDevice<S>& g) {
          const int64_t elements = g.s.B * g.s.words() * g.s.K() * g.s.C * g.s.r;
          const simt::Buffer<A> out = upload<A>(random_values<A>(elements, kBefore));
          (dependents ? cuda::dependents_sum<S> : cuda::heads_sum<S>)(g.concatenated(out),
                                                                      g.heads(), g.values(),
                                                                      accumulate, nullptr);
          return read(out);
        },
        [=](const Problem& p) {
          const auto head = [&](int64_t b, int64_t c, int64_t t, int64_t key) {
            return p.head(b, c, t, key);
          };
          return onto(p.s.of_words(p.weighted(head, p.v, dependents), 1, p.s.K() * p.s.C * p.s.r),
                      accumulate);
        });
  }

  // The outputs are dq and dk.
  void gradient(int64_t update, int64_t term) {
    add(
        "head_gradient",
        [=](const OnDevice<S>& g) {
          const auto before = random_values<A>(g.s.vectors(), kBefore);
          const simt::Buffer<A> dq = upload<A>(before), dk = upload<A>(before);
          cuda::head_gradient<S>(g.concatenated(dq), g.concatenated(dk), g.heads(), g.used(),
                                 g.delta.get(), update, term, nullptr);
          Values out = read(dq);
          download(dk, out);
          return out;
        },
        [=](const Problem& p) {
          const auto df = [&](int64_t b, int64_t c, int64_t t, int64_t key) {
            return p.message_gradient(update, b, c, t, key);
          };
          const std::size_t m = at(update * p.s.terms + term);
          std::vector<Sum> out = onto(p.weighted(df, p.k[m], false), true);
          const std::vector<Sum> dk = onto(p.weighted(df, p.q[m], true), true);
          out.insert(out.end(), dk.begin(), dk.end());
          return out;
        });
  }

 private:
  static constexpr uint64_t kBefore = 77;  // seed of what the output holds

  static Values read(const simt::Buffer<A>& buffer) {
    Values out;
    download(buffer, out);
    return out;
  }
  template <class Of>
  static std::vector<Sum> by_row(const Problem& p, const Of& of) {
    std::vector<Sum> out;
    for (int64_t b = 0; b < p.s.B; ++b)
      for (int64_t c = 0; c < p.s.C; ++c)
        for (int64_t t = 0; t < p.s.T; ++t) out.push_back(of(b, c, t));
    return out;
  }
  static std::vector<Sum> onto(std::vector<Sum> sums, bool accumulate) {
    if (!accumulate) return sums;
    const Values before = random_values<A>(static_cast<int64_t>(sums.size()), kBefore);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i].add({before[i], 0}, 1, 1);
    return sums;
  }

  Shared p_;
  std::vector<Case>& cases_;
};

// Words in the middle of a sequence, of more than one tile and of one alone; the second row's stand
// one position ahead of the first's.
template <class S>
void add_decoded(std::vector<Case>& cases) {
  std::vector<Shape> shapes{{.B = 2, .T = 36, .C = 2, .r = 4, .causal = true, .decoded = 2}};
  if (!kSmall) {
    const std::vector<Shape> more{
        {.B = 2, .T = 80, .C = 1, .r = 3, .padding = "holes", .causal = true, .decoded = 40},
        {.B = 2,
         .T = 50,
         .C = 2,
         .r = 4,
         .padding = "left",
         .updates = 2,
         .terms = 2,
         .step = 0.6,
         .damping = 0.3,
         .starts = {5, 34},
         .causal = true,
         .decoded = 3},
        {.B = 3, .T = 40, .C = 1, .r = 4, .updates = 3, .step = 0.7, .causal = true, .decoded = 1},
        {.B = 2, .T = 34, .C = 1, .r = 4, .updates = 0, .causal = true, .decoded = 3},
        {.B = 2, .T = 70, .C = 1, .r = 20, .starts = {5}, .both_sides = true, .decoded = 33},
        {.B = 2, .T = 100, .C = 1, .r = 4, .window = 12, .decoded = 20},
    };
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  for (const Shape& shape : shapes) {
    Cases<S> of(shape, cases);
    if (shape.updates > 0) of.lse(shape.updates - 1);
    of.sum("heads_sum", false, false);
  }
}

}  // namespace

// Tiles are 32 words by 32 heads; starts of 5 and 34 split a tile, and skip one.
template <class S>
void add_head_messages_cases(std::vector<Case>& cases) {
  std::vector<Shape> shapes{
      {.B = 1, .T = 33, .C = 1, .r = 4, .updates = 2, .terms = 2, .step = 0.6, .damping = 0.3}};
  if (!kSmall) {
    const std::vector<Shape> more{
        {.B = 1, .T = 1, .C = 1, .r = 1},
        {.B = 2, .T = 33, .C = 2, .r = 20, .padding = "left"},
        {.B = 1, .T = 70, .C = 1, .r = 3, .causal = true},
        {.B = 2, .T = 5, .C = 2, .r = 4, .padding = "all"},
        {.B = 1, .T = 70, .C = 2, .r = 3, .starts = {5, 34}, .both_sides = true},
        {.B = 2, .T = 40, .C = 1, .r = 4, .padding = "holes", .starts = {5}, .causal = true},
        {.B = 1, .T = 34, .C = 1, .r = 70, .padding = "holes", .both_sides = true},
        {.B = 1, .T = 34, .C = 2, .r = 4, .updates = 3, .damping = 0.4},
        {.B = 1, .T = 9, .C = 2, .r = 4, .updates = 3, .terms = 2, .step = 0.7},
        {.B = 1, .T = 100, .C = 1, .r = 4, .window = 1},
        {.B = 2, .T = 100, .C = 2, .r = 4, .padding = "holes", .window = 6},
        {.B = 1, .T = 130, .C = 1, .r = 3, .window = 65},
        {.B = 1, .T = 40, .C = 1, .r = 3, .window = 200},
        {.B = 1,
         .T = 70,
         .C = 1,
         .r = 4,
         .updates = 2,
         .step = 0.6,
         .damping = 0.3,
         .starts = {3},
         .both_sides = true,
         .window = 8},
    };
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  for (const Shape& shape : shapes) {
    Cases<S> of(shape, cases);
    of.lse(shape.updates - 1);
    of.delta(shape.updates - 1);
    of.matrix("head_scores", false);
    of.matrix("head_probs", true);
    of.sum("heads_sum", false, shape.causal);
    of.sum("dependents_sum", true, shape.causal);
    of.gradient(0, shape.terms - 1);
  }
  add_decoded<S>(cases);
  Cases<S> even({.B = 2, .T = 34, .C = 2, .r = 4, .padding = "left", .updates = 0}, cases);
  even.matrix("head_probs", true);
  even.sum("heads_sum", false, false);
  even.sum("dependents_sum", true, true);
}
ASSAY_INSTANTIATE_CASES(add_head_messages_cases)

}  // namespace assay::kernel_test
