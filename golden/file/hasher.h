// XXH3-128, the hash of everything that a golden file stores.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace assay::golden {

// XXH3-128 as 32 hex digits.
std::string hash_hex(const void* data, std::size_t bytes);

// XXH3-128, piece by piece.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void add(const void* data, std::size_t bytes);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace assay::golden
