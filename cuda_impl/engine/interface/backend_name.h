// The name of a back end with what is asked of it, as command line and C interface take it:
//   NAME[:stacked][:stored=BYTES][:stack=BYTES][:head=BYTES][:span=KEYS][:block=POSITIONS]
//   [:blocks=COUNT][:keep=all|shared|inputs][:fast-atomics]
// in any order: Recompute::stacked, and of ModelOptions stored_bytes, stack_bytes, head_bytes,
// key_span, cache, keep, fast_atomics.
#pragma once

#include <string>

#include "cuda_impl/engine/interface/model.h"

namespace assay::cuda {

struct BackendName {
  std::string name;  // what stands before the first ':'
  ModelOptions options;
};

// Throws InputError for an option that is not one of these, stands twice or has no number or no
// word of Keep, and for blocks without block.
BackendName parse_backend_name(const std::string& text);

// all, shared, inputs. Throws InputError "where: expected .." for another word.
Keep parse_keep(const std::string& where, const std::string& word);

}  // namespace assay::cuda
