// window_sizes: how many positions each query of a dynamic window sees, from scores up to its own.
// With g = floor(h / (H/Hkv)) and the keys s visible within the widest window:
//   sums[b,h,t] = sum_s |q[b,h,t] . k[b,g,s]|,  keys[b,t] = how many s
//   z_t = sum_h sums[b,h,t] / (H keys[b,t]),  0 without a key
//   min, max over z_t and the z of the real positions before t
//   sizes[b,t] = least + floor( (z_t - min) / (max - min) (width - least) ),  1/2 where min = max
//
//   q                [B,H,T,Dh], k [B,Hkv,R,Dh]  stored as S, through device tables of one pointer
//   padding_mask     [B,R]      0 = padding; a padded query enters no extreme
//   position_offset  [B]        the position of query 0; null: 0, and R = T
//   before           [B,1,R,2]  extremes up to the position of each row of a cache, or of its
//                               blocks, of which that before query 0 is read; null without a cache
//   sizes            [B,T], extremes [B,1,T,2]; scratch: sums [B,H,T], keys [B,T]
// width is the window of the scores, whatever their positions. Launch: one block of 4 warps per 32
// queries of one head, keys in tiles of 32; then one warp per batch row, 32 positions at a time.
// A key adds to the sum of its lane s mod 32 in ascending order, whatever the chunk, so that a step
// of decoding has the bits of the whole. Longest addition chain: scores Dh + 1; sums
// ceil(T/32) + 5, then H.
// CPU counterpart: reference/ops/dynamic_window.cpp
#include "cuda_impl/kernels/tiles/score_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class S>
__global__ void __launch_bounds__(kScoreThreads, 2)
    score_sizes_kernel(accum_t<S>* __restrict__ g_sums, int32_t* __restrict__ g_keys,
                       ScoreParams<S> p) {
  using A = accum_t<S>;
  simt::Smem smem;
  ScoreTile<S> tile(smem, p.Dh);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int query0 = static_cast<int>(blockIdx.x) * kQueries;
  const int row0 = query0 + warp * kRowsPerWarp;  // the warp's first query
  const int position_offset = p.position_offset(b);
  const int end = p.key_end(position_offset, query0 + kQueries);
  const int start = p.window.next_tile(0, position_offset + query0, kKeys);

  A r_sum[kRowsPerWarp] = {};
  int r_keys[kRowsPerWarp] = {};
  for (int key0 = start; key0 < end;
       key0 = p.window.next_tile(key0 + kKeys, position_offset + query0, kKeys)) {
    __syncthreads();  // every thread has read the tiles before
    A r_score[kRowsPerWarp];
    tile.scores(r_score, p, b, h, query0, position_offset, key0, key0 > start);
    const bool is_real =
        key0 + lane < end && p.padding_mask[int64_t{b} * p.R + p.ring.row_of(key0) + lane] != 0;
    const auto rows = p.window.rows_of(key0 + lane, position_offset + row0, kRowsPerWarp);
    SIMT_UNROLL for (int r = 0; r < kRowsPerWarp; ++r) {
      if (!is_real || !rows.contains(r)) continue;
      r_sum[r] += r_score[r] < A(0) ? -r_score[r] : r_score[r];
      ++r_keys[r];
    }
  }
  for (int r = 0; r < kRowsPerWarp; ++r) {
    const A sum = simt::warp_sum(r_sum[r]);
    const auto keys = static_cast<int32_t>(simt::warp_sum(A(r_keys[r])));  // a whole number
    if (lane != 0 || row0 + r >= p.T) continue;
    g_sums[(int64_t{b} * p.H + h) * p.T + row0 + r] = sum;
    if (h == 0) g_keys[int64_t{b} * p.T + row0 + r] = keys;
  }
}

// The extremes of this lane's and all lower ones.
template <class A>
SIMT_DEVICE void scan_extremes(A& least, A& most, int lane) {
  for (int step = 1; step < 32; step *= 2) {
    const int from = lane >= step ? lane - step : lane;
    const A lower = __shfl_sync(simt::kFullMask, least, from);
    const A higher = __shfl_sync(simt::kFullMask, most, from);
    if (lower < least) least = lower;
    if (higher > most) most = higher;
  }
}

