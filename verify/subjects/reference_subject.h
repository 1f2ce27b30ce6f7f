// The reference as a subject that does all that a subject may do: it decodes through its streams
// (reference/streaming), every named tensor, and keeps as little of a forward pass as it is told.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "reference/streaming/streamed_model.h"
#include "verify/subjects/graph_subject.h"

namespace assay::verify {

class ReferenceSubject final : public GraphSubject {
 public:
  ReferenceSubject(golden::ModelConfig config, std::shared_ptr<const golden::WeightSource> weights,
                   golden::PrecisionSchedule schedule);

  Capabilities capabilities() const override;
  std::unique_ptr<Subject> another() const override;
  std::vector<Checkpointed> checkpointed() const override;
  // A ring where every layer has a window that is shorter, and three tiers.
  std::vector<Cache> caches(int64_t positions) const override;
  void use_cache(const std::string& name) override;
  void reset(int64_t rows, int64_t positions) override;
  void decode(const Batch& tokens, const Receive& receive) override;
  void decode_rows(const Batch& tokens, std::span<const int32_t> counts,
                   const Receive& receive) override;

 private:
  struct Stream;

  reference::StreamOptions stream_options(int64_t rows, int64_t positions) const;
  void append(const Batch& tokens, std::span<const int32_t> counts, bool last_alone,
              const Receive& receive);

  std::shared_ptr<const golden::WeightSource> held_;
  std::string cache_;
  std::shared_ptr<Stream> stream_;
};

}  // namespace assay::verify
