// Arrays laid aside in a file that has no name: it is gone when the process is, however that ends.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "reference/numbers/array.h"

namespace assay::verify {

class Scratch {
 public:
  // In the folder for temporary files. Throws InputError where none can be made there.
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Keeps the values under the key, in place of what was there. Throws InputError for a full disk.
  void put(const std::string& key, const reference::Array& values);
  bool has(const std::string& key) const { return places_.contains(key); }
  reference::Array get(const std::string& key) const;

 private:
  struct Place {
    golden::Shape shape;
    int64_t offset = 0;
  };
  std::string folder_;
  int file_ = -1;
  int64_t end_ = 0;
  std::map<std::string, Place> places_;
};

}  // namespace assay::verify
