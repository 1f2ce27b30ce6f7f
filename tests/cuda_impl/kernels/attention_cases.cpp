// attention_tiled, attention_split, replay_attention_tiled and stored_attention_tiled, the same
// three on tensor cores, window_sizes, attention_scores, attention_probs, store_probs
#include <algorithm>
#include <functional>
#include <memory>

#include "attention_problem.h"
#include "cases.h"
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/attention/stored_attention.h"

namespace assay::kernel_test {
namespace {

using namespace attention;

// Launches attention or a replay as a kernel of that name; the outputs are context and lse or
// context alone.
template <class S>
using Attend =
    std::function<void(View<S, 3> context, View<accum_t<S>, 3> lse, const OnDevice<S>& g)>;
template <class S>
Case attention_case(const char* kernel, bool is_replay,
                    const std::shared_ptr<const Problem<S>>& problem, Attend<S> attend,
                    double lse_extra = 0, double extra = 0, double half_step = 0) {
  return {kernel, problem->text(),
          [=] {
            using A = accum_t<S>;
            const Shape& s = problem->s;
            const OnDevice<S> g(*problem);
            const int64_t queries = s.queries();
            const simt::Buffer<S> context(at(s.B * s.H * queries * s.Dh));
            const simt::Buffer<A> lse(at(s.B * s.H * queries));
            attend({context.get(), {s.B, queries, s.H * s.Dh}},
                   {is_replay ? g.lse.get() : lse.get(), {s.B, s.H, queries}}, g);
            Values out;
            download(context, out);
            if (!is_replay) download(lse, out);
            return out;
          },
          [=] {
            std::vector<Expected> out = problem->context(extra, half_step);
            const Values lse = problem->of_queries(problem->lse, 1);
            const Values errors = problem->of_queries(problem->lse_errors, 1);
            for (std::size_t i = 0; !is_replay && i < lse.size(); ++i) {
              out.push_back({lse[i], 2 * (errors[i] + lse_extra)});
            }
            return out;
          }};
}

// Beside what attention rounds, each probability is rounded to S. Cells of hidden keys hold NaN.
template <class S>
using StoredAttention = void (*)(View<S, 3>, In<S, 4>, const cuda::ScoreOperands<S>&, In<S, 4>,
                                 simt::Stream, const cuda::ReplayLayout<accum_t<S>>&);
template <class S>
Case stored_case(const char* kernel, StoredAttention<S> attend,
                 const std::shared_ptr<const Problem<S>>& problem) {
  return {kernel, problem->text(),
          [=] {
            const Shape& s = problem->s;
            const OnDevice<S> g(*problem);
            Values probs = problem->probs;
            for (std::size_t i = 0; i < probs.size(); ++i) {
              if (std::isinf(problem->scores[i])) probs[i] = std::nan("");
            }
            const auto g_probs = upload<S>(probs);
            const simt::Buffer<S> context(at(s.B * s.T * s.H * s.Dh));
            attend({context.get(), {s.B, s.T, s.H * s.Dh}}, {g_probs.get(), {s.B, s.H, s.T, s.T}},
                   g.scores(), g.values(), nullptr, {});
            Values out;
            download(context, out);
            return out;
          },
          [=] { return problem->context(unit_of<S>(), smallest_half<S>()); }};
}

// Besides what attention rounds: each exponential to S, and lse's longer chain of 16 for each tile
// of 64 keys, and 2.
template <class S>
void add_mma_cases_of(const Shape& s, std::vector<Case>& cases) {
  using A = accum_t<S>;
  const auto problem = std::make_shared<const Problem<S>>(s);
  const double lse_extra = (16 * std::ceil(static_cast<double>(s.T) / 64) + 2) * unit_of<A>();
  cases.push_back(attention_case<S>(
      "attention_mma", false, problem,
      [](View<S, 3> context, View<A, 3> lse, const OnDevice<S>& g) {
        cuda::attention_mma<S>(context, lse, g.scores(), g.values(), nullptr);
      },
      lse_extra, unit_of<S>() + lse_extra, smallest_half<S>()));
  cases.push_back(attention_case<S>(
      "replay_attention_mma", true, problem,
      [](View<S, 3> context, View<A, 3> lse, const OnDevice<S>& g) {
        cuda::replay_attention_mma<S>(context, lse, g.scores(), g.values(), nullptr);
      },
      0, unit_of<S>(), smallest_half<S>()));
  if (s.chunk != 0) return;  // no cache
  cases.push_back(stored_case<S>("stored_attention_mma", cuda::stored_attention_mma<S>, problem));
}

template <class S>
void add_cases_of(const Shape& s, std::vector<Case>& cases) {
  using A = accum_t<S>;
  const auto problem = std::make_shared<const Problem<S>>(s);
  const std::string text = problem->text();
  const int64_t row_count = s.B * s.H * s.T;

  cases.push_back(attention_case<S>("attention_tiled", false, problem,
                                    [](View<S, 3> context, View<A, 3> lse, const OnDevice<S>& g) {
                                      cuda::attention_tiled<S>(context, lse, g.scores(), g.values(),
                                                               nullptr);
                                    }));
  cases.push_back(attention_case<S>("replay_attention_tiled", true, problem,
                                    [](View<S, 3> context, View<A, 3> lse, const OnDevice<S>& g) {
                                      cuda::replay_attention_tiled<S>(context, lse, g.scores(),
                                                                      g.values(), nullptr);
                                    }));
  for (const int64_t span : {32, 64}) {
    if (s.queries() > 7) break;  // it is for steps of decoding: a block for each query and part
    cases.push_back(attention_case<S>(
        "attention_split", false, problem,
        [span](View<S, 3> context, View<A, 3> lse, const OnDevice<S>& g) {
          const Shape& of = g.shape;
          const int64_t parts = cuda::attention_parts(of.T, of.window, of.sinks, span);
          const int64_t rows = of.B * of.H * of.queries();
          const simt::Buffer<A> partial(at(rows * parts * (of.Dh + 2)));
          cuda::attention_split<S>(context, lse, {partial.get(), {rows, parts, of.Dh + 2}},
                                   g.scores(), g.values(), span, nullptr);
        }));
  }
  if (s.chunk != 0) return;  // no cache
  cases.push_back(
      stored_case<S>("stored_attention_tiled", cuda::stored_attention_tiled<S>, problem));
  const auto matrix_case = [&]<class Out>(Out, const char* kernel, auto launch, auto expect) {
    cases.push_back({kernel, text,
                     [=] {
                       const OnDevice<S> g(*problem);
                       const simt::Buffer<Out> out_buffer(at(row_count * s.T));
                       launch(View<Out, 4>{out_buffer.get(), {s.B, s.H, s.T, s.T}}, g);
                       Values out;
                       download(out_buffer, out);
                       return out;
                     },
                     [=] {
                       std::vector<Expected> out;
                       for (std::size_t i = 0; i < problem->scores.size(); ++i) {
                         out.push_back(expect(*problem, i));
                       }
                       return out;
                     }});
  };
  matrix_case(
      A(), "attention_scores",
      [](View<A, 4> out, const OnDevice<S>& g) {
        cuda::attention_scores<S>(out, g.scores(), nullptr);
      },
      [](const Problem<S>& p, std::size_t i) {
        return Expected{p.scores[i], 2 * p.score_errors[i]};
      });
  matrix_case(
      A(), "attention_probs",
      [s](View<A, 4> out, const OnDevice<S>& g) {
        cuda::attention_probs<S>(out, g.scores(), {g.lse.get(), {s.B, s.H, s.T}}, nullptr);
      },
      [](const Problem<S>& p, std::size_t i) {
        return Expected{p.probs[i], 2 * p.prob_errors[i] * p.probs[i]};
      });
  matrix_case(
      S(), "store_probs",
      [s](View<S, 4> out, const OnDevice<S>& g) {
        cuda::store_probs<S>(out, g.scores(), {g.lse.get(), {s.B, s.H, s.T}}, nullptr);
      },
      [](const Problem<S>& p, std::size_t i) {
        const double formed = 2 * p.prob_errors[i] * p.probs[i];
        const double stored = unit_of<S>() * (p.probs[i] + formed) + smallest_half<S>();
        return Expected{p.probs[i], p.probs[i] == 0 ? 0 : formed + stored};
      });
}

// Sizes of dynamic windows and the extremes that they follow, in plain loops. The scores' own
// coefficients take no part.
template <class S>
struct SizesProblem {
  using A = accum_t<S>;
  Problem<S> problem;
  int64_t least;
  std::vector<Expected> z;         // [B,T]
  std::vector<Expected> extremes;  // [B,T,2], up to each position

