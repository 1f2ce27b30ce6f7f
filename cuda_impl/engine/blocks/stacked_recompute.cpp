#include "cuda_impl/engine/blocks/stacked_recompute.h"

#include <algorithm>

#include "cuda_impl/kernels/attention/stored_attention.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
StackedRecompute<S>::StackedRecompute(std::shared_ptr<const Parts<S>> parts, const Cache<S>* cache)
    : parts_(std::move(parts)),
      config_(parts_->config),
      weights_(*parts_->stacked),
      queue_(parts_->queue),
      cache_(cache) {}

// ------------------------------------------------------------------------------------------------
// memory

// Of one position.
template <class S>
int64_t StackedRecompute<S>::bytes_per_layer() const {
  constexpr int64_t kStored = sizeof(S), kWide = sizeof(A);
  const golden::ModelConfig& c = config_;
  const int64_t heads = c.num_key_value_heads * c.head_dim * (kStored + kWide) +
                        c.num_attention_heads * c.head_dim * kStored;
  if (!parts_->method.recomputes_mlp()) return heads;
  return heads + 2 * c.hidden_size * kStored +
         c.intermediate_size * (kStored + (llama() ? 2 : 1) * kWide);
}

template <class S>
void StackedRecompute<S>::plan(int64_t B, int64_t T) {
  B_ = B;
  T_ = T;
  const int64_t all = config_.num_hidden_layers - 1;
  const auto fit = static_cast<int64_t>(parts_->options.stack_bytes) / (N() * bytes_per_layer());
  group_ = cache_ != nullptr ? all : std::clamp<int64_t>(fit, 1, all);
  arena_.plan([this](Carver& carver) { carve(carver); });
}

template <class S>
void StackedRecompute<S>::carve(Carver& carver) {
  const golden::ModelConfig& c = config_;
  const int64_t D = c.hidden_size, F = c.intermediate_size, G = group_;
  const int64_t Q = c.num_attention_heads * c.head_dim, KV = c.num_key_value_heads * c.head_dim;
  const int64_t rows = parts_->method.recomputes_mlp() ? N() : 0;  // of MLPs
  wide_sum_ = carver.view<A>({N(), D});
  Arrays& x = arrays_;
  x.normalised = carver.view<S>({pre_norm() ? N() : 0, D});
  x.wide_v = carver.view<A>({N(), G * KV});
  x.v = carver.view<S>({B_, G * c.num_key_value_heads, T_, c.head_dim});
  x.context = carver.view<S>({N(), G * Q});
  for (View<S, 2>* array : {&x.attn_out, &x.mlp_norm}) *array = carver.view<S>({G * rows, D});
  x.gate = carver.view<A>({llama() ? G * rows : 0, F});
  x.up = carver.view<A>({G * rows, F});
  x.act = carver.view<S>({rows, G * F});
}

// ------------------------------------------------------------------------------------------------
// the sum

template <class S>
void StackedRecompute<S>::form_sum(View<S, 2> sum, const Input& input) {
  const Method& method = parts_->method;
  const int64_t l = input.l, K = weights_.K();
  const bool with_own = method.combine != Combine::sum;
  const TermWeights<A> terms{
      parts_->mix.weights_of(l),
      method.combine == Combine::mean ? static_cast<A>(1 / static_cast<double>(l + 1)) : A(1)};
  normalise(input.x);
  for (Group group; group.first < l; group.first += group.count) {
    group.count = std::min(group_, l - group.first);
    const TermWeights<A> own_terms{terms.weights == nullptr ? nullptr : terms.weights + group.first,
                                   terms.scale};
    form_group(input, group, own_terms, Placed::side_by_side);
    const S* factors = method.recomputes_mlp() ? arrays_.act.data : arrays_.context.data;
    gemm<S>(wide_sum_, {factors, {N(), group.count * K}}, weights_.out(group.first, group.count),
            {}, queue_, parts_->operands,
            {.w_row = weights_.out_row(), .accumulate = group.first > 0});
  }
  const Affine<S>& out = method.recomputes_mlp() ? first_layer().w_down : first_layer().wo;
  sum_epilogue<S>(sum, wide_sum_, {out.bias.data, weights_.layer_stride(), l}, terms,
                  with_own ? input.own.data : nullptr, with_own ? parts_->mix.weight(l, l) : 0.0,
                  queue_);
}

