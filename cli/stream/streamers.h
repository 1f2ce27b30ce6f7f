// What a stream of tokens runs through: the reference, or a subject that decodes.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "cli/subjects.h"
#include "reference/streaming/streamed_model.h"

namespace assay::cli {

// Of a cache, as far as it is known.
struct StreamedCache {
  int64_t held = 0, capacity = 0, evictions = 0, bytes = 0;
};

class Streamer {
 public:
  virtual ~Streamer() = default;
  virtual std::string describe() const = 0;
  // Appends tokens; the logits [k,V] of the last k of them, which stay valid until the next call.
  virtual std::span<const double> append(std::span<const int32_t> tokens) = 0;
  virtual StreamedCache cache() const = 0;
};

std::unique_ptr<Streamer> make_reference_streamer(const golden::ModelConfig& config,
                                                  const golden::WeightSource& weights,
                                                  const reference::StreamOptions& options);

// Our engine, "simt" or "cuda" and what may follow it, with the logits of a chunk's last position.
// With a window in every layer its cache is a ring, else `capacity` positions. Throws NoDevice
// where there is no GPU.
std::unique_ptr<Streamer> make_engine_streamer(const std::string& name, golden::Precision precision,
                                               const golden::ModelConfig& config,
                                               const golden::WeightSource& weights,
                                               int64_t capacity, int64_t chunk);

// A subject that keeps `capacity` positions. Throws InputError for one that does not decode.
std::unique_ptr<Streamer> make_subject_streamer(std::unique_ptr<verify::Subject> subject,
                                                int64_t capacity, int64_t vocab_size);

}  // namespace assay::cli
