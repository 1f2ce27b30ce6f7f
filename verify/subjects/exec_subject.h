// Any program as a subject: started once and asked many times, or started for each answer.
// docs/programs.md is the protocol.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "golden/contract/weights.h"
#include "golden/file/golden_file.h"
#include "verify/subjects/description.h"
#include "verify/subjects/program.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

class ExecAnswer;
enum class Asked;

struct ExecOptions {
  std::string command;
  Program::Mode mode = Program::Mode::lines;
  golden::Precision storage = golden::Precision::fp32;
  std::string schedule, angles;  // "": as the program says, else the widest
  ProgramLimits limits;
  // What a program that is started for each answer is asked first, for it says of itself what it
  // does with an answer; without rows: one of four tokens.
  Batch first;
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
  Capabilities capabilities() const override;
  golden::PrecisionSchedule precision() const override { return schedule_; }
  golden::DType dtype_of(const std::string& tensor_name) const override;
  bool computes(const std::string& tensor_name) const override;
  void look_for(const Interests& interests) override { interests_ = interests; }
  void ask_for(const std::vector<std::string>& names) override { wanted_ = names; }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  void run_gradients(const Batch& batch, const Receive& receive) override;
  std::unique_ptr<Subject> another() const override;

 private:
  ExecSubject(const ExecSubject& like);
  void prepare(const std::string& model);
  nlohmann::json hello() const;
  void learn(const nlohmann::json& answer, bool named);
  void ask(const Batch& batch, const Forced& forced, Asked asked, const Receive& receive);
  void ask_by_pieces(const Batch& batch, const Forced& forced, const Receive& receive);
  nlohmann::json write_request(const Batch& batch, const Forced& forced, Asked asked);
  std::string answer_to(const nlohmann::json& message);
  nlohmann::json parsed(const std::string& line, const char* what);
  std::string file_named(const nlohmann::json& answer);
  std::shared_ptr<ExecAnswer> taken(const std::string& file);
  void clear_folder();
  std::map<std::string, std::string> axes(const Batch& batch) const;

  const ExecOptions options_;
  const golden::ModelConfig& config_;
  const golden::WeightSource& weights_;
  std::string folder_;
  std::unique_ptr<Program> program_;
  uint64_t model_bytes_ = 0;
  ProgramDescription description_;
  golden::PrecisionSchedule schedule_;
  int64_t requests_ = 0;
  std::string first_answer_;  // to options_.first, until somebody asks for it
  Interests interests_;
  std::vector<std::string> wanted_;
  std::map<std::string, golden::DType> dtypes_;  // of the last answer
};

}  // namespace assay::verify