  SizesProblem(const Shape& s, int64_t smallest) : problem(s), least(smallest) {
    const double infinity = std::numeric_limits<double>::infinity();
    for (int64_t b = 0; b < s.B; ++b) {
      Expected low{infinity, 0}, high{-infinity, 0};
      for (int64_t t = 0; t < s.end(b); ++t) {
        z.push_back(strength(b, t));
        if (problem.is_real(b, t)) {
          low = std::min(low.value, z.back().value) == low.value ? low : z.back();
          high = std::max(high.value, z.back().value) == high.value ? high : z.back();
          low.bound = high.bound = std::max({low.bound, high.bound, z.back().bound});
        }
        extremes.push_back(low);
        extremes.push_back(high);
      }
      z.resize(at((b + 1) * s.T));
      extremes.resize(at(2 * (b + 1) * s.T));
    }
  }

  Expected strength(int64_t b, int64_t t) const {
    const Shape& s = problem.s;
    double sum = 0, magnitude = 0, terms = 0;
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t key = 0; key <= t; ++key) {
        if (!problem.visible(b, t, key)) continue;
        double score = 0;
        for (int64_t d = 0; d < s.Dh; ++d) {
          const double term = problem.q[0][at(problem.row(b, h, t) * s.Dh + d)] *
                              problem.k[0][at(problem.kv_row(b, h, key) * s.Dh + d)];
          score += term;
          magnitude += std::fabs(term);
        }
        sum += std::fabs(score);
        ++terms;
      }
    if (terms == 0) return {0, 0};
    const double tiles = std::ceil(static_cast<double>(s.T) / 32);
    return {sum / terms,
            2 * (static_cast<double>(s.Dh + s.H) + tiles + 9) * unit_of<A>() * magnitude / terms};
  }

