// Any program as a subject: started once, asked many times. docs/programs.md is the protocol.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "golden/contract/weights.h"
#include "golden/file/golden_file.h"
#include "verify/subjects/program.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

struct ExecOptions {
  std::string command;
  golden::Precision storage = golden::Precision::fp32;
  std::string schedule, angles;  // "": as the program says, else the widest
  ProgramLimits limits;
};

class ExecSubject : public Subject {
 public:
  // Makes a private folder with the model, starts the program there and says hello. `config` and
  // `weights` must outlive the subject.
  ExecSubject(const ExecOptions& options, const golden::ModelConfig& config,
              const golden::WeightSource& weights);
  ~ExecSubject() override;

  std::string describe() const override;
  std::string arithmetic() const override;
  Capabilities capabilities() const override {
    return {.can_run = true, .can_force = can_force_, .can_grad = can_grad_};
  }
  golden::PrecisionSchedule precision() const override { return schedule_; }
  golden::DType dtype_of(const std::string& tensor_name) const override;
  void look_for(const Interests& interests) override { interests_ = interests; }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  void run_gradients(const Batch& batch, const Receive& receive) override;
  std::unique_ptr<Subject> another() const override;

 private:
  void say_hello();
  enum class Asked { tensors, gradients };
  std::string write_request(const Batch& batch, const Forced& forced, Asked asked) const;
  void ask(const Batch& batch, const Forced& forced, Asked asked, const Receive& receive);
  void hand_over(const std::string& path, const Batch& batch, Asked asked, const Receive& receive);
  std::string file_named(const std::string& answer, const std::string& name);

  const ExecOptions options_;
  const golden::ModelConfig& config_;
  const golden::WeightSource& weights_;
  std::string folder_, program_name_;
  std::unique_ptr<Program> program_;
  golden::PrecisionSchedule schedule_;
  bool can_force_ = false, can_grad_ = false, says_schedule_ = false;
  int64_t requests_ = 0;
  Interests interests_;
  std::map<std::string, golden::DType> dtypes_;  // of the last answer
};

}  // namespace assay::verify
