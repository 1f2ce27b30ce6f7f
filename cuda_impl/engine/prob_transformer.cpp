#include "cuda_impl/engine/prob_transformer.h"

#include "cuda_impl/engine/batch.h"
#include "cuda_impl/engine/prob_transformer_backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
ProbTransformer<S>::ProbTransformer(const golden::ModelConfig& config, golden::Precision precision,
                                    const golden::WeightSource& weights)
    : config_((golden::validate(config, "model"), config)),
      in_(config),
      precision_(precision),
      operands_(operands_of(precision)),
      weights_(config, weights) {
  if (in_.pt.rank > kMaxHeadSize) {
    throw InputError(fmt::format("model: pt: rank: the kernels hold at most {}, got {}",
                                 kMaxHeadSize, in_.pt.rank));
  }
}

template <class S>
ProbTransformer<S>::~ProbTransformer() = default;

template <class S>
golden::PrecisionSchedule ProbTransformer<S>::precision() const {
  return golden::usual_schedule(precision_);
}

template <class S>
void ProbTransformer<S>::forward(const Batch& batch, Probe* probe) {
  run_forward(batch, probe, false);
  simt::synchronize();  // a fault on the device is reported by the pass that caused it
}

template <class S>
std::unique_ptr<Decoder> ProbTransformer<S>::decoder(int64_t, int64_t) {
  throw Unsupported("method pt: the engine does not decode it: forward computes whole sequences");
}

template <class S>
double ProbTransformer<S>::gradients([[maybe_unused]] const Batch& batch,
                                     [[maybe_unused]] const ReceiveGradient& receive) {
  if constexpr (simt::HookedScalar<S>) {
    throw Unsupported("gradients: the backward kernels are not built for this scalar");
  } else {
    if (backward_ == nullptr) backward_ = std::make_unique<InferenceBackward<S>>(*this);
    run_forward(batch, nullptr, true);
    return backward_->run(receive);
  }
}

template <class S>
void ProbTransformer<S>::run_forward(const Batch& batch, Probe* probe, bool keep) {
  check_batch(config_, batch);
  prepare(batch, keep);
  Taps taps(probe, list_, queue_);
  start(taps);
  for (int64_t n = 1; n <= in_.pt.iterations; ++n) round(n, taps);
  close(taps);
  taps.finish();
}

namespace {

// [B,T]: 1 / how many words can be the head of t, 0 where none can.
template <class A>
std::vector<A> even_heads(const Batch& batch, bool causal) {
  const auto T = static_cast<std::size_t>(batch.positions);
  std::vector<A> even;
  for (std::size_t row = 0; row < batch.attention_mask.size(); row += T) {
    const auto real = batch.attention_mask.subspan(row, T);
    int64_t words = 0, before = 0;
    for (const uint8_t word : real) words += word;
    for (const uint8_t word : real) {
      const int64_t heads = word == 0 ? 0 : causal ? before : words - 1;
      even.push_back(heads == 0 ? A(0) : static_cast<A>(1 / static_cast<double>(heads)));
      before += word;
    }
  }
  return even;
}

}  // namespace

template <class S>
void ProbTransformer<S>::prepare(const Batch& batch, bool keep) {
  if (buffers_.B != batch.batch || buffers_.T != batch.positions) {
    list_ = golden::tensor_list(config_, batch.batch, batch.positions);
  }
  plan_inference(buffers_, arena_, in_, config_.vocab_size, batch.batch, batch.positions, keep,
                 queue_);
  simt::copy_in(buffers_.tokens.data, batch.tokens.data(), batch.tokens.size_bytes(), queue_);
  simt::copy_in(buffers_.real.data, batch.attention_mask.data(), batch.attention_mask.size_bytes(),
                queue_);
  simt::copy_in(buffers_.labels.data, batch.labels.data(), batch.labels.size_bytes(), queue_);
  if (!golden::starts_even(in_.pt)) return;
  const std::vector<A> even = even_heads<A>(batch, in_.pt.causal_heads);
  simt::copy_in(buffers_.even.data, even.data(), even.size() * sizeof(A), queue_);
}

