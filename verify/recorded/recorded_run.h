// A recorded run as a subject: the tensors of a dump, and the tokens behind them.
#pragma once

#include <map>
#include <set>
#include <string>

#include "golden/contract/precision.h"
#include "golden/file/golden_file.h"
#include "verify/recorded/dump_pair.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

class RecordedSubject : public Subject {
 public:
  // Tensors whose names match `ignored` are left out, and those that cannot be read.
  RecordedSubject(const RecordedRun& run, std::string ignored);

  std::string describe() const override { return run_.dump; }
  Capabilities capabilities() const override { return {}; }
  golden::PrecisionSchedule precision() const override { return {}; }
  golden::DType dtype_of(const std::string& name) const override {
    return reader_.entry(name).dtype;
  }
  std::string storage() const { return reader_.attribute("storage"); }

  // In the order of the file.
  void run(const Batch&, const Forced&, const Receive& receive) override;

  // Throws InputError for tokens that are not known or are no tokens.
  Batch batch() const;

  // All tensors but the tokens, those included that are left out.
  std::set<std::string> names() const;
  // name: why it cannot be read.
  const std::map<std::string, std::string>& unreadable() const { return unreadable_; }
  bool is_ignored(const std::string& name) const;

  // From the next run on the values of that tensor are rounded.
  void round(const std::string& name, golden::Precision precision) { rounded_[name] = precision; }

 private:
  golden::Tensor read_tokens() const;

  RecordedRun run_;
  std::string ignored_;
  golden::DumpReader reader_;
  std::map<std::string, std::string> unreadable_;
  std::map<std::string, golden::Precision> rounded_;
};

}  // namespace assay::verify
