#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/files.h"
#include "golden/file/raw_file.h"

namespace assay::golden {
namespace {

// Padded with blanks, so that the data begins at a multiple of 8 bytes.
std::string header_text(const std::string& path, const std::vector<ExchangeTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t at = 0;
  for (const ExchangeTensor& tensor : tensors) {
    if (header.contains(tensor.name)) {
      throw InputError(fmt::format("{}: {}: expected each name once, got it twice", path,
                                   printable(tensor.name)));
    }
    const uint64_t end = at + tensor.bytes();
    header[tensor.name] = {{"dtype", element_name(tensor.element)},
                           {"shape", tensor.shape},
                           {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<ExchangeTensor>& tensors,
                       const std::map<std::string, std::string>& metadata, const FetchValues& fetch,
                       Rounding rounding, bool force) {
  const std::string header = header_text(path, tensors, metadata);
  uint64_t expected = sizeof(uint64_t) + header.size();
  for (const ExchangeTensor& tensor : tensors) expected += tensor.bytes();
  PartialFile target(path, force, expected);
  {
    std::ofstream file(target.written(), std::ios::binary | std::ios::trunc);
    const uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const ExchangeTensor& tensor : tensors) {
      const std::vector<double> values = fetch(tensor.name);
      ASSAY_CHECK(element_count(tensor.shape) == static_cast<int64_t>(values.size()), tensor.name);
      const std::vector<std::byte> bytes =
          encode(tensor.element, values, rounding, fmt::format("{}: {}", path, tensor.name));
      file.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
      if (!file) break;
    }
    file.close();
    if (!file) throw InputError(fmt::format("{}: cannot be written: is the disk full?", path));
  }
  sync_file(target.written());
  target.put_in_place();
}

}  // namespace assay::golden
