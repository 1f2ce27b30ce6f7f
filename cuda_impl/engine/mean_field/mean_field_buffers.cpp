#include "cuda_impl/engine/mean_field/mean_field_buffers.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

std::size_t count(int64_t n) { return static_cast<std::size_t>(n); }

template <class S>
void carve_labels(MeanFieldBuffers<S>& x, Carver& carver, const MeanFieldSchedule& schedule) {
  using A = accum_t<S>;
  const int64_t N = x.B * x.T, D = schedule.labels;
  x.unary.resize(count(schedule.pt.label_groups));
  x.label_message.resize(x.unary.size());
  x.messages.resize(count(schedule.groups()));
  x.label_states.assign(count(x.saved_for_backward ? schedule.pt.iterations + 1 : 2), x.unary);
  x.label_scores.assign(count(x.saved_for_backward ? schedule.pt.iterations : 1), x.unary);
  for (View<S, 2>& unary : x.unary) unary = carver.view<S>({N, D});
  for (View<S, 2>& message : x.messages) message = carver.view<S>({N, D});
  for (auto* rounds : {&x.label_states, &x.label_scores}) {
    for (auto& round : *rounds) {
      for (View<S, 2>& array : round) array = carver.view<S>({N, D});
    }
  }
  if (schedule.pt.label_damping != 0) {
    for (View<A, 2>& message : x.label_message) message = carver.view<A>({N, D});
  }
  x.sum = carver.view<S>({N, D});
}

template <class S>
void carve_heads(MeanFieldBuffers<S>& x, Carver& carver, const MeanFieldSchedule& schedule,
                 bool decode) {
  using A = accum_t<S>;
  const int64_t rounds = schedule.pt.iterations, head_groups = schedule.pt.head_groups;
  x.q.assign(count(rounds), std::vector<View<S, 4>>(count(schedule.groups())));
  x.k.assign(decode ? 1 : x.q.size(), x.q[0]);
  for (auto* arrays : {&x.q, &x.k}) {
    for (auto& round : *arrays) {
      for (View<S, 4>& array : round)
        array = carver.view<S>({x.B, schedule.heads(), x.T, schedule.pt.rank});
    }
  }
  x.lse.resize(count(head_groups));
  for (int64_t g = 0; g < head_groups; ++g) {
    x.lse[count(g)].resize(count(schedule.updates(rounds, g)));
    for (View<A, 3>& lse : x.lse[count(g)]) lse = carver.view<A>({x.B, schedule.pt.channels, x.T});
    x.q_table.push_back(carver.take<const S*>(rounds * schedule.pt.label_groups));
    x.k_table.push_back(carver.take<const S*>(rounds * schedule.pt.label_groups));
    x.lse_table.push_back(carver.take<const A*>(rounds));
  }
  x.wide = carver.view<A>({x.B * x.T, schedule.width()});
  x.context = carver.view<A>({x.B, x.T, schedule.width()});
  x.dependents = carver.view<A>({x.B, schedule.full() ? x.T : 0, schedule.width()});
}

template <class S>
void carve(MeanFieldBuffers<S>& x, Carver& carver, const MeanFieldParts<S>& parts, bool decode) {
  using A = accum_t<S>;
  const MeanFieldSchedule& schedule = parts.schedule;
  x.q_table.clear();
  x.k_table.clear();
  x.lse_table.clear();
  x.tokens = carver.view<int32_t>({x.B, x.T});
  x.labels = carver.view<int32_t>({x.B, x.T});
  x.padding_mask = carver.view<uint8_t>({x.B, x.T});
  x.offsets = carver.view<int32_t>({schedule.distances(), 2});
  x.even = carver.view<A>({x.B, x.T});
  carve_labels(x, carver, schedule);
  carve_heads(x, carver, schedule, decode);
  const int64_t rows = decode ? x.B : x.B * x.T, several = schedule.pt.label_groups > 1 ? rows : 0;
  const int64_t V = parts.config.vocab_size;
  x.last = carver.view<S>({decode ? x.B : 0, schedule.labels});
  x.logits = carver.view<S>({rows, V});
  x.wide_logits = carver.view<A>({several, V});
  x.term = carver.view<A>({several, V});
  x.losses = carver.view<A>({x.B, x.T});
  x.loss = carver.view<A>({1});
  x.message_table = carver.take<const S*>(schedule.groups());
}

template <class T>
void fill(T* table, const std::vector<T>& values, Stream stream) {
  simt::copy_in(table, values.data(), values.size() * sizeof(T), stream);
}

// Heads read k where a pass leaves it, in decoding in the cache.
template <class S>
void fill_tables(MeanFieldBuffers<S>& x, const MeanFieldParts<S>& parts,
                 const MeanFieldCache<S>* cache) {
  using A = accum_t<S>;
  const MeanFieldSchedule& schedule = parts.schedule;
  const Stream stream = parts.queue;
  for (int64_t g = 0; g < schedule.pt.head_groups; ++g) {
    std::vector<const S*> q, k;
    std::vector<const A*> lse;
    for (int64_t n = 1; n <= schedule.pt.iterations; ++n) {
      if (!schedule.is_updated(n, g)) continue;
      for (int64_t m = 0; m < schedule.pt.label_groups; ++m) {
        q.push_back(x.q_of(n, g + m).data);
        k.push_back((cache != nullptr ? cache->k_of(n, g + m) : x.k_of(n, g + m)).data);
      }
    }
    for (const View<A, 3>& array : x.lse[count(g)]) lse.push_back(array.data);
    fill(x.q_table[count(g)], q, stream);
    fill(x.k_table[count(g)], k, stream);
    fill(x.lse_table[count(g)], lse, stream);
  }
  std::vector<const S*> messages;
  for (const View<S, 2>& message : x.messages) messages.push_back(message.data);
  fill(x.message_table, messages, stream);
  fill(x.offsets.data, schedule.offsets(), stream);
}

}  // namespace

template <class S>
bool plan_mean_field(MeanFieldBuffers<S>& buffers, Arena& arena, const MeanFieldParts<S>& parts,
                     const MeanFieldShape& shape, const MeanFieldCache<S>* cache) {
  const auto [B, T, save_for_backward] = shape;
  const int64_t moves = cache == nullptr ? 0 : cache->moves();
  if (buffers.B == B && buffers.T == T && buffers.saved_for_backward >= save_for_backward &&
      buffers.cache_moves == moves) {
    return false;
  }
  buffers.B = 0;  // if the allocation throws, nothing stands
  MeanFieldBuffers<S> planned;
  planned.B = B;
  planned.T = T;
  planned.saved_for_backward = save_for_backward;
  planned.cache_moves = moves;
  arena.plan([&](Carver& carver) { carve(planned, carver, parts, cache != nullptr); });
  fill_tables(planned, parts, cache);
  buffers = std::move(planned);
  return true;
}

#define ASSAY_INSTANTIATE(S)                                                            \
  template bool plan_mean_field(MeanFieldBuffers<S>&, Arena&, const MeanFieldParts<S>&, \
                                const MeanFieldShape&, const MeanFieldCache<S>*);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
