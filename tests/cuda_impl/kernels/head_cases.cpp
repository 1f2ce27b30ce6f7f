// rope, turn_heads, split_heads, append_rows, last_rows
#include "cases.h"

namespace assay::kernel_test {
namespace {

// Row b stands at positions 3 + b .. in decoding, otherwise at 0 ..
template <class S>
Case rope_case(int64_t B, int64_t H, int64_t T, int64_t Dh, bool decodes = false) {
  using A = accum_t<S>;
  const int64_t half = Dh / 2;
  const Values x = random_values<A>(B * T * H * Dh, 1);  // [B,T,H*Dh]
  const int64_t R = decodes ? T + B + 2 : T;
  std::vector<int32_t> position_offset;
  for (int64_t b = 0; b < B; ++b)
    position_offset.push_back(decodes ? static_cast<int32_t>(3 + b) : 0);
  Values cosines, sines;  // [R,Dh/2]
  for (int64_t t = 0; t < R; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle_rad = static_cast<double>(t) / (1.0 + static_cast<double>(i));
      cosines.push_back(static_cast<double>(static_cast<A>(std::cos(angle_rad))));
      sines.push_back(static_cast<double>(static_cast<A>(std::sin(angle_rad))));
    }
  }
  return {"rope", shape_of("B H T Dh decodes", B, H, T, Dh, decodes),
          [=] {
            const auto g_x = upload<A>(x), g_cosines = upload<A>(cosines),
                       g_sines = upload<A>(sines);
            const simt::Buffer<int32_t> g_position_offset(position_offset);
            const simt::Buffer<S> y(x.size());
            cuda::rope<S>({y.get(), {B, H, T, Dh}}, {g_x.get(), {B, T, H * Dh}},
                          {g_cosines.get(), {R, half}}, {g_sines.get(), {R, half}},
                          decodes ? g_position_offset.get() : nullptr, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t h = 0; h < H; ++h)
                for (int64_t t = 0; t < T; ++t)
                  for (int64_t d = 0; d < Dh; ++d) {
                    const int64_t head = ((b * T + t) * H + h) * Dh;
                    const bool second = d >= half;
                    const int64_t angle = (position_offset[at(b)] + t) * half + d % half;
                    const double c = cosines[at(angle)];
                    const double s = sines[at(angle)] * (second ? 1 : -1);
                    const double straight = x[at(head + d)] * c;
                    const double crossed = x[at(head + (second ? d - half : d + half))] * s;
                    out.push_back(expected<S>(straight + crossed, 2,
                                              std::fabs(straight) + std::fabs(crossed)));
                  }
            return out;
          }};
}

// In place, or with `back` by the opposite angles.
template <class S>
Case turn_heads_case(int64_t B, int64_t H, int64_t T, int64_t Dh, bool back, bool decodes = false) {
  using A = accum_t<S>;
  const int64_t half = Dh / 2, R = decodes ? T + B + 2 : T;
  const Values x = random_values<S>(B * H * T * Dh, 1);
  std::vector<int32_t> position_offset;
  for (int64_t b = 0; b < B; ++b) {
    position_offset.push_back(decodes ? static_cast<int32_t>(3 + b) : 0);
  }
  Values cosines, sines;  // [R,Dh/2]
  for (int64_t i = 0; i < R * half; ++i) {
    const double angle_rad = static_cast<double>(i / half) / static_cast<double>(1 + i % half);
    cosines.push_back(static_cast<double>(static_cast<A>(std::cos(angle_rad))));
    sines.push_back(static_cast<double>(static_cast<A>(std::sin(angle_rad))));
  }
  return {"turn_heads", shape_of("B H T Dh back decodes", B, H, T, Dh, back, decodes),
          [=] {
            const auto y = upload<S>(x);
            const auto g_cosines = upload<A>(cosines), g_sines = upload<A>(sines);
            const simt::Buffer<int32_t> g_position_offset(position_offset);
            const View<S, 4> heads{y.get(), {B, H, T, Dh}};
            cuda::turn_heads<S>(heads, heads, {g_cosines.get(), {R, half}},
                                {g_sines.get(), {R, half}},
                                decodes ? g_position_offset.get() : nullptr, back, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t i = 0; i < B * H * T * Dh; ++i) {
              const int64_t d = i % Dh, t = i / Dh % T, b = i / Dh / T / H;
              const int64_t angle = (position_offset[at(b)] + t) * half + d % half;
              const bool second = d >= half;
              const double s = sines[at(angle)] * (second == back ? -1 : 1);
              const double straight = x[at(i)] * cosines[at(angle)];
              const double crossed = x[at(second ? i - half : i + half)] * s;
              out.push_back(
                  expected<S>(straight + crossed, 2, std::fabs(straight) + std::fabs(crossed)));
            }
            return out;
          }};
}

template <class S>
Case split_heads_case(int64_t B, int64_t H, int64_t T, int64_t Dh) {
  const Values x = random_values<accum_t<S>>(B * T * H * Dh, 1);
  return {"split_heads", shape_of("B H T Dh", B, H, T, Dh),
          [=] {
            const auto g_x = upload<accum_t<S>>(x);
            const simt::Buffer<S> y(x.size());
            cuda::split_heads<S>({y.get(), {B, H, T, Dh}}, {g_x.get(), {B, T, H * Dh}}, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t h = 0; h < H; ++h)
                for (int64_t t = 0; t < T; ++t)
                  for (int64_t d = 0; d < Dh; ++d) {
                    const double value = x[at(((b * T + t) * H + h) * Dh + d)];
                    out.push_back(expected<S>(value, 0, 0));
                  }
            return out;
          }};
}

// Three rows of up to 5 positions in blocks of 2, one of which two of them have, full as it is.
template <class S>
Case append_blocks_case(int64_t H, int64_t W) {
  constexpr int64_t kBlocks = 9, kRows = 2, kColumns = 3, C = 4;
  const std::vector<int32_t> first{2, 0, 3}, counts{3, 4, 1}, table{4, 8, 1, 3, 7, 0, 4, 2, 0};
  const Values cache = random_values<S>(kBlocks * H * kRows * W, 1),
               rows = random_values<S>(3 * H * C * W, 2);
  return {"append_rows", shape_of("H C W blocks rows", H, C, W, kBlocks, kRows),
          [=] {
            const auto g_cache = upload<S>(cache), g_rows = upload<S>(rows);
            const simt::Buffer<int32_t> position_offset(first), count(counts), blocks(table);
            cuda::append_rows<S>({g_cache.get(), {kBlocks, H, kRows, W}},
                                 {g_rows.get(), {3, H, C, W}}, position_offset.get(), count.get(),
                                 nullptr, {}, {blocks.get(), int{kRows}, int{kColumns}});
            Values out;
            download(g_cache, out);
            return out;
          },
          [=] {
            Values expected = cache;
            for (int64_t b = 0; b < 3; ++b)
              for (int64_t t = 0; t < counts[at(b)]; ++t)
                for (int64_t h = 0; h < H; ++h)
                  for (int64_t w = 0; w < W; ++w) {
                    const int64_t p = first[at(b)] + t;
                    const int64_t block = table[at(b * kColumns + p / kRows)];
                    expected[at(((block * H + h) * kRows + p % kRows) * W + w)] =
                        rows[at(((b * H + h) * C + t) * W + w)];
                  }
            std::vector<Expected> out;
            for (const double value : expected) out.push_back({value, 0.0});
            return out;
          }};
}

// Three rows: with nothing new, with all of the chunk, and with a part of it.
const std::vector<int32_t> kFirst{2, 0, 3}, kCounts{0, 4, 1};

template <class S>
Case append_rows_case(int64_t H, int64_t W) {
  const int64_t B = 3, R = 5, C = 4;
  const Values cache = random_values<S>(B * H * R * W, 1),
               rows = random_values<S>(B * H * C * W, 2);
  return {"append_rows", shape_of("B H R C W", B, H, R, C, W),
          [=] {
            const auto g_cache = upload<S>(cache), g_rows = upload<S>(rows);
            const simt::Buffer<int32_t> position_offset(kFirst), counts(kCounts);
            cuda::append_rows<S>({g_cache.get(), {B, H, R, W}}, {g_rows.get(), {B, H, C, W}},
                                 position_offset.get(), counts.get(), nullptr);
            Values out;
            download(g_cache, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t h = 0; h < H; ++h)
                for (int64_t r = 0; r < R; ++r)
                  for (int64_t w = 0; w < W; ++w) {
                    const int64_t t = r - kFirst[at(b)];
                    const bool is_new = t >= 0 && t < kCounts[at(b)];
                    const double value = is_new ? rows[at(((b * H + h) * C + t) * W + w)]
                                                : cache[at(((b * H + h) * R + r) * W + w)];
                    out.push_back({value, 0.0});
                  }
            return out;
          }};
}

template <class S>
Case last_rows_case(int64_t D) {
  const int64_t B = 3, C = 4;
  const Values x = random_values<S>(B * C * D, 1);
  return {"last_rows", shape_of("B C D", B, C, D),
          [=] {
            const auto g_x = upload<S>(x);
            const simt::Buffer<int32_t> counts(kCounts);
            const simt::Buffer<S> y(at(B * D));
            cuda::last_rows<S>({y.get(), {B, D}}, {g_x.get(), {B, C, D}}, counts.get(), nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b) {
              const int64_t last = kCounts[at(b)] == 0 ? 0 : kCounts[at(b)] - 1;
              for (int64_t d = 0; d < D; ++d) out.push_back({x[at((b * C + last) * D + d)], 0.0});
            }
            return out;
          }};
}

}  // namespace

template <class S>
void add_head_cases(std::vector<Case>& cases) {
  cases.push_back(rope_case<S>(1, 1, 1, 2));
  cases.push_back(rope_case<S>(2, 3, 7, 20));
  cases.push_back(rope_case<S>(1, 2, 31, 64));
  cases.push_back(rope_case<S>(3, 2, 2, 6, true));
  cases.push_back(turn_heads_case<S>(2, 3, 7, 20, false));
  cases.push_back(turn_heads_case<S>(1, 2, 31, 64, true));
  cases.push_back(turn_heads_case<S>(3, 2, 2, 6, false, true));
  cases.push_back(split_heads_case<S>(1, 1, 1, 1));
  cases.push_back(split_heads_case<S>(2, 3, 7, 20));
  cases.push_back(append_rows_case<S>(2, 7));
  cases.push_back(append_blocks_case<S>(2, 7));
  cases.push_back(last_rows_case<S>(7));
}
ASSAY_INSTANTIATE_CASES(add_head_cases)

}  // namespace assay::kernel_test
