// cross_entropy_backward and counted_positions, global_norm, adamw
#include <limits>

#include "cases.h"

namespace assay::kernel_test {
namespace {

std::vector<int32_t> some_labels(int64_t B, int64_t T, int64_t V, bool ignore_all) {
  std::vector<int32_t> labels;
  for (int64_t n = 0; n < B * T; ++n) {
    const bool ignored = ignore_all || n % 5 == 2;
    labels.push_back(ignored ? cuda::kIgnoredLabel : static_cast<int32_t>((n * 13 + 1) % V));
  }
  return labels;
}

// Roundings: of a probability the exponential (2) with its argument's, the chain of V/32 and those
// of the exponentials in it, the quotient; then the difference, the factor and its product.
// In tiles of `rows` positions.
template <class S>
Case cross_entropy_backward_case(int64_t B, int64_t T, int64_t V, bool ignore_all,
                                 int label_shift = 1, int64_t rows = 1 << 20) {
  constexpr double kScale = 1.75;
  const Values logits = random_values<S>(B * T * V, 1, 8.0);
  const std::vector<int32_t> labels = some_labels(B, T, V, ignore_all);
  return {"cross_entropy_backward", shape_of("B T V label_shift rows", B, T, V, label_shift, rows),
          [=] {
            using A = accum_t<S>;
            const auto dlogits = upload<S>(logits);  // in place
            const simt::Buffer<int32_t> g_labels(labels);
            const simt::Buffer<A> counted(1);
            cuda::counted_positions<A>({counted.get(), {1}}, {g_labels.get(), {B, T}}, nullptr,
                                       label_shift);
            for (int64_t first = 0; first < B * T; first += rows) {
              const View<S, 2> tile{dlogits.get() + first * V, {std::min(rows, B * T - first), V}};
              cuda::cross_entropy_backward<S>(tile, tile, first, {g_labels.get(), {B, T}},
                                              {counted.get(), {1}}, kScale, nullptr, label_shift);
            }
            Values out;
            download(dlogits, out);
            download(counted, out);
            return out;
          },
          [=] {
            const auto label_of = [&](int64_t n) {
              return n % T + label_shift == T ? cuda::kIgnoredLabel : labels[at(n + label_shift)];
            };
            double counted = 0;
            for (int64_t n = 0; n < B * T; ++n) counted += label_of(n) != cuda::kIgnoredLabel;
            std::vector<Expected> out;
            for (int64_t n = 0; n < B * T; ++n) {
              const double* row = &logits[at(n * V)];
              double highest = row[0], sum = 0, spread = 0;
              for (int64_t v = 0; v < V; ++v) highest = std::max(highest, row[v]);
              for (int64_t v = 0; v < V; ++v) sum += std::exp(row[v] - highest);
              for (int64_t v = 0; v < V; ++v) {
                spread += std::exp(row[v] - highest) / sum * (highest - row[v]);
              }
              const double chain = std::ceil(static_cast<double>(V) / 32) + 5;
              for (int64_t v = 0; v < V; ++v) {
                const double p = std::exp(row[v] - highest) / sum;
                const bool counts = label_of(n) != cuda::kIgnoredLabel;
                const double difference = p - (v == label_of(n) ? 1 : 0);
                const double error =
                    p * (5 + highest - row[v] + spread + chain) + 3 * std::fabs(difference);
                const double factor = counts ? kScale / counted : 0;
                out.push_back(expected<S>(difference * factor, 1, error * factor));
              }
            }
            out.push_back({counted, 0.0});
            return out;
          }};
}

// Roundings of the sum: squares and chains, as in the kernel's header; the root halves them.
template <class S>
Case global_norm_case(const std::vector<int64_t>& sizes, int64_t slices) {
  using A = accum_t<S>;
  const auto count = static_cast<int64_t>(sizes.size());
  return {"global_norm", shape_of("count slices", count, slices),
          [=] {
            std::vector<simt::Buffer<A>> arrays;
            std::vector<const A*> table;
            for (const int64_t size : sizes) {
              arrays.push_back(upload<A>(random_values<A>(size, arrays.size(), 3.0)));
              table.push_back(arrays.back().get());
            }
            const simt::Buffer<const A*> g_table(table);
            const simt::Buffer<int64_t> g_sizes(sizes);
            const simt::Buffer<A> norm(1), parts(at(count * slices));
            cuda::global_norm<A>({norm.get(), {1}}, {parts.get(), {count, slices}}, g_table.get(),
                                 g_sizes.get(), count, nullptr);
            Values out;
            download(norm, out);
            return out;
          },
          [=]() -> std::vector<Expected> {
            double sum = 0, chain = std::ceil(static_cast<double>(count * slices) / 32) + 11;
            int64_t longest = 0;
            for (std::size_t a = 0; a < sizes.size(); ++a) {
              for (const double x : random_values<A>(sizes[a], a, 3.0)) sum += x * x;
              longest = std::max(longest, sizes[a]);
            }
            chain += std::ceil(static_cast<double>(longest) / static_cast<double>(32 * slices));
            return {expected<S, A>(std::sqrt(sum), chain / 2 + 1, std::sqrt(sum))};
          }};
}

// What one step makes of one weight, with the errors in units of accum_t<S>.
struct Stepped {
  double first, first_error, second, second_error, weight, weight_error;
};

// Roundings: of g 4 (two products, the quotient and the norm's product of the scale), each constant
// one, each product and sum one; the root halves the relative error of the second moment.
Stepped step_once(const cuda::AdamwStep& s, double weight, double first, double second,
                  double gradient, double norm) {
  double scale = s.gradient_scale;
  if (norm * scale > s.max_norm && norm > 0) scale *= s.max_norm / (norm * scale);
  const double g = gradient * scale, count = static_cast<double>(s.step);
  const double c1 = 1 - std::pow(s.beta1, count), c2 = 1 - std::pow(s.beta2, count);
  Stepped out{};
  out.first = s.beta1 * first + (1 - s.beta1) * g;
  out.first_error = 3 * std::fabs(s.beta1 * first) + 8 * std::fabs((1 - s.beta1) * g);
  out.second = s.beta2 * second + (1 - s.beta2) * g * g;
  out.second_error = 14 * out.second;
  const double divisor = std::sqrt(out.second / c2) + s.eps, direction = out.first / c1 / divisor;
  const double decay = s.weight_decay * weight;
  out.weight = weight - s.learning_rate * (direction + decay);
  const double direction_error = out.first_error / c1 / divisor +
                                 std::fabs(direction) * (7 + 5 + 2) + 3 * std::fabs(decay) +
                                 std::fabs(direction + decay);
  out.weight_error = s.learning_rate * (direction_error + 2 * std::fabs(direction + decay)) +
                     std::fabs(out.weight);
  return out;
}

template <class S>
Case adamw_case(int64_t N, const cuda::AdamwStep& step, double norm, bool rounded_copy) {
  using A = accum_t<S>;
  const Values weights = random_values<A>(N, 1), first = random_values<A>(N, 2, 0.1);
  const Values gradient = random_values<A>(N, 4, 64.0);
  Values second = random_values<A>(N, 3, 0.01);
  for (double& value : second) value = std::fabs(value);
  return {"adamw",
          shape_of("N step copy", N, step.step, rounded_copy) + " norm " + std::to_string(norm),
          [=] {
            const auto g_master = upload<A>(weights), g_first = upload<A>(first),
                       g_second = upload<A>(second), g_gradient = upload<A>(gradient),
                       g_norm = upload<A>({norm});
            const auto copy = upload<S>(weights);
            cuda::adamw<S>({rounded_copy ? copy.get() : nullptr, {N}},
                           {{g_master.get(), {N}}, {g_first.get(), {N}}, {g_second.get(), {N}}},
                           {g_gradient.get(), {N}}, {norm > 0 ? g_norm.get() : nullptr, {1}}, step,
                           nullptr);
            Values out;
            for (const auto* array : {&g_master, &g_first, &g_second}) download(*array, out);
            if (rounded_copy) download(copy, out);
            return out;
          },
          [=] {
            std::vector<Expected> masters, firsts, seconds, copies;
            for (std::size_t i = 0; i < weights.size(); ++i) {
              Stepped s = step_once(step, weights[i], first[i], second[i], gradient[i], norm);
              if (std::isinf(norm)) s = {first[i], 0, second[i], 0, weights[i], 0};
              masters.push_back(expected<S, A>(s.weight, 1, s.weight_error));
              firsts.push_back(expected<S, A>(s.first, 1, s.first_error));
              seconds.push_back(expected<S, A>(s.second, 1, s.second_error));
              copies.push_back(expected<S>(s.weight, 1, s.weight_error));
            }
            masters.insert(masters.end(), firsts.begin(), firsts.end());
            masters.insert(masters.end(), seconds.begin(), seconds.end());
            if (rounded_copy) masters.insert(masters.end(), copies.begin(), copies.end());
            return masters;
          }};
}

}  // namespace

template <class S>
void add_optimizer_cases(std::vector<Case>& cases) {
  cases.push_back(cross_entropy_backward_case<S>(1, 1, 5, false));  // nothing is predicted: 0
  cases.push_back(cross_entropy_backward_case<S>(2, 7, 40, true));  // nothing is counted: 0
  cases.push_back(cross_entropy_backward_case<S>(2, 3, 1, false));
  cases.push_back(cross_entropy_backward_case<S>(3, 12, 70, false, 0));
  cases.push_back(cross_entropy_backward_case<S>(2, 7, 40, false, 1, 5));
  if (!kSmall) cases.push_back(cross_entropy_backward_case<S>(3, 12, 70, false));

  cases.push_back(global_norm_case<S>({1}, 1));
  cases.push_back(global_norm_case<S>({70, 0, 5, 333}, 2));
  cases.push_back(global_norm_case<S>({33, 64, 1000}, 11));

  constexpr int64_t N = kSmall ? 40 : 300;
  constexpr double kEndless = std::numeric_limits<double>::infinity();
  cuda::AdamwStep step{.learning_rate = 0.01, .weight_decay = 0.1, .gradient_scale = 1.0 / 64};
  cases.push_back(adamw_case<S>(1, step, 0, false));
  step.step = 3;
  step.max_norm = 0.5;
  cases.push_back(adamw_case<S>(N, step, 0, true));
  cases.push_back(adamw_case<S>(N, step, 16.0, true));   // 0.25 after scaling: not clipped
  cases.push_back(adamw_case<S>(N, step, 640.0, true));  // 10 after scaling
  // An overflow changes nothing. (The copy in S is not rewritten; it would be the same.)
  cases.push_back(adamw_case<S>(N, step, kEndless, false));
}
ASSAY_INSTANTIATE_CASES(add_optimizer_cases)

}  // namespace assay::kernel_test
