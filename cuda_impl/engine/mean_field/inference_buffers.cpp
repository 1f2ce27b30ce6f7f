#include "cuda_impl/engine/mean_field/inference_buffers.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

std::size_t count(int64_t n) { return static_cast<std::size_t>(n); }

template <class S>
void carve_labels(InferenceBuffers<S>& x, Carver& carver, const Inference& in) {
  using A = accum_t<S>;
  const int64_t N = x.B * x.T, D = in.labels;
  x.unary.resize(count(in.pt.label_groups));
  x.label_message.resize(x.unary.size());
  x.messages.resize(count(in.groups()));
  x.label_states.assign(count(x.kept ? in.pt.iterations + 1 : 2), x.unary);
  x.label_scores.assign(count(x.kept ? in.pt.iterations : 1), x.unary);
  for (View<S, 2>& unary : x.unary) unary = carver.view<S>({N, D});
  for (View<S, 2>& message : x.messages) message = carver.view<S>({N, D});
  for (auto* rounds : {&x.label_states, &x.label_scores}) {
    for (auto& round : *rounds) {
      for (View<S, 2>& array : round) array = carver.view<S>({N, D});
    }
  }
  if (in.pt.label_damping != 0) {
    for (View<A, 2>& message : x.label_message) message = carver.view<A>({N, D});
  }
  x.sum = carver.view<S>({N, D});
}

template <class S>
void carve_heads(InferenceBuffers<S>& x, Carver& carver, const Inference& in, bool decode) {
  using A = accum_t<S>;
  const int64_t rounds = in.pt.iterations, head_groups = in.pt.head_groups;
  x.q.assign(count(rounds), std::vector<View<S, 4>>(count(in.groups())));
  x.k.assign(decode ? 1 : x.q.size(), x.q[0]);
  for (auto* arrays : {&x.q, &x.k}) {
    for (auto& round : *arrays) {
      for (View<S, 4>& array : round) array = carver.view<S>({x.B, in.heads(), x.T, in.pt.rank});
    }
  }
  x.lse.resize(count(head_groups));
  for (int64_t g = 0; g < head_groups; ++g) {
    x.lse[count(g)].resize(count(in.updates(rounds, g)));
    for (View<A, 3>& lse : x.lse[count(g)]) lse = carver.view<A>({x.B, in.pt.channels, x.T});
    x.q_table.push_back(carver.take<const S*>(rounds * in.pt.label_groups));
    x.k_table.push_back(carver.take<const S*>(rounds * in.pt.label_groups));
    x.lse_table.push_back(carver.take<const A*>(rounds));
  }
  x.wide = carver.view<A>({x.B * x.T, in.width()});
  x.context = carver.view<A>({x.B, x.T, in.width()});
  x.dependents = carver.view<A>({x.B, in.full() ? x.T : 0, in.width()});
}

template <class S>
void carve(InferenceBuffers<S>& x, Carver& carver, const InferenceParts<S>& parts, bool decode) {
  using A = accum_t<S>;
  const Inference& in = parts.inference;
  x.q_table.clear();
  x.k_table.clear();
  x.lse_table.clear();
  x.tokens = carver.view<int32_t>({x.B, x.T});
  x.labels = carver.view<int32_t>({x.B, x.T});
  x.real = carver.view<uint8_t>({x.B, x.T});
  x.offsets = carver.view<int32_t>({in.distances(), 2});
  x.even = carver.view<A>({x.B, x.T});
  carve_labels(x, carver, in);
  carve_heads(x, carver, in, decode);
  const int64_t rows = decode ? x.B : x.B * x.T, several = in.pt.label_groups > 1 ? rows : 0;
  const int64_t V = parts.config.vocab_size;
  x.last = carver.view<S>({decode ? x.B : 0, in.labels});
  x.logits = carver.view<S>({rows, V});
  x.wide_logits = carver.view<A>({several, V});
  x.term = carver.view<A>({several, V});
  x.losses = carver.view<A>({x.B, x.T});
  x.loss = carver.view<A>({1});
  x.message_table = carver.take<const S*>(in.groups());
}

template <class T>
void fill(T* table, const std::vector<T>& values, Stream stream) {
  simt::copy_in(table, values.data(), values.size() * sizeof(T), stream);
}

// Heads read k where a pass leaves it, in decoding in the cache.
template <class S>
void fill_tables(InferenceBuffers<S>& x, const InferenceParts<S>& parts,
                 const InferenceCache<S>* cache) {
  using A = accum_t<S>;
  const Inference& in = parts.inference;
  const Stream stream = parts.queue;
  for (int64_t g = 0; g < in.pt.head_groups; ++g) {
    std::vector<const S*> q, k;
    std::vector<const A*> lse;
    for (int64_t n = 1; n <= in.pt.iterations; ++n) {
      if (!golden::is_updated(in.pt, n, g)) continue;
      for (int64_t m = 0; m < in.pt.label_groups; ++m) {
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
  fill(x.offsets.data, in.offsets(), stream);
}

}  // namespace

template <class S>
bool plan_inference(InferenceBuffers<S>& buffers, Arena& arena, const InferenceParts<S>& parts,
                    const InferenceShape& shape, const InferenceCache<S>* cache) {
  const auto [B, T, keep] = shape;
  if (buffers.B == B && buffers.T == T && buffers.kept >= keep) return false;
  buffers.B = 0;  // if the allocation throws, nothing stands
  InferenceBuffers<S> planned;
  planned.B = B;
  planned.T = T;
  planned.kept = keep;
  arena.plan([&](Carver& carver) { carve(planned, carver, parts, cache != nullptr); });
  fill_tables(planned, parts, cache);
  buffers = std::move(planned);
  return true;
}

#define ASSAY_INSTANTIATE(S)                                                           \
  template bool plan_inference(InferenceBuffers<S>&, Arena&, const InferenceParts<S>&, \
                               const InferenceShape&, const InferenceCache<S>*);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
