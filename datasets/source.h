// A file, a pipe or a device that is read once from its beginning to where the reader has enough.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <streambuf>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace assay::datasets {

class Source : public std::streambuf {
 public:
  // Throws InputError for what cannot be opened and for a folder.
  explicit Source(const std::string& path);
  // What comes in through a descriptor, which stays open; `name` stands in messages.
  Source(int descriptor, const std::string& name);
  ~Source() override;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // From here on the input ends where `asked` returns true, soon after it does, also while nothing
  // comes.
  void stop_when(std::function<bool()> asked) { asked_ = std::move(asked); }

  const std::string& path() const { return path_; }
  // The first bytes, up to 64 KiB. Valid until anything is read.
  std::string_view head() const { return {eback(), static_cast<std::size_t>(egptr() - eback())}; }
  std::optional<uint64_t> bytes() const { return bytes_; }  // nothing of what is no regular file
  uint64_t consumed() const { return filled_ - static_cast<uint64_t>(egptr() - gptr()); }

 protected:
  int_type underflow() override;

 private:
  Source(const std::string& path, int descriptor);  // takes the descriptor over
  std::size_t fill();
  bool waits_for_more() const;

  std::string path_;
  int descriptor_;
  std::optional<uint64_t> bytes_;
  uint64_t filled_ = 0;  // bytes read so far
  std::vector<char> buffer_;
  std::function<bool()> asked_;
};

}  // namespace assay::datasets
