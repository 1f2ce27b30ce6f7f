// Any program as a subject: started once, asked many times. docs/programs.md is the protocol.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "golden/contract/weights.h"
#include "golden/maps/mapped_dump.h"
#include "verify/subjects/program.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

struct ExecOptions {
  std::string command;
  golden::Precision storage = golden::Precision::fp32;
  std::string schedule, angles;  // "": as the program says, else the widest
  ProgramLimits limits;
  std::shared_ptr<const golden::NameMap> map = nullptr;  // nullptr: as the program says, else none
};

class ExecSubject : public Subject {
 public:
  // Makes a private folder with the model, starts the program there and says hello. `config` and
  // `weights` must outlive the subject.
  ExecSubject(const ExecOptions& options, const golden::ModelConfig& config,
              const golden::WeightSource& weights);
  // Of a program that brings its own model, for tokens below vocab_size. Its tensors have any names
  // and come in the order of its files.
  ExecSubject(const ExecOptions& options, int64_t vocab_size);
  ~ExecSubject() override;

  std::string describe() const override;
  std::string arithmetic() const override;
  Capabilities capabilities() const override { return can_; }
  // What it says that it computes in: "bf16"; "" if it does not say.
  const std::string& declared_storage() const { return storage_; }
  golden::PrecisionSchedule precision() const override { return schedule_; }
  bool gives_a_part() const override { return true; }
  golden::DType dtype_of(const std::string& tensor_name) const override;
  std::vector<std::string> notes() const override { return notes_; }
  void look_for(const Interests& interests) override { interests_ = interests; }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  void run_gradients(const Batch& batch, const Receive& receive) override;
  std::unique_ptr<Subject> another() const override;
  void reset() override;
  void decode(const Batch& tokens, const Receive& receive) override;

 private:
  ExecSubject(const ExecOptions& options, const golden::ModelConfig* config,
              const golden::WeightSource* weights, int64_t vocab_size);
  void say_hello();
  enum class Asked { tensors, gradients, decode };
  std::string write_request(const Batch& batch, const Forced& forced, Asked asked) const;
  void ask(const Batch& batch, const Forced& forced, Asked asked, const Receive& receive);
  void hand_over(const std::string& path, const Batch& batch, Asked asked, const Receive& receive);
  nlohmann::json parse_answer(const std::string& line);
  std::string file_named(const std::string& answer);

  const ExecOptions options_;
  const golden::ModelConfig* config_;  // nullptr: the program brings its own model
  const golden::WeightSource* weights_;
  int64_t vocab_size_;
  std::string folder_, program_name_, storage_;
  std::unique_ptr<Program> program_;
  golden::PrecisionSchedule schedule_;
  Capabilities can_{.can_run = true};
  bool says_schedule_ = false;
  int64_t requests_ = 0;
  std::shared_ptr<const golden::NameMap> map_;
  std::set<std::string> needed_;    // of the last answer
  std::vector<std::string> notes_;  // on it
  Interests interests_;
  std::map<std::string, golden::DType> dtypes_;  // of the last answer
  std::map<std::string, std::size_t> order_;     // of its tensors, where it states one
};

}  // namespace assay::verify
