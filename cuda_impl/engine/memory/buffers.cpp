#include "cuda_impl/engine/memory/buffers.h"

#include <algorithm>
#include <cmath>

#include "cuda_impl/engine/memory/convert.h"
#include "cuda_impl/engine/memory/rope_table.h"
#include "cuda_impl/kernels/attention/attention_variants.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class S>
void carve(Buffers<S>& x, Carver& carver, const golden::ModelConfig& c, const Method& method,
           const PassShape& shape) {
  using A = accum_t<S>;
  const int64_t B = x.B, T = x.T, N = B * T;
  const int64_t D = c.hidden_size, F = c.intermediate_size, V = c.vocab_size;
  const int64_t H = c.num_attention_heads, Hkv = c.num_key_value_heads, Dh = c.head_dim;
  const int64_t L = c.num_hidden_layers;
  const bool llama = c.block == golden::BlockKind::llama;
  const bool post = c.norm == golden::NormPosition::post;
  const bool looks_back = method.recomputes() || method.all_layers_score;
  const bool each = shape.options.recompute == Recompute::each;
  const bool saved = x.saved_for_backward, keeps_all = saved && shape.options.keep == Keep::all;
  const bool forms_again = saved && shape.options.keep == Keep::inputs && method.recomputes();

  x.tokens = carver.view<int32_t>({B, T});
  x.padding_mask = carver.view<uint8_t>({B, T});
  x.labels = carver.view<int32_t>({B, T});
  x.cosines = carver.view<A>({x.R, Dh / 2});
  x.sines = carver.view<A>({x.R, Dh / 2});
  for (View<S, 2>* array : {&x.attn_norm, &x.attn_out, &x.mlp_norm, &x.mlp_out, &x.sum}) {
    *array = carver.view<S>({N, D});
  }
  for (View<S, 2>* array : {&x.up, &x.act}) *array = carver.view<S>({N, F});
  x.gate = carver.view<S>({llama ? N : 0, F});
  const bool in_parts = reads_in_parts(shape);
  const int64_t parts =
      in_parts ? attention_parts(x.R, c.full_layers.empty() ? c.window : 0, c.sink_tokens,
                                 static_cast<int64_t>(shape.options.key_span))
               : 0;
  x.partial = carver.view<A>({in_parts ? B * H : 0, parts, Dh + 2});
  x.last = carver.view<S>({shape.decode ? B : 0, D});
  const auto most = static_cast<int64_t>(shape.options.head_bytes / sizeof(S)) / V;
  x.logits = carver.view<S>({shape.decode ? B : std::clamp<int64_t>(most, 1, N), V});
  x.losses = carver.view<A>({B, T});
  x.loss = carver.view<A>({1});
  x.wide_heads = carver.view<A>({N, H * Dh});
  x.wide_gate = carver.view<A>({method.recomputes_mlp() && each && llama ? N : 0, F});
  x.wide_up = carver.view<A>({method.recomputes_mlp() && each ? N : 0, F});
  x.score_factors = carver.view<A>({method.gated_scores ? N : 0, L});

  const auto layers = [L](bool all) { return static_cast<std::size_t>(all ? L : 1); };
  x.stream.resize(saved ? layers(true) + 1 : 2);
  x.attn_residual.resize(layers(keeps_all));
  x.mlp_residual.resize(post ? layers(keeps_all) : 0);
  x.v.resize(layers(keeps_all));
  x.context.resize(layers(keeps_all));
  x.q.resize(layers(keeps_all || (looks_back && !forms_again)));
  x.k.resize(x.q.size());
  x.q_proj.resize(c.qk_norm ? layers(keeps_all) : 0);
  x.k_proj.resize(x.q_proj.size());
  x.lse.resize(layers(keeps_all || (method.recomputes() && !forms_again)));
  x.recompute_out.resize(method.recomputes() && each ? layers(true) - 1 : 0);
  for (auto* streams : {&x.stream, &x.attn_residual, &x.mlp_residual}) {
    for (View<S, 2>& stream : *streams) stream = carver.view<S>({N, D});
  }
  for (View<S, 4>& v : x.v) v = carver.view<S>({B, Hkv, T, Dh});
  for (View<S, 3>& context : x.context) context = carver.view<S>({B, T, H * Dh});
  const bool recomputes = saved && method.recomputes() && each;
  x.recompute_v = recomputes ? carver.view<S>({B, Hkv, T, Dh}) : x.v[0];
  x.recompute_context = recomputes ? carver.view<S>({B, T, H * Dh}) : x.context[0];
  for (View<S, 4>& q : x.q) q = carver.view<S>({B, H, T, Dh});
  for (View<S, 4>& k : x.k) k = carver.view<S>({B, Hkv, T, Dh});
  for (View<S, 4>& q : x.q_proj) q = carver.view<S>({B, H, T, Dh});
  for (View<S, 4>& k : x.k_proj) k = carver.view<S>({B, Hkv, T, Dh});
  A* next_lse = carver.take<A>(static_cast<int64_t>(x.lse.size()) * B * H * T);
  for (View<A, 3>& lse : x.lse) {
    lse = {next_lse, {B, H, T}};
    if (next_lse != nullptr) next_lse += B * H * T;  // null while the arena is measured
  }
  for (View<S, 2>& r : x.recompute_out) r = carver.view<S>({N, D});
  const int64_t again = forms_again ? B : 0;
  x.again_q = carver.view<S>({again, H, T, Dh});
  x.again_k = carver.view<S>({again, Hkv, T, Dh});
  x.again_proj = carver.view<S>({c.qk_norm ? again : 0, H, T, Dh});
  x.again_lse = carver.view<A>({again, H, T});
  if (!shape.decode && stores_probs<S>(c, method, shape.options, B, T)) {
    x.probs = carver.view<S>({L - 1, B, H, T, T});
  }
  const bool dynamic = c.window_kind == golden::WindowKind::dynamic;
  x.window_sizes.resize(dynamic ? layers(true) : 0);
  for (View<int32_t, 2>& sizes : x.window_sizes) sizes = carver.view<int32_t>({B, T});
  x.window_extremes = carver.view<A>({dynamic ? B : 0, 1, T, 2});
  x.window_sums = carver.view<A>({dynamic ? B : 0, H, T});
  x.window_keys = carver.view<int32_t>({dynamic ? B : 0, T});
  x.unit = carver.view<A>({dynamic ? 1 : 0});
  x.q_table = carver.take<const S*>(L + 1);
  x.k_table = carver.take<const S*>(L + 1);
  x.recompute_table = carver.take<const S*>(L);
}