template <class S>
void StackedRecompute<S>::form_terms(S* y, const Group& group) {
  if (parts_->method.recomputes_mlp()) {
    gemms(y, arrays_.act.data, first_layer().w_down, group);
  } else {
    gemms(y, arrays_.context.data, first_layer().wo, group);
  }
}

// Of methods that run MLPs again contexts are no factors of the sum.
template <class S>
void StackedRecompute<S>::form_group(const Input& input, const Group& group,
                                     const TermWeights<A>& terms, Placed placed) {
  form_values(input, group, placed);
  replay(input, group, terms, placed);
  if (parts_->method.recomputes_mlp()) run_mlps(input, group, terms, placed);
}

template <class S>
void StackedRecompute<S>::normalise(View<const S, 2> x) {
  if (!pre_norm()) return;
  const Norm<S>& unit = weights_.unit();
  if (llama()) {
    rms_norm(arrays_.normalised, x, unit.gain, config_.rms_norm_eps, queue_);
  } else {
    layer_norm(arrays_.normalised, x, {}, unit.gain, unit.bias, config_.layer_norm_eps, queue_);
  }
}

template <class S>
void StackedRecompute<S>::form_values(const Input& input, const Group& group, Placed placed) {
  const int64_t Hkv = config_.num_key_value_heads, Dh = config_.head_dim, D = config_.hidden_size;
  const View<const S, 2> x = pre_norm() ? View<const S, 2>(arrays_.normalised) : input.x;
  if (placed == Placed::apart) {
    const int64_t KV = Hkv * Dh;
    Affine<S> by = weights_.v(group.first, 1);
    gemm<S>(View<A, 2>{arrays_.wide_v.data, {N(), KV}}, x, by.weight, by.bias, queue_,
            parts_->operands, {.count = group.count, .y = N() * KV, .w = KV * D, .bias = KV});
    split_heads(View<S, 4>{arrays_.v.data, {group.count * B_, Hkv, T_, Dh}},
                {arrays_.wide_v.data, {group.count * B_, T_, KV}}, queue_);
    return;
  }
  const int64_t heads = group.count * Hkv;
  const Affine<S> by = weights_.v(group.first, group.count);
  const View<A, 2> wide{arrays_.wide_v.data, {N(), heads * Dh}};
  gemm<S>(wide, x, by.weight, by.bias, queue_, parts_->operands);
  const View<S, 4> v{arrays_.v.data, {B_, heads, T_, Dh}};
  split_heads(v, wide.as({B_, T_, heads * Dh}), queue_);
  if (cache_ != nullptr) {
    append_rows<S>(cache_->recompute_v_stack(input.l), v, cache_->position_offset.data,
                   cache_->counts.data, queue_, cache_->ring, cache_->block_table);
  }
}

