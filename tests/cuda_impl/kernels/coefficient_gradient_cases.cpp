// coefficient_gradient
#include "cuda_impl/kernels/backward.h"

#include <memory>

#include "cases.h"

namespace assay::kernel_test {
namespace {

struct Shape {
  int64_t B, T, H, Hkv, Dh, layers;
  const char* kind;  // what c_i depends on besides i: element, key, query, batch_query, batch_key
  int64_t window = 0, sinks = 0;

  bool visible(int64_t t, int64_t key) const {  // padding aside
    return key <= t && (window == 0 || t - key < window || key < sinks);
  }
};

// One problem; lse and delta are inputs of the kernel, so any numbers of their size will do.
template <class S>
struct Problem {
  using A = accum_t<S>;
  Shape s;
  std::vector<Values> q, k;
  Values v, dcontext, table, lse, delta, before;
  std::vector<uint8_t> padding_mask;
  cuda::Coefficients<A> c;

  explicit Problem(const Shape& shape) : s(shape) {
    const int64_t rows = s.B * s.H * s.T;
    for (int64_t i = 0; i < s.layers; ++i) {
      q.push_back(random_values<S>(rows * s.Dh, 10 + static_cast<uint64_t>(2 * i)));
      k.push_back(random_values<S>(s.B * s.Hkv * s.T * s.Dh, 11 + static_cast<uint64_t>(2 * i)));
    }
    v = random_values<S>(s.B * s.Hkv * s.T * s.Dh, 3);
    dcontext = random_values<S>(rows * s.Dh, 4);
    lse = random_values<A>(rows, 5, 3.0);
    delta = random_values<A>(rows, 6);
    for (int64_t n = 0; n < s.B * s.T; ++n) padding_mask.push_back((n * 5) % 7 != 0);
    const std::string kind = s.kind;
    const int64_t P = s.T + 2;  // a table for more positions than there are
    if (kind == "element") c = {.layer = P * P, .query = P, .key = 1};
    if (kind == "key") c = {.layer = P, .key = 1};
    if (kind == "query") c = {.layer = P, .query = 1};
    if (kind.starts_with("batch")) {
      c = {.layer = 1, .batch = P * s.layers};
      (kind == "batch_key" ? c.key : c.query) = s.layers;
    }
    const int64_t count = c.layer * s.layers + c.batch * s.B + (c.query + c.key) * P;
    table = random_values<A>(count, 7, 0.5);
    before = random_values<A>(count, 8);
  }

  // The sums that the kernel adds to `before`, with the error of each in units of accum_t<S>.
  std::vector<Expected> solve() const {
    Values sums = before, errors;
    const double adds = static_cast<double>(s.B * s.H) * std::ceil(s.T / 32.0) + 7;
    for (const double x : before) errors.push_back(std::fabs(x));
    for (int64_t b = 0; b < s.B; ++b)
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t t = 0; t < s.T; ++t)
          for (int64_t key = 0; key <= t; ++key) {
            if (s.visible(t, key) && padding_mask[at(b * s.T + key)] != 0)
              add_pair(b, h, t, key, adds, sums, errors);
          }
    std::vector<Expected> out;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      out.push_back({sums[i], 2 * errors[i] * unit_of<A>()});
    }
    return out;
  }

  void add_pair(int64_t b, int64_t h, int64_t t, int64_t key, double adds, Values& sums,
                Values& errors) const {
    const int64_t row = (b * s.H + h) * s.T + t;
    const int64_t kv_row = (b * s.Hkv + h / (s.H / s.Hkv)) * s.T + key;
    const int64_t place = b * c.batch + t * c.query + key * c.key;
    double score = 0, score_error = 0;
    Values dots, dot_errors;
    for (int64_t i = 0; i < s.layers; ++i) {
      double dot = 0, size = 0;
      for (int64_t d = 0; d < s.Dh; ++d) {
        const double term = q[at(i)][at(row * s.Dh + d)] * k[at(i)][at(kv_row * s.Dh + d)];
        dot += term;
        size += std::fabs(term);
      }
      dots.push_back(dot);
      dot_errors.push_back(static_cast<double>(s.Dh + 1) * size);
      const double factor = table[at(i * c.layer + place)];
      score += factor * dot;
      score_error += std::fabs(factor) * (static_cast<double>(s.Dh + 2 + s.layers) * size);
    }
    double dp = 0, dp_size = 0;
    for (int64_t d = 0; d < s.Dh; ++d) {
      const double term =
          dcontext[at(((b * s.T + t) * s.H + h) * s.Dh + d)] * v[at(kv_row * s.Dh + d)];
      dp += term;
      dp_size += std::fabs(term);
    }
    const double exponent = score - lse[at(row)], slope = dp - delta[at(row)];
    const double ds = std::exp(exponent) * slope;
    const double ds_error =
        std::fabs(ds) * (score_error + 6 + std::fabs(exponent)) +
        std::exp(exponent) * (static_cast<double>(s.Dh + 2) * dp_size + 2 * std::fabs(slope));
    for (std::size_t i = 0; i < dots.size(); ++i) {
      const std::size_t at_i = at(static_cast<int64_t>(i) * c.layer + place);
      sums[at_i] += ds * dots[i];
      errors[at_i] += ds_error * std::fabs(dots[i]) + std::fabs(ds) * dot_errors[i] +
                      adds * std::fabs(ds * dots[i]);
    }
  }

