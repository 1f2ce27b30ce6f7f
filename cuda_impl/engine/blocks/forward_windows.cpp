// How many positions each query of a layer with dynamic windows sees.
#include "cuda_impl/engine/blocks/forward_pass.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void ForwardPass<S>::size_windows(int64_t l, [[maybe_unused]] Taps& taps) {
  if (!sizes_windows(config_, l)) return;
  if constexpr (simt::HookedScalar<S>) {
    throw Unsupported("dynamic windows: the kernel is not built for this scalar");
  } else {
    Buffers<S>& buf = buffers_;
    ScoreOperands<S> own = scores_of(l);  // of the layer alone, whatever it attends with
    own.q = buf.q_table + l;
    own.k = (decodes() ? cache_->k_table() : buf.k_table) + l;
    own.layers = 1;
    own.coefficients = {.data = buf.unit.data};
    own.offset = nullptr;
    own.sizes = nullptr;
    WindowSizes<S> sizes{.sizes = at(buf.window_sizes, l),
                         .extremes = buf.window_extremes,
                         .sums = buf.window_sums,
                         .keys = buf.window_keys,
                         .before = {},
                         .least = config_.window_min};
    if (decodes()) sizes.before = at(cache_->extremes, l);
    window_sizes(sizes, own, queue_);
    if (decodes()) append(at(cache_->extremes, l), buf.window_extremes);
    taps.offer(golden::layer_name(l, "attn/window"), at(buf.window_sizes, l));
  }
}

#define ASSAY_INSTANTIATE(S) template void ForwardPass<S>::size_windows(int64_t, Taps&);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