  // One size, or two neighbours where the errors leave both open.
  Expected size(int64_t b, int64_t t) const {
    const Shape& s = problem.s;
    const Expected own = z[at(b * s.T + t)];
    Expected low = extremes[at(2 * (b * s.T + t))], high = extremes[at(2 * (b * s.T + t) + 1)];
    low.value = std::min(low.value, own.value);  // of a padded query, which is not among them
    high.value = std::max(high.value, own.value);
    const double range = static_cast<double>(s.window - least);
    if (low.value == high.value) return {static_cast<double>(least) + std::floor(range / 2), 0};
    const double e = std::max(own.bound, high.bound);
    const auto share = [&](double z_, double l, double h) {
      return std::clamp((z_ - l) / (h - l), 0.0, 1.0) * range;
    };
    const bool extreme = own.value == low.value || own.value == high.value;
    const double by = extreme ? 0 : e, step = 1 + 6 * unit_of<A>();
    const double due = std::floor(share(own.value, low.value, high.value));
    const double most =
        std::floor(share(own.value + by, low.value - by, high.value - by) * (extreme ? 1 : step));
    const double fewest =
        std::floor(share(own.value - by, low.value + by, high.value + by) / (extreme ? 1 : step));
    return {static_cast<double>(least) + due, std::max(most - due, due - fewest)};
  }
};

template <class S>
void add_sizes_case(const Shape& s, int64_t least, std::vector<Case>& cases) {
  using A = accum_t<S>;
  const auto p = std::make_shared<const SizesProblem<S>>(s, least);
  cases.push_back({"window_sizes", p->problem.text() + " least " + std::to_string(least),
                   [=] {
                     const OnDevice<S> g(p->problem);
                     const int64_t T = s.queries();
                     const simt::Buffer<int32_t> sizes(at(s.B * T)), keys(at(s.B * T));
                     const simt::Buffer<A> extremes(at(2 * s.B * T)), sums(at(s.B * s.H * T));
                     const simt::Buffer<A> one = upload<A>({1});
                     Values before;
                     for (const Expected& value : p->extremes) before.push_back(value.value);
                     const auto g_before =
                         upload<A>(s.chunk == 0 ? before : g.placed(before, 1, 2));
                     cuda::ScoreOperands<S> scores = g.scores();
                     scores.coefficients = {.data = one.get()};
                     cuda::WindowSizes<S> out{.sizes = {sizes.get(), {s.B, T}},
                                              .extremes = {extremes.get(), {s.B, 1, T, 2}},
                                              .sums = {sums.get(), {s.B, s.H, T}},
                                              .keys = {keys.get(), {s.B, T}},
                                              .before = {},
                                              .least = least};
                     if (s.chunk != 0)
                       out.before = {g_before.get(), {g.values().shape[0], 1, scores.rows(), 2}};
                     cuda::window_sizes<S>(out, scores, nullptr);
                     Values all;
                     std::vector<int32_t> whole;
                     sizes.to(whole);
                     all.assign(whole.begin(), whole.end());
                     download(extremes, all);
                     return all;
                   },
                   [=] {
                     std::vector<Expected> sizes, extremes;
                     for (int64_t b = 0; b < s.B; ++b)
                       for (int64_t t = s.position_offset(b); t < s.end(b); ++t) {
                         sizes.push_back(p->size(b, t));
                         for (int64_t i = 0; i < 2; ++i)
                           extremes.push_back(p->extremes[at(2 * (b * s.T + t) + i)]);
                       }
                     sizes.insert(sizes.end(), extremes.begin(), extremes.end());
                     return sizes;
                   }});
}

template <class S>
void add_sizes_cases(std::vector<Case>& cases) {
  add_sizes_case<S>({2, 70, 2, 1, 8, 1, "holes", "nothing", 0, 40, 2}, 3, cases);
  if (kSmall) return;
  add_sizes_case<S>({1, 1, 1, 1, 8, 1, "none", "nothing", 0, 5}, 1, cases);
  add_sizes_case<S>({2, 33, 4, 2, 20, 1, "all", "nothing", 0, 9}, 1, cases);
  add_sizes_case<S>({2, 100, 4, 2, 20, 1, "left", "nothing", 0, 1000}, 1, cases);
  add_sizes_case<S>({3, 40, 2, 1, 64, 1, "nan_holes", "nothing", 0, 7, 33}, 7, cases);
  add_sizes_case<S>({3, 100, 2, 1, 8, 1, "nan_holes", "nothing", 1, 37, 1}, 2, cases);
  add_sizes_case<S>({2, 140, 4, 2, 8, 1, "right", "nothing", 66, 80}, 5, cases);
  add_sizes_case<S>({2, 60, 2, 1, 8, 1, "holes", "nothing", 5, 20, 2, 7}, 2, cases);
}

}  // namespace

