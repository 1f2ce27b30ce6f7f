// A small layer over the HDF5 C library: handles that close themselves, and failures that become
// InputError with file, dataset and the library's own cause. The library prints nothing.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "golden/contract/tensor.h"

namespace assay::golden::hdf5 {

// Closes its id when it goes out of scope; a negative id is empty. The library defers small writes
// until an object is closed, and a destructor has to swallow their failure: whoever writes through
// a handle calls reset() and looks at the answer.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept;

  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  bool reset();  // false if the library failed to close it

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// Whether threads may be inside of the library at the same time; how it was built decides.
bool safe_from_threads();

// A dataset as the file describes it.
struct DatasetInfo {
  DType dtype = DType::float64;
  Shape shape;
  int64_t offset = -1;  // of the raw data from the start of the file; -1 if not one piece
  bool plain = false;   // in one piece of elements as this machine keeps them
};

class File {
 public:
  // Replaces an existing file. `shown` names it in messages. The first user_block bytes (0 or a
  // power of two >= 512) are left to the caller. The format is HDF5 1.8's, in which every piece of
  // metadata carries a checksum.
  static File create(const std::string& path, const std::string& shown, uint64_t user_block);
  static File open(const std::string& path);  // for reading
  void close();                               // throws what a destructor has to swallow

  // Contiguous, uncompressed, without times; groups on the way are made. Returns the offset of the
  // raw data in the file, -1 for an empty dataset.
  int64_t write(const std::string& path, hid_t type, const Shape& shape, const void* data);
  int64_t write(const std::string& path, DType dtype, const Shape& shape, const void* data);

  void write_attribute(const std::string& name, const std::string& text);  // on the root
  void write_attribute(const std::string& name, uint64_t value);
  void write_attribute_of(const std::string& dataset, const std::string& name,
                          const std::string& text);
  bool has_attribute(const std::string& name) const;
  std::string text_attribute(const std::string& name) const;
  std::string text_attribute_of(const std::string& dataset, const std::string& name) const;
  uint64_t integer_attribute(const std::string& name) const;

  // Absolute paths, sorted; soft links to datasets among them, and links into other files, which
  // are an InputError of who opens them. HDF5 1.10 crashes here, for it frees what it never set,
  // where a group is damaged or a read fails: apart (foreign_hdf5.h), or of a file about which
  // there is nothing else to say.
  std::vector<std::string> datasets() const;
  // Of "/" or a group below it.
  uint64_t links_in(const std::string& group) const;
  // False also where the library cannot tell. Looks one name up, and so lists nothing.
  bool lacks(const std::string& path) const;
  // Throws InputError for an element type that is neither a real number nor an integer.
  DatasetInfo info(const std::string& path) const;
  Tensor read(const std::string& path) const;  // any type that info accepts, as doubles

 private:
  File(Handle file, std::string shown) : file_(std::move(file)), shown_(std::move(shown)) {}
  void make_groups(const std::string& path);
  // Closes what was written through the handle; throws if the library could not.
  void close_written(Handle& handle, const std::string& object) const;
  Handle open_dataset(const std::string& path) const;
  void refuse_elsewhere(hid_t dataset, const std::string& path) const;
  void put_text(hid_t object, const std::string& object_path, const std::string& name,
                const std::string& text);
  // The attribute of the root, or of a dataset, that holds a text.
  std::string text_of(hid_t object, const std::string& object_path, const std::string& name) const;
  DType stored_dtype(hid_t dataset, const std::string& path) const;

  Handle file_;
  std::string shown_;
  std::set<std::string> groups_;
};

}  // namespace assay::golden::hdf5
