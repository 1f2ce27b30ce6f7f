#include "golden/file/hasher.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace assay::golden {
namespace {

std::string hex_of(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::string hash_hex(const void* data, std::size_t bytes) {
  return hex_of(XXH3_128bits(data, bytes));
}

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh); }
Hasher::~Hasher() { XXH3_freeState(state_->xxh); }
void Hasher::add(const void* data, std::size_t bytes) {
  XXH3_128bits_update(state_->xxh, data, bytes);
}
std::string Hasher::hex() const { return hex_of(XXH3_128bits_digest(state_->xxh)); }

}  // namespace assay::golden