// Tiles are 32 queries by 32 keys; 33 and 70 have ragged last ones, Dh 20 and 64 a ragged and a
// second column group.
template <class S>
void add_attention_cases(std::vector<Case>& cases) {
  std::vector<Shape> shapes{{1, 1, 1, 1, 8, 1, "none"},
                            {1, 33, 2, 1, 8, 2, "left", "element"},
                            {1, 70, 1, 1, 20, 1, "none"},
                            {2, 37, 2, 1, 8, 1, "holes", "nothing", 1},
                            {1, 100, 2, 1, 8, 1, "none", "nothing", 0, 5, 2},
                            {2, 70, 2, 1, 8, 1, "holes", "nothing", 0, 40, 2, 0, true},
                            {2, 45, 2, 1, 8, 1, "holes", "nothing", 1, 0, 0, 16}};
  if (!kSmall) {
    const std::vector<Shape> more{{2, 1, 2, 1, 8, 1, "all"},
                                  {2, 31, 2, 2, 20, 1, "left"},
                                  {2, 33, 4, 2, 8, 3, "right"},
                                  {2, 70, 2, 1, 64, 2, "left"},
                                  {1, 33, 2, 1, 128, 1, "none"},
                                  {2, 70, 4, 2, 20, 1, "holes"},
                                  {2, 33, 4, 1, 64, 1, "all"},
                                  {2, 33, 2, 1, 8, 2, "nan_holes"},
                                  {1, 33, 2, 1, 8, 3, "none", "layer"},
                                  {2, 33, 2, 1, 8, 2, "none", "key"},
                                  {2, 33, 2, 1, 8, 2, "right", "query"},
                                  {2, 33, 2, 1, 8, 2, "none", "batch_query"},
                                  {2, 33, 2, 1, 8, 3, "left", "batch_key"},
                                  {1, 33, 2, 1, 8, 1, "none", "offset"},
                                  {2, 70, 4, 2, 20, 2, "left", "element", 33},
                                  {3, 40, 2, 1, 64, 2, "nan_holes", "batch_key", 7},
                                  {2, 33, 2, 2, 8, 3, "none", "query", 2},
                                  {1, 33, 2, 1, 8, 1, "none", "offset", 3},
                                  {2, 33, 2, 1, 8, 1, "holes", "nothing", 0, 1},
                                  {2, 70, 4, 2, 20, 2, "left", "layer", 0, 33},
                                  {1, 100, 2, 1, 8, 2, "holes", "element", 0, 7, 33},
                                  {2, 64, 2, 1, 8, 1, "right", "nothing", 0, 32},
                                  {1, 33, 2, 1, 8, 1, "none", "nothing", 0, 2, 40},
                                  {1, 33, 2, 1, 8, 1, "none", "nothing", 0, 1000},
                                  {3, 100, 2, 1, 8, 1, "nan_holes", "nothing", 1, 9, 1},
                                  {2, 100, 4, 2, 20, 2, "left", "layer_offset", 35, 40},
                                  {2, 100, 4, 2, 20, 2, "right", "element", 0, 33, 0, 0, true},
                                  {3, 100, 2, 1, 8, 1, "nan_holes", "nothing", 1, 37, 1, 0, true},
                                  {2, 100, 4, 2, 20, 2, "left", "layer", 35, 70, 0, 0, true},
                                  {2, 70, 4, 2, 20, 2, "left", "element", 33, 0, 0, 5},
                                  {3, 40, 2, 1, 64, 2, "nan_holes", "batch_key", 7, 0, 0, 7},
                                  {2, 60, 2, 1, 8, 3, "none", "batch_query", 5, 20, 2, 64},
                                  {2, 100, 4, 2, 20, 2, "left", "layer_offset", 35, 40, 0, 1}};
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  for (const Shape& shape : shapes) add_cases_of<S>(shape, cases);
  add_sizes_cases<S>(cases);

  if constexpr (!std::is_same_v<S, accum_t<S>>) {  // tiles are 64 by 64
    std::vector<Shape> mma_shapes{{1, 70, 2, 1, 16, 2, "left", "layer"},
                                  {1, 200, 2, 1, 16, 1, "none", "nothing", 0, 5, 2},
                                  {2, 140, 2, 1, 16, 1, "left", "nothing", 0, 90, 1, 0, true},
                                  {2, 140, 2, 1, 16, 1, "left", "nothing", 1, 90, 1, 7, true}};
    if (!kSmall) {
      const std::vector<Shape> more{{1, 1, 1, 1, 16, 1, "none"},
                                    {2, 1, 2, 1, 32, 1, "all"},
                                    {2, 33, 4, 2, 32, 1, "right"},
                                    {1, 130, 2, 1, 32, 1, "none"},
                                    {2, 70, 2, 2, 64, 1, "holes"},
                                    {1, 130, 1, 1, 64, 2, "none", "layer_offset"},
                                    {1, 70, 2, 1, 128, 1, "left"},
                                    {2, 70, 2, 1, 16, 3, "right", "batch"},
                                    {3, 130, 2, 1, 16, 1, "none", "nothing", 1},
                                    {2, 140, 4, 2, 32, 2, "holes", "layer_offset", 65},
                                    {2, 70, 2, 1, 16, 1, "holes", "nothing", 0, 1},
                                    {1, 200, 4, 2, 32, 2, "left", "layer", 0, 65},
                                    {3, 200, 2, 1, 16, 1, "holes", "nothing", 1, 30, 3},
                                    {2, 200, 4, 2, 32, 2, "none", "layer_offset", 66, 33},
                                    {2, 200, 4, 2, 32, 2, "holes", "layer", 0, 130, 0, 0, true},
                                    {3, 200, 2, 1, 16, 1, "holes", "nothing", 1, 70, 3, 0, true},
                                    {2, 200, 4, 2, 32, 2, "none", "layer", 66, 80, 0, 0, true},
                                    {3, 130, 2, 1, 16, 1, "none", "nothing", 1, 0, 0, 16},
                                    {2, 140, 4, 2, 32, 2, "holes", "layer_offset", 65, 40, 3, 7}};
      mma_shapes.insert(mma_shapes.end(), more.begin(), more.end());
    }
    for (const Shape& shape : mma_shapes) add_mma_cases_of<S>(shape, cases);
  }
}
ASSAY_INSTANTIATE_CASES(add_attention_cases)

}  // namespace assay::kernel_test
