// A ring of positions: the newest `capacity` ones, and the first `sinks` beside them.
//
//   slot of position p:  p where p < sinks, else sinks + (p - sinks) mod capacity
//
// Each tensor has a ring of its own, of its own capacity. Appending to a full ring overwrites the
// oldest position. Storage is allocated once; a read copies at most three runs of rows a head
// (sinks, up to the ring's end, from its start).
#pragma once

#include "reference/streaming/key_cache.h"

namespace assay::reference {

std::unique_ptr<KeyCache> make_ring_cache(std::span<const KeptTensor> kept, const CacheSize& size);

}  // namespace assay::reference