// Qz^(0) = softmax(S); Qh^(0) uniform
template <class S>
void ProbTransformer<S>::start(Taps& taps) {
  for (int64_t m = 0; m < in_.pt.label_groups; ++m) {
    const View<S, 2> unary = buffers_.unary[static_cast<std::size_t>(m)];
    const View<S, 2> labels = buffers_.states_of(0, m);
    embedding(unary, weights_.unary[static_cast<std::size_t>(m)], {}, buffers_.tokens, nullptr,
              queue_);
    taps.offer(label_tensor("embed", m), unary);
    softmax_step(labels, {}, unary, 1.0, queue_);
    taps.offer(golden::round_name(0, label_tensor("labels", m)), labels);
  }
  if (!golden::starts_even(in_.pt)) return;
  for (int64_t g = 0; g < in_.pt.head_groups; ++g) offer_heads(0, g, 0, taps);
}

template <class S>
void ProbTransformer<S>::round(int64_t n, Taps& taps) {
  int64_t speaking = 0;  // head groups: the first ones
  for (int64_t g = 0; g < in_.pt.head_groups; ++g) {
    if (!golden::takes_part(in_.pt, n, g)) continue;
    ++speaking;
    project_labels(n, g, taps);
    if (golden::is_updated(in_.pt, n, g)) update_heads(n, g, taps);
    for (int64_t m = 0; m < in_.pt.label_groups; ++m) {
      send_message(n, g, m);
      taps.offer(golden::round_name(n, fmt::format("message/{}", g + m)),
                 buffers_.messages[static_cast<std::size_t>(g + m)]);
    }
  }
  if (in_.pt.label_groups > 1) {
    for (int64_t m = 0; m < in_.pt.label_groups; ++m) {
      update_labels(n, m, buffers_.messages[static_cast<std::size_t>(m)], taps);
    }
    return;
  }
  add_n<S>(buffers_.sum, buffers_.message_table, speaking, nullptr, nullptr, 1.0, queue_);
  taps.offer(golden::round_name(n, "message/sum"), buffers_.sum);
  update_labels(n, 0, buffers_.sum, taps);
}

// Q_c = Qz U^(c), V_c = Qz V^(c), of the labels of the round before
template <class S>
void ProbTransformer<S>::project_labels(int64_t n, int64_t g, Taps& taps) {
  for (int64_t m = 0; m < in_.pt.label_groups; ++m) {
    const auto name = [&](const char* tensor) {
      return golden::round_name(n, label_tensor(head_tensor(tensor, g), m));
    };
    const View<S, 2> labels = buffers_.states_of(n - 1, m);
    if (golden::needs_queries(in_.pt, n, g)) {
      project(buffers_.q_of(n, g + m), labels, factors(g + m).u);
      taps.offer(name("q"), buffers_.q_of(n, g + m));
    }
    project(buffers_.k_of(n, g + m), labels, factors(g + m).v);
    taps.offer(name("k"), buffers_.k_of(n, g + m));
  }
}

template <class S>
void ProbTransformer<S>::project(View<S, 4> heads, View<const S, 2> labels, View<const S, 2> by) {
  const auto [B, KC, T, r] = heads.shape;
  product<S>(buffers_.wide, labels, by, {}, queue_, operands_);
  split_heads(heads, buffers_.wide.as({B, T, KC * r}), queue_);
}

template <class S>
void ProbTransformer<S>::update_heads(int64_t n, int64_t g, Taps& taps) {
  const int64_t updates = in_.updates(n, g);
  const HeadOperands<S> heads = heads_of(g, updates, in_.damped());
  head_lse(buffers_.lse_of(g, updates - 1), heads, queue_);
  taps.offer_made(golden::round_name(n, head_tensor("scores", g)), [&] {
    const View<A, 4> out = matrix();
    head_scores(out, heads, queue_);
    return out;
  });
  offer_heads(n, g, updates, taps);
}

template <class S>
void ProbTransformer<S>::offer_heads(int64_t n, int64_t g, int64_t updates, Taps& taps) {
  taps.offer_made(golden::round_name(n, head_tensor("heads", g)), [&] {
    const View<A, 4> out = matrix();
    head_probs(out, heads_of(g, updates, in_.damped() || in_.stepped()), queue_);
    return out;
  });
}

