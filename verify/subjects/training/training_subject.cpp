#include "verify/subjects/training/training_subject.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"

namespace assay::verify {

void HeldTensors::read(const std::string& name, std::span<double> out) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || found->second.values.size() != out.size()) {
    throw InputError(fmt::format("{}: expected {} elements, got {}", name, out.size(),
                                 found == tensors_.end()
                                     ? std::string("none of this name")
                                     : std::to_string(found->second.values.size())));
  }
  std::copy(found->second.values.begin(), found->second.values.end(), out.begin());
}

}  // namespace assay::verify
