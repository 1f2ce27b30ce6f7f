// Where the doubles of Arrays live: freed storage is used again, whatever its size was, because
// freshly mapped pages cost more than the arithmetic on them. Internal to array.cpp and its tests.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace assay::reference {

// Large blocks out of a few large mappings. The smallest free block that is large enough is cut to
// size, and a freed block joins its free neighbours, so the pages in use follow the largest live
// set and not the sum of all sizes ever asked for. Blocks are 64-byte aligned. Thread-safe.
class Heap {
 public:
  char* take(std::size_t bytes);
  void give(char* block);
  void trim();  // gives the pages of free blocks back to the system; addresses stay reserved

  std::size_t mapped_bytes() const;  // of addresses; a page is there once it is written

 private:
  struct Block {
    std::size_t bytes;
    bool free;
  };
  using Place = std::map<char*, Block>::iterator;

  void map_more(std::size_t bytes);
  void put_free(Place place);

  mutable std::mutex mutex_;
  std::map<char*, Block> blocks_;                  // by address, without gaps inside a mapping
  std::set<std::pair<std::size_t, char*>> sizes_;  // of the free ones
  std::size_t mapped_ = 0;
};

// Storage for `count` doubles, at least one. Below 128 kB it is malloc's, so that AddressSanitizer
// sees the ends of small tensors; above, the process-wide Heap's.
double* take_storage(std::size_t count);
void give_storage(double* storage, std::size_t count);
void trim_storage();

}  // namespace assay::reference
