// A file that a program answered with.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "golden/contract/names.h"
#include "golden/file/golden_file.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

enum class Asked { tensors, gradients };

// Out of the program's reach; removed with the last that reads it.
class ExecAnswer {
 public:
  explicit ExecAnswer(const std::string& path);
  ~ExecAnswer();
  ExecAnswer(const ExecAnswer&) = delete;
  ExecAnswer& operator=(const ExecAnswer&) = delete;

  const golden::DumpReader& reader() const { return reader_; }
  std::map<std::string, golden::DType> dtypes() const;

 private:
  const std::string path_;
  const golden::DumpReader reader_;
};

// What was asked for of its tensors and gradients, in the order of `tensors`, then the others. Where there are interests, values are
// read when they are asked for (Observed::read); those that somebody needs and cannot have are
// a SubjectFailure of `who`.
void hand_over(const std::shared_ptr<ExecAnswer>& answer,
               const std::vector<golden::TensorInfo>& tensors, Asked asked,
               const Interests& interests, const std::string& who, const Receive& receive);

}  // namespace assay::verify
