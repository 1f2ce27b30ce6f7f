// What a cache gives of a sequence that is read piece by piece, put together to whole tensors.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"
#include "verify/judge/chunkings.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// A tensor [B,..,T,..] and the places of its elements, by row and position.
struct Places {
  golden::Shape shape;
  std::size_t axis = 0;  // of T

  int64_t rows() const { return shape[0]; }
  int64_t positions() const { return shape[axis]; }
  int64_t between() const;  // elements between a row and a position: heads
  int64_t inside() const;   // elements of a position in one of them
  int64_t element(int64_t b, int64_t h, int64_t t) const;  // the first of a position
};

// Whether a tensor of these axes has one value for every row and position, so that it is read piece
// by piece: scores, whose keys grow with the cache, are not.
bool has_positions(const std::string& axes);
Places places_of(const std::string& axes, const golden::Shape& shape);

inline constexpr uint8_t kFirst = 1, kBehind = 2;

struct DecodedTensor {
  Places places;
  std::vector<double> values;
  // [B,T]; kFirst: read into an empty cache, kBehind: behind what it held; 0: not handed over
  std::vector<uint8_t> given;
};

// By name, of tensors that are in `wanted`.
using DecodedTensors = std::map<std::string, DecodedTensor>;

// Reads the batch into the subject's cache, in which `others` stood before (no positions: nothing
// did), for what is left of them must not show. A tensor of a piece has its n positions, the last
// one alone (with an axis for it or without), or all up to there; throws SubjectFailure for any
// other shape.
DecodedTensors decode_in(Subject& subject, const Batch& batch, const Chunking& chunking,
                         const std::map<std::string, Places>& wanted, const Batch& others);

}  // namespace assay::verify
