#include "golden/exchange/hdf5_writer.h"

#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "golden/file/hdf5.h"

namespace assay::golden {

void write_hdf5(const std::string& path, const std::vector<ExchangeTensor>& tensors,
                const std::map<std::string, std::string>& attributes, const FetchValues& fetch,
                bool force) {
  uint64_t bytes = 0;
  for (const ExchangeTensor& tensor : tensors) bytes += tensor.bytes();
  PartialFile target(path, force, bytes);
  hdf5::File file = hdf5::File::create(target.written(), path, 0);
  for (const ExchangeTensor& tensor : tensors) {
    const std::vector<double> values = fetch(tensor.name);
    ASSAY_CHECK(element_count(tensor.shape) == static_cast<int64_t>(values.size()), tensor.name);
    const std::vector<std::byte> data =
        encode(tensor.element, values, Rounding::refuse, path + ": " + tensor.name);
    file.write("/" + tensor.name, dtype_of(tensor.element), tensor.shape, data.data());
  }
  for (const auto& [name, text] : attributes) file.write_attribute(name, text);
  file.close();
  target.put_in_place();
}

}  // namespace assay::golden
