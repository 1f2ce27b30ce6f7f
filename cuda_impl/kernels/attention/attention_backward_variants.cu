// attention_backward(): takes the tensor cores wherever it can. How many positions there are does
// not enter. No kernel of its own.
#include "cuda_impl/kernels/attention/attention_backward_variants.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void attention_backward(View<accum_t<S>, 4> dv, const ScoreGradients<accum_t<S>>& gradients,
                        const AttentionBackwardArguments<S>& arguments, Stream stream) {
  if constexpr (kHasMma<S>) {
    if (has_attention_backward_mma(arguments.scores, gradients)) {
      attention_backward_mma<S>(dv, gradients, arguments, stream);
      return;
    }
  }
  attention_backward_tiled<S>(dv, gradients, arguments, stream);
}

#define ASSAY_INSTANTIATE(S)                                                                  \
  template void attention_backward<S>(View<accum_t<S>, 4>, const ScoreGradients<accum_t<S>>&, \
                                      const AttentionBackwardArguments<S>&, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
