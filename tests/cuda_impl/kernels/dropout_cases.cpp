// dropout
#include "cases.h"
#include "golden/contract/random.h"

namespace assay::kernel_test {
namespace {

// The mask by the stream's definition, element by element. Roundings: of the scale and of the
// product. in_place: of the operand itself, which then is S.
template <class S, class Operand>
Case dropout_case(int64_t N, int64_t D, double rate, uint64_t first, bool in_place = false) {
  constexpr double kScale = 0.75;
  constexpr uint64_t kSeed = 0x123456789abcdef0;
  const Values x = random_values<Operand>(N * D, 5);
  const uint64_t stream = golden::stream_id("step/3/dropout/layers/1/attn");
  const cuda::DropoutMask mask{rate, kSeed, stream, first};
  return {"dropout", shape_of("N D first in_place", N, D, first, in_place),
          [=] {
            const auto g_x = upload<Operand>(x);
            const simt::Buffer<S> y(at(N * D));
            const View<S, 2> own{y.get(), {N, D}};
            if constexpr (std::is_same_v<S, Operand>) {
              const View<S, 2> same{g_x.get(), {N, D}};
              cuda::dropout<S, S>(in_place ? same : own, same, kScale, mask, nullptr);
            } else {
              cuda::dropout<S, Operand>(own, {g_x.get(), {N, D}}, kScale, mask, nullptr);
            }
            Values out;
            if constexpr (std::is_same_v<S, Operand>) {
              download(in_place ? g_x : y, out);
            } else {
              download(y, out);
            }
            return out;
          },
          [=] {
            const uint64_t lead = first % 4;
            std::vector<uint32_t> words(x.size() + lead);
            golden::random_words(kSeed, stream, first - lead, words);
            std::vector<Expected> out;
            for (std::size_t i = 0; i < x.size(); ++i) {
              const bool kept = words[i + lead] >= rate * 0x1p32;
              const double value = kept ? kScale / (1 - rate) * x[i] : 0;
              out.push_back(expected<S>(value, 2, std::fabs(value)));
            }
            return out;
          }};
}

}  // namespace

template <class S>
void add_dropout_cases(std::vector<Case>& cases) {
  cases.push_back(dropout_case<S, S>(1, 1, 0.5, 3));
  cases.push_back(dropout_case<S, S>(3, 7, 0.25, 0));
  cases.push_back(dropout_case<S, accum_t<S>>(3, 7, 0.1, 5));
  cases.push_back(dropout_case<S, S>(5, 9, 0.9, (uint64_t{1} << 34) + 2, true));
  cases.push_back(dropout_case<S, S>(2, 5, 0, 1));
  cases.push_back(dropout_case<S, accum_t<S>>(4, 3, 1 - 0x1p-40, 6));  // drops every word
  if (!kSmall) cases.push_back(dropout_case<S, S>(37, 130, 0.3, 11, true));
}
ASSAY_INSTANTIATE_CASES(add_dropout_cases)

}  // namespace assay::kernel_test