template <class S>
void StackedRecompute<S>::replay(const Input& input, const Group& group,
                                 const TermWeights<A>& terms, Placed placed) {
  const auto [B, H, T] = input.lse.shape;
  const int64_t Hkv = config_.num_key_value_heads, Dh = config_.head_dim, Q = H * Dh;
  const int64_t R = input.scores.rows();
  const S* v = cache_ != nullptr ? cache_->recompute_v_stack(input.l).data : arrays_.v.data;
  ReplayLayout<A> layout{.count = group.count, .context = N() * Q, .lse = B * H * T};
  if (placed == Placed::apart) {
    layout.v = B * Hkv * R * Dh;
  } else {
    layout.v = Hkv * R * Dh;
    layout.v_batch = group.count * Hkv * R * Dh;
  }
  if (placed == Placed::side_by_side && !parts_->method.recomputes_mlp()) {
    layout.context = Q;
    layout.context_row = group.count * Q;
    layout.terms = terms;
  }
  if (input.probs.data != nullptr) layout.lse = B * H * T * T;
  // Layers after each other that have one window go at once.
  const A* const weights = layout.terms.weights;
  for (int64_t done = 0; done < group.count; done += layout.count) {
    const int64_t first = group.first + done;
    layout.count = layers_alike(config_, first, group.first + group.count);
    if (weights != nullptr) layout.terms.weights = weights + done;
    const ScoreOperands<S> scores = scores_of_layer(config_, input.scores, first);
    const View<S, 3> contexts{arrays_.context.data + done * layout.context, {B, T, Q}};
    const int64_t blocks = cache_ != nullptr ? cache_->recompute_v_stack(input.l).shape[0] : B;
    const View<const S, 4> values{v + done * layout.v, {blocks, Hkv, R, Dh}};
    if (input.probs.data != nullptr) {
      stored_attention<S>(contexts, {input.probs.data + first * layout.lse, {B, H, T, T}}, scores,
                          values, queue_, layout);
    } else {
      replay_attention<S>(contexts, {input.lse.data + first * layout.lse, {B, H, T}}, scores,
                          values, queue_, layout);
    }
  }
}

template <class S>
template <class Out>
void StackedRecompute<S>::gemms(Out* y, const S* x, const Affine<S>& by, const Group& group) {
  const int64_t stride = weights_.layer_stride(), skipped = group.first * stride;
  const auto [M, K] = by.weight.shape;
  View<const S, 1> bias = by.bias;
  if (bias.data != nullptr) bias.data += skipped;
  gemm<S>(View<Out, 2>{y, {N(), M}}, {x, {N(), K}}, {by.weight.data + skipped, {M, K}}, bias,
          queue_, parts_->operands,
          {.count = group.count, .y = N() * M, .x = N() * K, .w = stride, .bias = stride});
}

template <class S>
void StackedRecompute<S>::run_mlps(const Input& input, const Group& group,
                                   const TermWeights<A>& terms, Placed placed) {
  const LayerWeights<S>& w = first_layer();
  const int64_t D = config_.hidden_size, F = config_.intermediate_size, rows = group.count * N();
  const int64_t stride = weights_.layer_stride(), skipped = group.first * stride;
  gemms(arrays_.attn_out.data, arrays_.context.data, w.wo, group);
  Norm<S> by = pre_norm() ? w.mlp_norm : w.attn_norm;
  by.gain.data += skipped;
  const View<S, 2> z{arrays_.mlp_norm.data, {rows, D}};
  const View<const S, 2> addend{arrays_.attn_out.data, {rows, D}};
  const View<const A, 2> gate{arrays_.gate.data, {rows, F}}, up{arrays_.up.data, {rows, F}};
  const bool apart = placed == Placed::apart;
  const View<S, 2> act = apart ? View<S, 2>{arrays_.act.data, {rows, F}}
                               : View<S, 2>{arrays_.act.data, {N(), group.count * F}};
  const SideBySide<A> layout{apart ? 1 : group.count, terms};
  if (llama()) {
    rms_norm_of_sum(z, input.x, addend, by.gain, config_.rms_norm_eps, queue_, stride);
    gemms(arrays_.gate.data, arrays_.mlp_norm.data, w.w_gate, group);
    gemms(arrays_.up.data, arrays_.mlp_norm.data, w.w_up, group);
    swiglu<S, A>(act, gate, up, queue_, layout);
  } else {
    by.bias.data += skipped;
    layer_norm(z, input.x, addend, by.gain, by.bias, config_.layer_norm_eps, queue_, stride);
    gemms(arrays_.up.data, arrays_.mlp_norm.data, w.w_up, group);
    const bool with_tanh = config_.activation == golden::Activation::gelu_new;
    gelu<S, A>(act, up, with_tanh, queue_, layout);
  }
}

#define ASSAY_INSTANTIATE(S) template class StackedRecompute<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