template <class S>
void fill_tables(Buffers<S>& x, const golden::ModelConfig& c, Stream stream) {
  using A = accum_t<S>;
  const auto fill = [stream](const S** table, const std::vector<const S*>& arrays) {
    simt::copy_in(table, arrays.data(), arrays.size() * sizeof(const S*), stream);
  };
  std::vector<const S*> q, k, recompute_out;
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    q.push_back(at(x.q, l).data);
    k.push_back(at(x.k, l).data);
  }
  q.push_back(x.again_q.data);
  k.push_back(x.again_k.data);
  for (const View<S, 2>& r : x.recompute_out) recompute_out.push_back(r.data);
  fill(x.q_table, q);
  fill(x.k_table, k);
  fill(x.recompute_table, recompute_out);

  const std::vector<A> unit(static_cast<std::size_t>(x.unit.shape[0]), A(1));
  simt::copy_in(x.unit.data, unit.data(), unit.size() * sizeof(A), stream);
  const std::vector<double> frequencies = rope_frequencies(c);  // [Dh/2]
  std::vector<A> cosines, sines;                                // [R,Dh/2]
  for (int64_t t = 0; t < x.R; ++t) {
    for (const double frequency : frequencies) {
      const double angle_rad = static_cast<double>(t) * frequency;
      cosines.push_back(static_cast<A>(std::cos(angle_rad)));
      sines.push_back(static_cast<A>(std::sin(angle_rad)));
    }
  }
  simt::copy_in(x.cosines.data, cosines.data(), cosines.size() * sizeof(A), stream);
  simt::copy_in(x.sines.data, sines.data(), sines.size() * sizeof(A), stream);
}

}  // namespace

template <class S>
bool plan_buffers(Buffers<S>& buffers, Arena& arena, const golden::ModelConfig& config,
                  const Method& method, const PassShape& shape, Stream stream) {
  // A pass that somebody looks into has every layer's own q, k and lse: forced, they are read.
  const bool serves = buffers.saved_for_backward >= shape.save_for_backward &&
                      (shape.save_for_backward || !buffers.forms_again());
  if (buffers.B == shape.B && buffers.T == shape.T && buffers.R == shape.R && serves) return false;
  buffers.B = 0;  // if the allocation throws, nothing stands
  Buffers<S> planned;
  planned.B = shape.B;
  planned.T = shape.T;
  planned.R = shape.R;
  planned.saved_for_backward = shape.save_for_backward;
  arena.plan([&](Carver& carver) { carve(planned, carver, config, method, shape); });
  fill_tables(planned, config, stream);
  buffers = std::move(planned);
  return true;
}

#define ASSAY_INSTANTIATE(S)                                                                 \
  template bool plan_buffers(Buffers<S>&, Arena&, const golden::ModelConfig&, const Method&, \
                             const PassShape&, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
