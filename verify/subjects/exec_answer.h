// What a program answers with, and how it is handed to the judge.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "golden/maps/mapped_dump.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

enum class Asked { tensors, gradients, decode };

// A file that a program answered with, out of its reach; removed with the last that reads it.
class ExecAnswer {
 public:
  explicit ExecAnswer(const std::string& path);
  ~ExecAnswer();
  ExecAnswer(const ExecAnswer&) = delete;
  ExecAnswer& operator=(const ExecAnswer&) = delete;

  void apply(const golden::NameMap& map, const golden::ModelConfig& config, const Batch& batch) {
    reader_.apply(map, config, batch.batch, batch.positions);
  }
  const golden::MappedDump& reader() const { return reader_; }
  std::map<std::string, golden::DType> dtypes() const;

 private:
  const std::string path_;
  golden::MappedDump reader_;
};

// How an answer is read.
struct ExecReading {
  std::map<std::string, std::size_t> order;  // places of tensors; the others follow
  Asked asked = Asked::tensors;
  bool any_model = false;  // of a model that the program brings: no tensor is one of ours
  const Interests& interests;
  std::string who;
};

// Hands over what was asked for. Where there are interests, values are read when they are asked for
// (Observed::read); those that somebody needs and cannot have are a SubjectFailure of `who`.
// Returns the names of what is needed.
std::set<std::string> hand_over(const std::shared_ptr<ExecAnswer>& answer,
                                const ExecReading& reading, const Receive& receive);

}  // namespace assay::verify
