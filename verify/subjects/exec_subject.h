// Any program as a subject: started once and asked many times, or started for each answer.
// docs/programs.md is the protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/weights.h"
#include "golden/maps/mapped_dump.h"
#include "golden/maps/name_map.h"
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
  std::shared_ptr<const golden::NameMap> map = nullptr;  // nullptr: as the program says, else none
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
  // Of a program that brings its own model, for tokens below vocab_size. Its tensors have any names
  // and come in the order of its files.
  ExecSubject(const ExecOptions& options, int64_t vocab_size);
  ~ExecSubject() override;

  std::string describe() const override;
  std::string arithmetic() const override;
  Capabilities capabilities() const override;
  // What it says that it computes in: "bf16"; "" if it does not say.
  const std::string& declared_storage() const { return description_.storage; }
  golden::PrecisionSchedule precision() const override { return schedule_; }
  bool gives_a_part() const override { return true; }
  golden::DType dtype_of(const std::string& tensor_name) const override;
  std::vector<std::string> notes() const override { return notes_; }
  bool computes(const std::string& tensor_name) const override;
  void look_for(const Interests& interests) override { interests_ = interests; }
  void ask_for(const std::vector<std::string>& names) override { wanted_ = names; }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  void run_gradients(const Batch& batch, const Receive& receive) override;
  std::unique_ptr<Subject> another() const override;
  void reset(int64_t rows, int64_t positions) override;
  void decode(const Batch& tokens, const Receive& receive) override;
  const ProgramDescription& description() const { return description_; }
  const golden::NameMap* map() const { return map_.get(); }  // nullptr: none
  // Asks for something else by a message of the caller's, which `write` makes together with its
  // files in `folder`; `take` gets the answer, and its file where it names one. An InputError of
  // `take` is a failure of the program. Only of one that stays.
  using WriteMessage = std::function<nlohmann::json(const std::string& folder, int64_t id)>;
  using TakeAnswer =
      std::function<void(const nlohmann::json& said, const golden::MappedDump* file)>;
  void converse(const WriteMessage& write, const TakeAnswer& take);

 private:
  ExecSubject(const ExecOptions& options, const golden::ModelConfig* config,
              const golden::WeightSource* weights, int64_t vocab_size);
  ExecSubject(const ExecSubject& like);
  void prepare(const std::string& model);
  nlohmann::json hello() const;
  void learn(const nlohmann::json& answer, bool named);
  void learn_map(const nlohmann::json& answer);
  void ask(const Batch& batch, const Forced& forced, Asked asked, const Receive& receive);
  void ask_by_pieces(const Batch& batch, const Forced& forced, const Receive& receive);
  void require_folder();
  nlohmann::json write_request(const Batch& batch, const Forced& forced, Asked asked);
  std::string answer_to(const nlohmann::json& message);
  std::string run_once(const nlohmann::json& message);
  nlohmann::json parsed(const std::string& line, const char* what);
  void require_answer(const nlohmann::json& answer);
  std::string file_named(const nlohmann::json& answer);
  std::shared_ptr<ExecAnswer> taken(const std::string& file);
  std::map<std::string, std::size_t> order_of(const nlohmann::json& answer,
                                              const Batch& batch) const;
  void clear_folder();
  std::map<std::string, std::string> axes(const Batch& batch) const;

  const ExecOptions options_;
  const golden::ModelConfig* config_;  // nullptr: the program brings its own model
  const golden::WeightSource* weights_;
  int64_t vocab_size_;
  std::string folder_;
  std::unique_ptr<Program> program_;
  uint64_t model_bytes_ = 0;
  ProgramDescription description_;
  golden::PrecisionSchedule schedule_;
  int64_t requests_ = 0;
  std::string first_answer_;  // to options_.first, until somebody asks for it
  std::shared_ptr<const golden::NameMap> map_;
  std::vector<std::string> notes_;  // on the last answer
  Interests interests_;
  std::vector<std::string> wanted_;
  std::map<std::string, golden::DType> dtypes_;  // of the last answer
};

}  // namespace assay::verify
