#include "verify/subjects/restrictions.h"

namespace assay::verify {

Restrictions restrictions_of(const golden::MappedDump& dump, const std::string& name, bool needed) {
  const golden::MappedAs* as = dump.mapped(name);
  if (as == nullptr) return {};
  return {.first_position = as->first_position,
          .before_mask = as->before_mask,
          .only_compared = as->is_rounded,
          .problem = needed ? dump.unequal_copies(name) : ""};
}

}  // namespace assay::verify
