// cross_entropy
#include "cases.h"

namespace assay::kernel_test {
namespace {

// Roundings of a position: the chain of V/32 exponentials, each with its own (2) and its
// argument's; the logarithm; two sums of magnitude |z| at most. Of the mean: a chain of N/32 and
// the quotient.
// In tiles of `rows` positions, or with 0 at once.
template <class S>
Case cross_entropy_case(int64_t B, int64_t T, int64_t V, bool ignore_all, int label_shift = 1,
                        int64_t rows = 0) {
  const Values logits = random_values<S>(B * T * V, 1, 20.0);
  std::vector<int32_t> labels;
  for (int64_t n = 0; n < B * T; ++n) {
    const bool ignored = ignore_all || n % 5 == 2;
    labels.push_back(ignored ? cuda::kIgnoredLabel : static_cast<int32_t>((n * 13 + 1) % V));
  }
  return {"cross_entropy", shape_of("B T V label_shift rows", B, T, V, label_shift, rows),
          [=] {
            using A = accum_t<S>;
            const auto g_logits = upload<S>(logits);
            const simt::Buffer<int32_t> g_labels(labels);
            const simt::Buffer<A> loss(1), losses(at(B * T));
            const View<const int32_t, 2> labels_view{g_labels.get(), {B, T}};
            const View<A, 2> losses_view{losses.get(), {B, T}};
            for (int64_t first = 0; rows > 0 && first < B * T; first += rows) {
              const int64_t n = std::min(rows, B * T - first);
              cuda::position_losses<S>(losses_view, {g_logits.get() + first * V, {n, V}}, first,
                                       labels_view, nullptr, label_shift);
            }
            if (rows > 0) {
              cuda::mean_loss<A>({loss.get(), {1}}, losses_view, labels_view, nullptr, label_shift);
            } else {
              cuda::cross_entropy<S>({loss.get(), {1}}, losses_view, {g_logits.get(), {B, T, V}},
                                     labels_view, nullptr, label_shift);
            }
            Values out;
            download(loss, out);
            return out;
          },
          [=]() -> std::vector<Expected> {
            double total = 0, magnitude = 0, largest = 0, counted = 0;
            for (const double z : logits) largest = std::max(largest, std::fabs(z));
            for (int64_t n = 0; n < B * T; ++n) {
              if (n % T + label_shift == T || labels[at(n + label_shift)] == cuda::kIgnoredLabel)
                continue;
              double sum = 0;  // amplitude 20: no overflow in double
              for (int64_t v = 0; v < V; ++v) sum += std::exp(logits[at(n * V + v)]);
              const double z = logits[at(n * V + labels[at(n + label_shift)])];
              total += std::log(sum) - z;
              magnitude += std::fabs(std::log(sum)) + 3 * largest + 1;
              ++counted;
            }
            if (counted == 0) return {{0.0, 0.0}};
            const double chain = std::ceil(static_cast<double>(V) / 32) +
                                 std::ceil(static_cast<double>(B * T) / 32) + 10;
            return {expected<S, accum_t<S>>(total / counted, chain + 8, magnitude / counted)};
          }};
}

}  // namespace

template <class S>
void add_cross_entropy_cases(std::vector<Case>& cases) {
  cases.push_back(cross_entropy_case<S>(1, 1, 5, false));  // nothing is predicted: 0
  cases.push_back(cross_entropy_case<S>(2, 7, 40, true));  // nothing is counted: 0
  cases.push_back(cross_entropy_case<S>(2, 3, 1, false));
  cases.push_back(cross_entropy_case<S>(2, 7, 31, false));
  cases.push_back(cross_entropy_case<S>(3, 12, 70, false));
  cases.push_back(cross_entropy_case<S>(1, 1, 5, false, 0));
  cases.push_back(cross_entropy_case<S>(3, 12, 70, false, 0));
  cases.push_back(cross_entropy_case<S>(3, 12, 70, false, 1, 7));
}
ASSAY_INSTANTIATE_CASES(add_cross_entropy_cases)

}  // namespace assay::kernel_test
