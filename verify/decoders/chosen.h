// A subject of which some tensors are left out.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "verify/subjects/subject.h"

namespace assay::verify {

class Chosen : public Subject {
 public:
  // Tensors whose names match `ignored` are left out, and those that cannot be read.
  Chosen(Subject& subject, std::string ignored);

  std::string describe() const override { return subject().describe(); }
  std::string arithmetic() const override { return subject().arithmetic(); }
  Capabilities capabilities() const override { return subject().capabilities(); }
  golden::PrecisionSchedule precision() const override { return subject().precision(); }
  golden::DType dtype_of(const std::string& name) const override {
    return subject().dtype_of(name);
  }
  std::unique_ptr<Subject> another() const override;
  // A subject that dies of a batch of another shape than the first one is made anew, and the run
  // is a SubjectRefusal.
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  void reset(int64_t rows, int64_t positions) override { subject().reset(rows, positions); }
  void decode(const Batch& tokens, const Receive& receive) override;

  void leave_out(const std::string& name, const std::string& reason) { left_out_[name] = reason; }
  const std::map<std::string, std::string>& left_out() const { return left_out_; }
  const std::string& ignored() const { return ignored_; }

 private:
  Chosen(std::unique_ptr<Subject> own, const Chosen& of);
  Subject& subject() const { return own_ ? *own_ : given_; }
  Receive filtered(const Receive& receive);

  Subject& given_;
  std::unique_ptr<Subject> own_;  // in the place of the given one
  std::string ignored_;
  std::map<std::string, std::string> left_out_;  // name: why
  int64_t batch_ = 0, positions_ = 0;            // of the first run
};

}  // namespace assay::verify