template <class S>
__global__ void window_sizes_kernel(int32_t* __restrict__ g_sizes,
                                    accum_t<S>* __restrict__ g_extremes,
                                    const accum_t<S>* __restrict__ g_sums,
                                    const int32_t* __restrict__ g_keys,
                                    const accum_t<S>* __restrict__ g_before, ScoreParams<S> p,
                                    int least_size, int width) {
  using A = accum_t<S>;
  const int lane = static_cast<int>(threadIdx.x), b = static_cast<int>(blockIdx.x);
  const int position_offset = p.position_offset(b);
  A before_least = kInfinity<A>, before_most = -kInfinity<A>;
  if (g_before != nullptr && position_offset > 0) {
    int64_t row = int64_t{b} * p.R + p.ring.row_of(position_offset - 1);
    if (p.blocks.blocks != nullptr) {
      const auto [block, row_of_block] = p.blocks.of(b, position_offset - 1);
      row = block * p.blocks.rows + row_of_block;
    }
    before_least = g_before[row * 2];
    before_most = g_before[row * 2 + 1];
  }
  for (int t0 = 0; t0 < p.T; t0 += 32) {
    const int t = t0 + lane, position = position_offset + t;
    const bool exists = t < p.T && position < p.positions;
    A z = A(0);
    if (exists) {
      for (int h = 0; h < p.H; ++h) z += g_sums[(int64_t{b} * p.H + h) * p.T + t];
      const int keys = g_keys[int64_t{b} * p.T + t];
      z = keys == 0 ? A(0) : z / (A(p.H) * A(keys));
    }
    const bool real = exists && p.padding_mask[int64_t{b} * p.R + p.ring.row_of(position)] != 0;
    // Up to t: this lane's, those of lower lanes, those before.
    A least = real ? z : kInfinity<A>, most = real ? z : -kInfinity<A>;
    scan_extremes(least, most, lane);
    if (before_least < least) least = before_least;
    if (before_most > most) most = before_most;
    if (t < p.T) {
      g_extremes[(int64_t{b} * p.T + t) * 2] = least;
      g_extremes[(int64_t{b} * p.T + t) * 2 + 1] = most;
      const A low = z < least ? z : least, high = z > most ? z : most;
      const A share = low < high ? (z - low) / (high - low) : A(0.5);
      g_sizes[int64_t{b} * p.T + t] =
          least_size + static_cast<int32_t>(share * A(width - least_size));
    }
    before_least = __shfl_sync(simt::kFullMask, least, 31);
    before_most = __shfl_sync(simt::kFullMask, most, 31);
  }
}

}  // namespace

template <class S>
void window_sizes(const WindowSizes<S>& out, const ScoreOperands<S>& scores, Stream stream) {
  const char* const kernel = "window_sizes";
  const auto [B, R] = scores.padding_mask.shape;
  const int64_t T = out.sizes.shape[1], H = scores.H;
  const ScoreParams<S> params = score_params(kernel, scores, T);
  expect_at_most(kernel, "layers", scores.layers, 1);
  expect_at_most(kernel, "least", out.least, scores.window);
  expect_shape(kernel, "sizes [B,T]", out.sizes, {B, T});
  expect_shape(kernel, "extremes [B,1,T,2]", out.extremes, {B, 1, T, 2});
  expect_shape(kernel, "sums [B,H,T]", out.sums, {B, H, T});
  expect_shape(kernel, "keys [B,T]", out.keys, {B, T});
  if (out.before.data != nullptr) {
    const bool in_blocks = scores.blocks.blocks != nullptr;
    expect_shape(kernel, "before [B,1,R,2] or [blocks,1,rows,2]", out.before,
                 {in_blocks ? out.before.shape[0] : B, 1, scores.rows(), 2});
  }
  simt::launch(LaunchName(kernel, out.sums.shape).text, score_sizes_kernel<S>,
               dim3(blocks_for(T, kQueries), static_cast<unsigned>(H), static_cast<unsigned>(B)),
               dim3(kScoreThreads), score_smem<S>(scores.Dh).bytes, stream, out.sums.data,
               out.keys.data, params);
  simt::launch(LaunchName("window_sizes, extremes", out.sums.shape).text, window_sizes_kernel<S>,
               dim3(static_cast<unsigned>(B)), dim3(32), 0, stream, out.sizes.data,
               out.extremes.data, out.sums.data, out.keys.data, out.before.data, params,
               static_cast<int>(out.least), static_cast<int>(scores.window));
}

#define ASSAY_INSTANTIATE(S) \
  template void window_sizes(const WindowSizes<S>&, const ScoreOperands<S>&, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
