#include "cuda_impl/engine/mean_field/mean_field_backward.h"

#include "cuda_impl/engine/weights/read_back.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

std::size_t index(int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

template <class S>
double MeanFieldBackward<S>::run(const ReceiveGradient& receive) {
  clear();
  add_gradients(1.0);
  if (receive) read_back(gradients_, pass_.config_, pass_.queue_, receive);
  A loss{};
  simt::copy_out(&loss, pass_.buffers_.loss.data, sizeof loss, pass_.queue_);
  return static_cast<double>(loss);
}

template <class S>
void MeanFieldBackward<S>::add_gradients(double scale) {
  prepare();
  head(scale);
  for (int64_t n = pass_.schedule_.pt.iterations; n >= 1; --n) round(n);
  for (int64_t m = 0; m < pass_.schedule_.pt.label_groups; ++m) unary(m);
}

// ------------------------------------------------------------------------------------------------
// memory

template <class S>
const FactorArrays<accum_t<S>>& MeanFieldBackward<S>::clear() {
  gradient_arena_.plan([&](Carver& carver) { carve(gradients_, carver, pass_.config_); });
  for_each_array(gradients_, pass_.config_,
                 [&](const std::string&, const View<A, 2>& array) { zero(array); });
  return gradients_;
}

template <class S>
void MeanFieldBackward<S>::prepare() {
  if (scratch_.plan != pass_.plans_) {
    Scratch planned;
    planned.B = pass_.buffers_.B;
    planned.T = pass_.buffers_.T;
    planned.plan = pass_.plans_;
    scratch_arena_.plan([&](Carver& carver) { carve_scratch(planned, carver); });
    scratch_ = std::move(planned);
    for (int64_t g = 0; g < pass_.schedule_.pt.head_groups; ++g) fill_tables(g);
  }
  for (auto* arrays : {&scratch_.d_labels, &scratch_.d_message, &scratch_.d_unary}) {
    for (const View<A, 2>& array : *arrays) zero(array);
  }
}

template <class S>
void MeanFieldBackward<S>::carve_scratch(Scratch& x, Carver& carver) const {
  const MeanFieldSchedule& schedule = pass_.schedule_;
  const int64_t N = x.B * x.T, D = schedule.labels, P = schedule.width();
  const int64_t rounds = schedule.pt.iterations, terms = schedule.pt.label_groups;
  for (auto* arrays : {&x.d_labels, &x.d_message, &x.d_unary, &x.d_read}) {
    arrays->resize(index(terms));
    for (View<A, 2>& array : *arrays) array = carver.view<A>({N, D});
  }
  x.rounded.resize(index(terms));
  for (View<S, 2>& array : x.rounded) array = carver.view<S>({N, D});
  for (auto* arrays : {&x.d_q, &x.d_k}) {
    arrays->resize(index(terms));
    for (View<A, 3>& array : *arrays) array = carver.view<A>({x.B, x.T, P});
  }
  x.du.assign(index(rounds), std::vector<View<S, 4>>(index(schedule.groups())));
  x.dv = x.du;
  for (auto* arrays : {&x.du, &x.dv}) {
    const int64_t batch = arrays == &x.du || schedule.full() ? x.B : 0;
    for (auto& round : *arrays) {
      for (View<S, 4>& array : round)
        array = carver.view<S>({batch, schedule.heads(), x.T, schedule.pt.rank});
    }
  }
  x.delta.resize(index(schedule.pt.head_groups));
  for (auto* tables : {&x.used_q, &x.used_k, &x.du_table, &x.dv_table}) tables->clear();
  x.weights.clear();
  x.delta_table.clear();
  for (int64_t g = 0; g < schedule.pt.head_groups; ++g) {
    const int64_t updates = schedule.updates(rounds, g);
    x.delta[index(g)].resize(index(updates));
    for (View<A, 3>& array : x.delta[index(g)]) {
      array = carver.view<A>({x.B, schedule.pt.channels, x.T});
    }
    for (auto* tables : {&x.used_q, &x.used_k, &x.du_table, &x.dv_table}) {
      tables->push_back(carver.take<const S*>(rounds * terms));
    }
    x.weights.push_back(carver.take<A>(updates * rounds));
    x.delta_table.push_back(carver.take<const A*>(updates));
  }
  x.wide = carver.view<S>({N, P});
  x.counted = carver.view<A>({1});
}

template <class S>
void MeanFieldBackward<S>::fill_tables(int64_t g) {
  const MeanFieldSchedule& schedule = pass_.schedule_;
  const int64_t rounds = schedule.pt.iterations;
  const auto fill = [&](auto* table, const auto& values) {
    simt::copy_in(table, values.data(), values.size() * sizeof(values[0]), pass_.queue_);
  };
  std::vector<const S*> q, k, du, dv;
  for (int64_t n = 1; n <= rounds; ++n) {
    for (int64_t group = g; group < g + schedule.pt.label_groups; ++group) {
      q.push_back(pass_.buffers_.q_of(n, group).data);
      k.push_back(pass_.buffers_.k_of(n, group).data);
      du.push_back(scratch_.du[index(n - 1)][index(group)].data);
      dv.push_back(scratch_.dv[index(n - 1)][index(group)].data);
    }
  }
  std::vector<A> weights;
  std::vector<const A*> delta;
  for (int64_t i = 0; i < schedule.updates(rounds, g); ++i) {
    for (int64_t n = 1; n <= rounds; ++n)
      weights.push_back(static_cast<A>(schedule.share(i, n, g)));
    delta.push_back(scratch_.delta[index(g)][index(i)].data);
  }
  fill(scratch_.used_q[index(g)], q);
  fill(scratch_.used_k[index(g)], k);
  fill(scratch_.du_table[index(g)], du);
  fill(scratch_.dv_table[index(g)], dv);
  fill(scratch_.weights[index(g)], weights);
  fill(scratch_.delta_table[index(g)], delta);
}

// ------------------------------------------------------------------------------------------------
// behind the last round, before the first one

template <class S>
void MeanFieldBackward<S>::head(double scale) {
  MeanFieldBuffers<S>& buf = pass_.buffers_;
  const Stream queue = pass_.queue_;
  const int label_shift = pass_.schedule_.label_shift();
  counted_positions(scratch_.counted, buf.labels, queue, label_shift);
  const View<S, 2> d_logits = buf.logits;
  cross_entropy_backward(d_logits, d_logits, 0, buf.labels, scratch_.counted, scale, queue,
                         label_shift);
  for (int64_t m = 0; m < pass_.schedule_.pt.label_groups; ++m) {
    const View<A, 2> d_read = scratch_.d_read[index(m)];
    gemm_tn<S>(gradients_.output[index(m)], d_logits, pass_.read(m), true, queue, pass_.operands_);
    gemm_nn<S>(d_read, d_logits, pass_.weights_.output[index(m)], false, queue, pass_.operands_);
    if (!pass_.schedule_.reads_scores())
      accumulate(scratch_.d_labels[index(m)], d_read, 1.0, queue);
  }
}

// S enters as Mz^(0), in every round, which d_unary holds, and by Qz^(0) = softmax(S).
template <class S>
void MeanFieldBackward<S>::unary(int64_t m) {
  const MeanFieldBuffers<S>& buf = pass_.buffers_;
  const View<A, 2> d_unary = scratch_.d_unary[index(m)];
  const View<S, 2> rounded = scratch_.rounded[index(m)];
  accumulate(d_unary, scratch_.d_message[index(m)], pass_.schedule_.pt.label_damping, pass_.queue_);
  softmax_step_backward<S>(d_unary, scratch_.d_labels[index(m)], {}, buf.unary[index(m)], 1.0, 1.0,
                           1.0, pass_.queue_);
  scaled(rounded, d_unary, 1.0, pass_.queue_);
  embedding_backward<S>(gradients_.unary[index(m)], rounded, buf.tokens.as({buf.B * buf.T}), true,
                        pass_.queue_);
}

// ------------------------------------------------------------------------------------------------
// a round

template <class S>
void MeanFieldBackward<S>::round(int64_t n) {
  const MeanFieldSchedule& schedule = pass_.schedule_;
  for (int64_t m = 0; m < schedule.pt.label_groups; ++m) labels(n, m);
  for (int64_t g = 0; g < schedule.pt.head_groups; ++g) {
    if (!schedule.takes_part(n, g)) continue;
    for (int64_t m = 0; m < schedule.pt.label_groups; ++m) message(n, g, m);
    if (schedule.is_updated(n, g)) heads(n, g);
    for (int64_t m = 0; m < schedule.pt.label_groups; ++m) projections(n, g, m);
  }
}

template <class S>
void MeanFieldBackward<S>::labels(int64_t n, int64_t m) {
  const golden::ProbTransformer& pt = pass_.schedule_.pt;
  const View<A, 2> d_message = scratch_.d_message[index(m)];
  const bool read = n == pt.iterations && pass_.schedule_.reads_scores();
  softmax_step_backward<S>(d_message, scratch_.d_labels[index(m)],
                           read ? scratch_.d_read[index(m)] : View<A, 2>{},
                           pass_.buffers_.scores_of(n, m), pt.label_step, 1 / pt.lambda_z,
                           pt.label_damping, pass_.queue_);
  accumulate(scratch_.d_unary[index(m)], d_message, 1 - pt.label_damping, pass_.queue_);
  scaled(scratch_.rounded[index(m)], d_message,
         (1 - pt.label_damping) * pass_.schedule_.message_scale(), pass_.queue_);
}

// With du = dG U and dv = dG V: du is the gradient with respect to what heads_sum gave, dv to what
// dependents_sum gave, and each of the two sums is the other's adjoint.
template <class S>
void MeanFieldBackward<S>::message(int64_t n, int64_t g, int64_t m) {
  MeanFieldBuffers<S>& buf = pass_.buffers_;
  const Stream queue = pass_.queue_;
  const HeadOperands<S> used = pass_.heads_heard(n, g);
  const View<S, 4> k = buf.k_of(n, g + m), du = scratch_.du[index(n - 1)][index(g + m)];
  const View<S, 2> d_message = scratch_.rounded[index(m)];
  pass_.project(du, d_message, pass_.factors(g + m).u);
  heads_sum(buf.context, used, k, false, queue);
  add_outer(gradients_.factors[index(g + m)].u, buf.context, d_message);
  dependents_sum(scratch_.d_k[index(m)], used, du, false, queue);
  zero(scratch_.d_q[index(m)]);
  if (!pass_.schedule_.full()) return;
  const View<S, 4> q = buf.q_of(n, g + m), dv = scratch_.dv[index(n - 1)][index(g + m)];
  pass_.project(dv, d_message, pass_.factors(g + m).v);
  dependents_sum(buf.dependents, used, q, false, queue);
  add_outer(gradients_.factors[index(g + m)].v, buf.dependents, d_message);
  heads_sum(scratch_.d_q[index(m)], used, dv, false, queue);
}

// Without damping an update's softmax has the scores of its own q and k alone; with it later ones
// have them too.
template <class S>
void MeanFieldBackward<S>::heads(int64_t n, int64_t g) {
  const MeanFieldSchedule& schedule = pass_.schedule_;
  const int64_t update = schedule.updates(n, g) - 1,
                updates = schedule.updates(schedule.pt.iterations, g);
  const int64_t first = schedule.damped() ? 0 : update;
  const HeadOperands<S> heads =
      pass_.heads_of(g, schedule.damped() ? updates : update + 1, schedule.damped());
  const HeadUses<S> uses = uses_of(g, first);
  head_delta(scratch_.delta[index(g)][index(update)], heads, uses, update - first, pass_.queue_);
  for (int64_t m = 0; m < schedule.pt.label_groups; ++m) {
    head_gradient(scratch_.d_q[index(m)], scratch_.d_k[index(m)], heads, uses,
                  scratch_.delta_table[index(g)] + first, update - first, m, pass_.queue_);
  }
}

template <class S>
HeadUses<S> MeanFieldBackward<S>::uses_of(int64_t g, int64_t first) const {
  const int64_t rounds = pass_.schedule_.pt.iterations;
  return {.q = scratch_.used_q[index(g)],
          .k = scratch_.used_k[index(g)],
          .du = scratch_.du_table[index(g)],
          .dv = pass_.schedule_.full() ? scratch_.dv_table[index(g)] : nullptr,
          .weights = scratch_.weights[index(g)] + first * rounds,
          .uses = rounds};
}

template <class S>
void MeanFieldBackward<S>::projections(int64_t n, int64_t g, int64_t m) {
  const View<S, 2> before = pass_.buffers_.states_of(n - 1, m);
  const auto back = [&](View<A, 2> d_factor, View<const A, 3> d_heads, View<const S, 2> factor) {
    add_outer(d_factor, d_heads, before);
    gemm_nn<S>(scratch_.d_labels[index(m)], scratch_.wide, factor, true, pass_.queue_,
               pass_.operands_);
  };
  const Factors<S>& w = pass_.factors(g + m);
  back(gradients_.factors[index(g + m)].v, scratch_.d_k[index(m)], w.v);
  if (pass_.schedule_.needs_queries(n, g)) {
    back(gradients_.factors[index(g + m)].u, scratch_.d_q[index(m)], w.u);
  }
}

template <class S>
void MeanFieldBackward<S>::add_outer(View<A, 2> sum, View<const A, 3> x, View<const S, 2> y) {
  const auto [N, P] = scratch_.wide.shape;
  scaled(scratch_.wide, x.as({N, P}), 1.0, pass_.queue_);
  gemm_tn<S>(sum, scratch_.wide, y, true, pass_.queue_, pass_.operands_);
}

#define ASSAY_INSTANTIATE(S) template class MeanFieldBackward<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
