// A golden file whose weights the storage type of a subject does not hold, as that subject computes
// it: the subject rounds weights to nearest when it loads them, so the values to judge it by are
// those of the rounded weights, made again by the reference. That is exact, where a bound on what
// half a spacing of every weight does would be wide, and would let truncation pass.
#pragma once

#include <memory>
#include <string>

#include "golden/contract/precision.h"
#include "golden/file/golden_file.h"

namespace assay::cli {

class RoundedGolden {
 public:
  // Null if the type holds every weight but what the method learns, which may be held wider.
  // Throws InputError for a weight beyond the range of the type.
  static std::unique_ptr<RoundedGolden> of(const golden::GoldenReader& golden,
                                           golden::Precision storage);
  ~RoundedGolden();
  RoundedGolden(const RoundedGolden&) = delete;
  RoundedGolden& operator=(const RoundedGolden&) = delete;

  // Of inputs, config and seed of the given one, with rounded weights; hashes of its tensors.
  const golden::GoldenReader& reader() const { return *reader_; }
  const std::string& summary() const { return summary_; }  // how many weights are rounded

 private:
  RoundedGolden(const golden::GoldenReader& golden, golden::Precision storage, std::string summary);

  std::string path_, summary_;
  std::unique_ptr<golden::GoldenReader> reader_;
};

}  // namespace assay::cli
