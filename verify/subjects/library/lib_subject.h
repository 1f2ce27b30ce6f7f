// A model in a shared library as a subject, in this process: assay_subject.h is its interface.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "golden/contract/weights.h"
#include "verify/subjects/library/library.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

struct LibOptions {
  std::string path;
  golden::Precision storage = golden::Precision::fp32;
  std::string schedule = {}, angles = {};  // "": as the library says, else the widest
};

class LibSubject : public Subject {
 public:
  // Loads the library and opens the model. `config` and `weights` must outlive the subject. Throws
  // SubjectFailure where the library returns an error.
  LibSubject(const LibOptions& options, const golden::ModelConfig& config,
             const golden::WeightSource& weights);
  // A library that opens a model of its own: tensors and shapes are the library's.
  explicit LibSubject(const LibOptions& options);
  ~LibSubject() override;

  std::string describe() const override;
  std::string arithmetic() const override;
  Capabilities capabilities() const override {
    const bool ours = config_ != nullptr;
    return {.can_run = true, .can_force = ours && can_force_, .can_grad = ours && can_grad_};
  }
  bool gives_a_part() const override { return true; }
  // What it says that it stores in: "bf16"; "" if it does not say.
  const std::string& declared_storage() const { return declared_storage_; }
  golden::PrecisionSchedule precision() const override { return schedule_; }
  golden::DType dtype_of(const std::string& tensor_name) const override;
  void look_for(const Interests& interests) override { interests_ = interests; }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  void run_gradients(const Batch& batch, const Receive& receive) override;
  std::unique_ptr<Subject> another() const override;

 private:
  struct Weights;
  struct Running;

  LibSubject(const LibOptions& options, const golden::ModelConfig* config,
             const golden::WeightSource* weights);
  void open_model();
  void learn_description();
  void ask(const Batch& batch, const Forced& forced, bool gradients, const Receive& receive);
  template <class Call>
  int32_t guarded(const char* what, Call&& call) const;
  std::string reason(assay_subject* model, int32_t status) const;
  [[noreturn]] void fail(const std::string& what) const;

  const LibOptions options_;
  const golden::ModelConfig* config_;  // null, as the weights: the library's own model
  const golden::WeightSource* weights_;
  const Library library_;
  assay_subject* model_ = nullptr;
  std::string library_name_, declared_storage_;
  golden::PrecisionSchedule schedule_;
  bool can_force_ = false, can_grad_ = false, says_schedule_ = false;
  Interests interests_;
  std::map<std::string, golden::DType> dtypes_;  // of the last run
};

}  // namespace assay::verify
