#include "golden/exchange/zip_output.h"

#include <algorithm>
#include <cstring>

namespace assay::golden {

zip_source_t* ZipOutput::source() { return zip_source_function_create(serve, this, nullptr); }

void ZipOutput::close() {
  file_.sync();
  file_.close();
}

zip_int64_t ZipOutput::write(const char* data, zip_uint64_t bytes) {
  file_.write(at_, std::string(data, bytes));
  at_ += bytes;
  size_ = std::max(size_, at_);
  return static_cast<zip_int64_t>(bytes);
}

zip_int64_t ZipOutput::seek(void* data, zip_uint64_t bytes) {
  const zip_int64_t to = zip_source_seek_compute_offset(at_, size_, data, bytes, nullptr);
  if (to < 0) return -1;
  at_ = static_cast<zip_uint64_t>(to);
  return 0;
}

zip_int64_t ZipOutput::serve(void* state, void* data, zip_uint64_t bytes,
                             zip_source_cmd_t command) noexcept {
  auto& output = *static_cast<ZipOutput*>(state);
  try {
    switch (command) {
      case ZIP_SOURCE_WRITE:
        return output.write(static_cast<const char*>(data), bytes);
      case ZIP_SOURCE_SEEK_WRITE:
        return output.seek(data, bytes);
      case ZIP_SOURCE_TELL_WRITE:
        return static_cast<zip_int64_t>(output.at_);
      case ZIP_SOURCE_STAT: {
        auto* status = static_cast<zip_stat_t*>(data);
        zip_stat_init(status);
        status->size = output.size_;
        status->valid = ZIP_STAT_SIZE;
        return sizeof *status;
      }
      case ZIP_SOURCE_ERROR: {
        const int codes[2] = {ZIP_ER_WRITE, 0};
        std::memcpy(data, codes, sizeof codes);
        return sizeof codes;
      }
      case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_WRITABLE;
      case ZIP_SOURCE_OPEN:
      case ZIP_SOURCE_CLOSE:
      case ZIP_SOURCE_BEGIN_WRITE:
      case ZIP_SOURCE_COMMIT_WRITE:
      case ZIP_SOURCE_ROLLBACK_WRITE:
      case ZIP_SOURCE_FREE:
        return 0;
      default:
        return -1;
    }
  } catch (...) {
    output.problem_ = std::current_exception();
    return -1;
  }
}

}  // namespace assay::golden