  Values run() const {
    std::vector<simt::Buffer<S>> arrays;
    std::vector<const S*> q_table, k_table;
    for (std::size_t i = 0; i < q.size(); ++i) {
      q_table.push_back(arrays.emplace_back(upload<S>(q[i])).get());
      k_table.push_back(arrays.emplace_back(upload<S>(k[i])).get());
    }
    const simt::Buffer<const S*> g_q(q_table), g_k(k_table);
    const auto g_v = upload<S>(v), g_dcontext = upload<S>(dcontext);
    const auto g_table = upload<A>(table), g_lse = upload<A>(lse), g_delta = upload<A>(delta);
    const auto g_dc = upload<A>(before);
    const simt::Buffer<uint8_t> g_padding_mask(padding_mask);
    cuda::AttentionBackwardArguments<S> arguments;
    arguments.scores.q = g_q.get();
    arguments.scores.k = g_k.get();
    arguments.scores.padding_mask = {g_padding_mask.get(), {s.B, s.T}};
    arguments.scores.coefficients = c;
    arguments.scores.coefficients.data = g_table.get();
    arguments.scores.layers = s.layers;
    arguments.scores.H = s.H;
    arguments.scores.Hkv = s.Hkv;
    arguments.scores.Dh = s.Dh;
    arguments.scores.window = s.window;
    arguments.scores.sinks = s.sinks;
    arguments.lse = {g_lse.get(), {s.B, s.H, s.T}};
    arguments.v = {g_v.get(), {s.B, s.Hkv, s.T, s.Dh}};
    arguments.dcontext = {g_dcontext.get(), {s.B, s.T, s.H * s.Dh}};
    arguments.delta = {g_delta.get(), {s.B, s.H, s.T}};
    cuda::coefficient_gradient<S>(g_dc.get(), arguments, nullptr);
    Values out;
    download(g_dc, out);
    return out;
  }
};

}  // namespace

template <class S>
void add_coefficient_gradient_cases(std::vector<Case>& cases) {
  std::vector<Shape> shapes{{2, 33, 2, 1, 8, 2, "query"}};
  if (!kSmall) {
    const std::vector<Shape> more{
        {2, 33, 2, 1, 8, 2, "element"},        {2, 33, 2, 2, 8, 1, "key"},
        {1, 33, 4, 2, 20, 3, "batch_query"},   {2, 40, 2, 1, 8, 2, "batch_key"},
        {1, 1, 1, 1, 8, 1, "element"},         {1, 100, 2, 1, 8, 2, "query", 7, 33},
        {1, 100, 2, 1, 8, 1, "key", 20},       {2, 70, 2, 1, 8, 2, "element", 33},
        {1, 100, 2, 1, 8, 1, "element", 2, 3}, {2, 70, 4, 2, 8, 1, "batch_key", 5, 2}};
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  for (const Shape& s : shapes) {
    const auto problem = std::make_shared<const Problem<S>>(s);
    cases.push_back({"coefficient_gradient",
                     shape_of("B T H Hkv Dh layers", s.B, s.T, s.H, s.Hkv, s.Dh, s.layers) +
                         " by " + s.kind + " " + shape_of("window sinks", s.window, s.sinks),
                     [=] { return problem->run(); }, [=] { return problem->solve(); }});
  }
}
ASSAY_INSTANTIATE_CASES(add_coefficient_gradient_cases)

}  // namespace assay::kernel_test
