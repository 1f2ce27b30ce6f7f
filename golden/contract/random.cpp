#include "golden/contract/random.h"

#include <bit>

#include "golden/contract/error.h"

namespace assay::golden {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  auto [c0, c1, c2, c3] = counter;
  auto [k0, k1] = key;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

uint64_t stream_id(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

void random_words(uint64_t seed, uint64_t stream, uint64_t first, std::span<uint32_t> out) {
  ASSAY_CHECK(first % 4 == 0, std::to_string(first));
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (std::size_t i = 0; i < out.size(); i += 4) {
    const uint64_t block = (first + i) / 4;
    const auto words =
        philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                    static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                   key);
    for (std::size_t w = 0; w < 4 && i + w < out.size(); ++w) out[i + w] = words[w];
  }
}

double round_to_bf16(double x) {
  // A double has 52 fraction bits, a bfloat16 7: round the lower 45 away, ties to even.
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const uint64_t odd = (bits >> 45) & 1;
  return std::bit_cast<double>((bits + ((uint64_t{1} << 44) - 1) + odd) &
                               ~((uint64_t{1} << 45) - 1));
}

}  // namespace assay::golden
