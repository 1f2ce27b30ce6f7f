// A program or a library that turns tokens into logits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/subjects.h"
#include "golden/contract/config.h"
#include "verify/subjects/subject.h"
#include "verify/training/evidence.h"

namespace assay::cli {

// What it says of some rows.
struct LiveAnswer {
  verify::training::Logits logits;  // [B,T,V]
  std::optional<double> loss;       // its own, where it hands one over
};

class LiveModel {
 public:
  // Throws InputError for a subject that cannot be run so, SubjectFailure for one that fails.
  LiveModel(const std::string& subject, int64_t vocab_size, const std::string& logits_name,
            const SubjectOptions& elsewhere);

  std::string describe() const { return subject_->describe(); }
  verify::Capabilities capabilities() const { return subject_->capabilities(); }
  int64_t vocab_size() const { return vocab_size_; }

  // Throws SubjectFailure, also for logits that are missing or have another shape.
  LiveAnswer run(const verify::Batch& batch);
  // After a failure, which may have ended it.
  void start_anew();

 private:
  void start();
  std::vector<double> taken(verify::Observed& observed) const;
  void require_shape(const golden::Shape& shape, const verify::Batch& batch) const;

  std::string name_, logits_name_;
  int64_t vocab_size_;
  SubjectOptions elsewhere_;
  golden::ModelConfig config_;  // of what a library is opened with
  std::unique_ptr<golden::WeightSource> weights_;
  std::unique_ptr<verify::Subject> subject_;
};

}  // namespace assay::cli
