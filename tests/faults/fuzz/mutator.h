// Inputs near to good ones: the same sequence for the same seed.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace assay::fuzz {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  // One of the pool with one to four changes: a flipped bit, a lost, doubled or moved piece, an
  // end that is missing, a piece of another one, a number or a word where numbers and words hurt.
  std::string next(const std::vector<std::string>& pool);

  std::size_t place(std::size_t n) { return below(n); }  // in a list of n

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }
  void change(std::string& bytes, const std::string& other);
  void put_number(std::string& bytes);                   // over the digits at a random place
  void put_integer(std::string& bytes, std::size_t at);  // of 1 to 8 bytes

  std::mt19937_64 random_;
};

}  // namespace assay::fuzz
