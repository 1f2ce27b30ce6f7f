// attention_delta, attention_backward_tiled, the same on tensor cores
#include <memory>

#include "attention_backward_problem.h"
#include "cases.h"
#include "cuda_impl/kernels/attention/attention_backward_variants.h"

namespace assay::kernel_test {
namespace {

using namespace attention_backward;

template <class S>
Case attention_backward_case(const char* kernel, const Shape& s, bool on_tensor_cores,
                             Differentiate<S> differentiate) {
  const auto problem = std::make_shared<const Problem<S>>(s, on_tensor_cores);
  return {kernel, s.text(),
          [=] {
            const OnDevice<S> g(*problem);
            g.run(differentiate);
            return g.outputs();
          },
          [=] {
            std::vector<Expected> out;
            const auto append = [&](const std::vector<Sum>& sums) {
              for (const auto& [value, error] : sums) {
                out.push_back(expected<S, accum_t<S>>(value, 1, error));
              }
            };
            append(problem->dv);
            for (const auto& sums : problem->dq) append(sums);
            for (const auto& sums : problem->dk) append(sums);
            append(problem->dc);
            return out;
          }};
}

// Roundings: the products and their chain, as if it had the length Dh.
template <class S>
Case attention_delta_case(int64_t B, int64_t T, int64_t H, int64_t Dh) {
  using A = accum_t<S>;
  const Values context = random_values<S>(B * T * H * Dh, 1);
  const Values dcontext = random_values<S>(B * T * H * Dh, 2);
  return {"attention_delta", shape_of("B T H Dh", B, T, H, Dh),
          [=] {
            const auto g_context = upload<S>(context), g_dcontext = upload<S>(dcontext);
            const simt::Buffer<A> delta(at(B * H * T));
            cuda::attention_delta<S>({delta.get(), {B, H, T}}, {g_context.get(), {B, T, H * Dh}},
                                     {g_dcontext.get(), {B, T, H * Dh}}, nullptr);
            Values out;
            download(delta, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t h = 0; h < H; ++h)
                for (int64_t t = 0; t < T; ++t) {
                  double sum = 0, magnitude = 0;
                  for (int64_t d = 0; d < Dh; ++d) {
                    const std::size_t i = at(((b * T + t) * H + h) * Dh + d);
                    sum += context[i] * dcontext[i];
                    magnitude += std::fabs(context[i] * dcontext[i]);
                  }
                  out.push_back(expected<S, A>(sum, static_cast<double>(Dh + 5), magnitude));
                }
            return out;
          }};
}

}  // namespace

// Tiles are 32 queries by 32 keys, as in attention_cases.cpp; on tensor cores 64 by 32.
template <class S>
void add_attention_backward_cases(std::vector<Case>& cases) {
  cases.push_back(attention_delta_case<S>(1, 1, 1, 1));
  cases.push_back(attention_delta_case<S>(2, 7, 3, 40));
  std::vector<Shape> shapes{{1, 1, 1, 1, 8, 1, "none"},
                            {1, 33, 2, 1, 8, 2, "left"},
                            {1, 100, 2, 1, 8, 1, "none", false, "layer", 5, 2},
                            {2, 70, 2, 1, 8, 1, "left", false, "layer", 40, 1, true}};
  if (!kSmall) {
    const std::vector<Shape> more{
        {2, 3, 2, 1, 8, 1, "all"},
        {1, 70, 1, 1, 20, 1, "none"},
        {2, 33, 4, 2, 20, 3, "holes"},
        {2, 40, 2, 2, 8, 1, "right"},
        {1, 33, 2, 1, 64, 2, "left"},
        {1, 33, 1, 1, 128, 1, "none"},
        {1, 40, 4, 2, 20, 2, "holes", true},
        {2, 40, 2, 1, 8, 2, "nan_holes", false, "batch"},
        {1, 64, 2, 1, 8, 1, "none"},
        {2, 40, 4, 2, 8, 3, "left", false, "element"},
        {2, 33, 2, 1, 8, 1, "holes", false, "layer", 1},
        {2, 70, 4, 2, 20, 2, "left", false, "layer", 33},
        {1, 100, 2, 1, 8, 2, "holes", false, "element", 7, 33},
        {2, 70, 4, 2, 20, 2, "holes", false, "element", 70, 0, true},
        {1, 64, 2, 1, 8, 1, "right", true, "layer", 32},
        {1, 33, 2, 1, 8, 1, "none", false, "layer", 2, 40},
    };
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  for (const Shape& shape : shapes) {
    cases.push_back(attention_backward_case<S>("attention_backward_tiled", shape, false,
                                               cuda::attention_backward_tiled<S>));
  }

  if constexpr (cuda::kHasMma<S>) {
    std::vector<Shape> mma_shapes{{1, 70, 2, 1, 16, 1, "left"},
                                  {1, 200, 2, 1, 16, 1, "none", false, "layer", 5, 2},
                                  {2, 140, 2, 1, 16, 1, "left", false, "layer", 90, 1, true}};
    if (!kSmall) {
      const std::vector<Shape> more{
          {1, 1, 1, 1, 16, 1, "none"},
          {2, 3, 2, 1, 16, 1, "all"},
          {2, 33, 4, 2, 32, 1, "right"},
          {1, 130, 2, 1, 32, 1, "nan_holes"},
          {2, 70, 2, 2, 64, 1, "holes"},
          {1, 70, 2, 1, 128, 1, "left"},
          {1, 64, 4, 1, 16, 1, "none"},
          {2, 70, 2, 1, 16, 1, "right", false, "batch"},
          {2, 40, 4, 2, 16, 1, "nan_holes", true},
          {1, 100, 2, 1, 64, 1, "right", true, "layer", 40},
          {2, 70, 2, 1, 16, 1, "holes", false, "layer", 1},
          {1, 200, 4, 2, 32, 1, "left", false, "layer", 65},
          {2, 200, 2, 1, 16, 1, "holes", false, "batch", 30, 3},
          {1, 200, 2, 1, 16, 1, "none", false, "layer", 33, 70},
      };
      mma_shapes.insert(mma_shapes.end(), more.begin(), more.end());
    }
    for (const Shape& shape : mma_shapes) {
      cases.push_back(attention_backward_case<S>("attention_backward_mma", shape, true,
                                                 cuda::attention_backward_mma<S>));
    }
  }
}
ASSAY_INSTANTIATE_CASES(add_attention_backward_cases)

}  // namespace assay::kernel_test