// G_g = sum_c Qh_c V_c U^(c)T, twice that, or with sum_c Qh_c^T Q_c V^(c)T
template <class S>
void ProbTransformer<S>::send_message(int64_t n, int64_t g, int64_t m) {
  InferenceBuffers<S>& buf = buffers_;
  const HeadOperands<S> heads = heads_heard(n, g);
  const Factors<S>& w = factors(g + m);
  const int64_t N = buf.B * buf.T, P = in_.width();
  heads_sum(buf.context, heads, buf.k_of(n, g + m), false, queue_);
  View<A, 2> from_dependents;
  if (in_.full()) {
    dependents_sum(buf.dependents, heads, buf.q_of(n, g + m), false, queue_);
    from_dependents = buf.dependents.as({N, P});
  }
  linear_back(buf.messages[static_cast<std::size_t>(g + m)], buf.context.as({N, P}), w.u,
              from_dependents, w.v, in_.message_scale(), queue_);
}

template <class S>
void ProbTransformer<S>::update_labels(int64_t n, int64_t m, View<const S, 2> sum, Taps& taps) {
  const auto group = static_cast<std::size_t>(m);
  const View<S, 2> scores = buffers_.scores_of(n, m), labels = buffers_.states_of(n, m);
  label_scores(scores, buffers_.label_message[group], buffers_.unary[group], sum,
               in_.pt.label_damping, n == 1, 1 / in_.pt.lambda_z, queue_);
  taps.offer(golden::round_name(n, label_tensor("label_scores", m)), scores);
  softmax_step(labels, buffers_.states_of(n - 1, m), scores, in_.pt.label_step, queue_);
  taps.offer(golden::round_name(n, label_tensor("labels", m)), labels);
}

// logits = sum over label groups of what the output layer makes of each
template <class S>
void ProbTransformer<S>::close(Taps& taps) {
  InferenceBuffers<S>& buf = buffers_;
  const View<S, 2> logits = buf.logits.as({buf.B * buf.T, config_.vocab_size});
  if (in_.pt.label_groups == 1) {
    product<S>(logits, read(0), weights_.output[0], {}, queue_, operands_);
  } else {
    product<S>(buf.wide_logits, read(0), weights_.output[0], {}, queue_, operands_);
    for (int64_t m = 1; m < in_.pt.label_groups; ++m) {
      product<S>(buf.term, read(m), weights_.output[static_cast<std::size_t>(m)], {}, queue_,
                 operands_);
      accumulate(buf.wide_logits, buf.term, 1.0, queue_);
    }
    scaled(logits, buf.wide_logits, 1.0, queue_);
  }
  taps.offer("logits", buf.logits);
  cross_entropy<S>(buf.loss, buf.losses, buf.logits, buf.labels, queue_, in_.ahead());
  taps.offer("loss", buf.loss);
}

template <class S>
HeadOperands<S> ProbTransformer<S>::heads_of(int64_t g, int64_t updates, bool history) const {
  const auto group = static_cast<std::size_t>(g);
  const int64_t first = history || updates == 0 ? 0 : updates - 1;
  const InferenceBuffers<S>& buf = buffers_;
  return {.q = buf.q_table[group] + first * in_.pt.label_groups,
          .k = buf.k_table[group] + first * in_.pt.label_groups,
          .lse = buf.lse_table[group] + first,
          .even = golden::starts_even(in_.pt) ? buf.even : View<A, 2>{},
          .real = buf.real,
          .offsets = buf.offsets,
          .updates = updates - first,
          .terms = in_.pt.label_groups,
          .channels = in_.pt.channels,
          .rank = in_.pt.rank,
          .scale = 1 / in_.pt.lambda_h,
          .damping = in_.pt.head_damping,
          .step = in_.pt.head_step,
          .causal = in_.pt.causal_heads};
}

template <class S>
View<accum_t<S>, 4> ProbTransformer<S>::matrix() {
  View<A, 4> out;
  matrix_arena_.plan([&](Carver& carver) {
    out = carver.view<A>({buffers_.B, in_.pt.channels, buffers_.T, buffers_.T});
  });
  return out;
}

#define ASSAY_INSTANTIATE(S) template class ProbTransformer<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
