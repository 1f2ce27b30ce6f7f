// A dump made elsewhere, as a subject: it cannot run and cannot be forced, it has said all it has
// to say.
#pragma once

#include <set>
#include <string>

#include "golden/maps/mapped_dump.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

class FileSubject : public Subject {
 public:
  FileSubject(const std::string& path, golden::PrecisionSchedule schedule);

  // Under `schedule` ("fused", "eager") and `angles` ("double", "float32", "storage"); where one is
  // "" what the dump declares in its attribute (metadata) of that name, else the widest.
  FileSubject(const std::string& path, golden::Precision storage, const std::string& schedule = "",
              const std::string& angles = "");

  // Reads the dump through a map, for the golden file's batch [B,T].
  void read_through(const golden::NameMap& map, const golden::ModelConfig& config, int64_t batch,
                    int64_t positions);

  std::string describe() const override;
  std::string arithmetic() const override;
  Capabilities capabilities() const override;
  golden::PrecisionSchedule precision() const override { return schedule_; }
  bool gives_a_part() const override { return true; }
  // float64 for fp64; otherwise the storage type where the dump has it, else float32.
  golden::DType dtype_of(const std::string& tensor_name) const override;
  std::vector<std::string> known_names() const override;
  std::vector<std::string> notes() const override { return reader_.notes(needed_); }
  void look_for(const Interests& interests) override { interests_ = interests; }
  // Hands over the dump's tensors whatever the batch is: they belong to the golden file's batch.
  // One that is needed and cannot be read is an InputError.
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override;
  void run_gradients(const Batch& batch, const Receive& receive) override;
  std::string config_hash() const override { return reader_.config_hash(); }
  std::string seed() const override { return reader_.seed(); }

 private:
  std::string advice() const;
  Observed observed(const golden::DumpEntry& entry, bool may_fail) const;
  void hand_over(bool gradients, const Receive& receive);

  std::string path_;
  golden::MappedDump reader_;
  std::set<std::string> needed_;  // of the last run
  Interests interests_;           // empty: every tensor is needed
  golden::PrecisionSchedule schedule_;
  std::string why_;  // it is judged under that schedule
};

}  // namespace assay::verify
