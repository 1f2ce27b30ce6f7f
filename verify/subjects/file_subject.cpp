#include "verify/subjects/file_subject.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {

using golden::DType;

FileSubject::FileSubject(const std::string& path, golden::PrecisionSchedule schedule)
    : path_(path), reader_(path, golden::Reading::lenient), schedule_(schedule) {}

FileSubject::FileSubject(const std::string& path, golden::Precision storage,
                         const std::string& schedule, const std::string& angles)
    : path_(path), reader_(path, golden::Reading::lenient) {
  const std::string own_schedule = reader_.attribute("schedule");
  const std::string own_angles = reader_.attribute("angles");
  schedule_ = golden::declared_schedule(path, storage, schedule.empty() ? own_schedule : schedule,
                                        angles.empty() ? own_angles : angles);
  why_ = !schedule.empty()       ? ", as asked for"
         : !own_schedule.empty() ? ", as it declares"
                                 : ", the widest schedule, for it declares none" + advice();
}

std::string FileSubject::arithmetic() const { return golden::schedule_text(schedule_) + why_; }

// Fewer roundings are told from a defect where a dump says that there are fewer.
std::string FileSubject::advice() const {
  const bool narrow =
      golden::unit_roundoff(schedule_.storage) > golden::unit_roundoff(golden::Precision::fp32);
  return narrow ? "; a 'schedule' that the dump declares (docs/golden-format.md), or --schedule, "
                  "narrows bounds"
                : "";
}

std::vector<std::string> FileSubject::known_names() const {
  std::vector<std::string> names;
  for (const golden::DumpEntry& entry : reader_.entries()) names.push_back(entry.name);
  return names;
}

std::string FileSubject::describe() const { return path_; }

Capabilities FileSubject::capabilities() const {
  const std::vector<golden::DumpEntry>& entries = reader_.entries();
  return {.can_grad = std::any_of(entries.begin(), entries.end(),
                                  [](const auto& entry) { return is_gradient(entry.name); })};
}

DType FileSubject::dtype_of(const std::string& tensor_name) const {
  const DType storage = verify::dtype_of(schedule_.storage_of(tensor_name));
  if (storage == DType::float64) return storage;
  for (const golden::DumpEntry& entry : reader_.entries()) {
    if (entry.name == tensor_name && entry.dtype == storage) return storage;
  }
  return DType::float32;
}

Observed FileSubject::observed(const golden::DumpEntry& entry, bool may_fail) const {
  return {.name = entry.name,
          .dtype = entry.dtype,
          .tensor = {entry.shape, {}},
          .read = [this, name = entry.name](std::span<double> out) { reader_.read(name, out); },
          .may_fail = may_fail};
}

void FileSubject::run(const Batch&, const Forced& forced, const Receive& receive) {
  ASSAY_CHECK(!forced, path_ + " is a dump: it cannot be forced");
  hand_over(false, receive);
}

void FileSubject::run_gradients(const Batch&, const Receive& receive) { hand_over(true, receive); }

void FileSubject::hand_over(bool gradients, const Receive& receive) {
  for (const golden::DumpEntry& entry : reader_.entries()) {
    if (is_gradient(entry.name) != gradients) continue;
    switch (interests_ ? interests_(entry.name) : Interest::needed) {
      case Interest::needed:
        if (!entry.problem.empty()) throw InputError(entry.problem);
        receive(interests_ ? observed(entry, false)
                           : Observed{entry.name, entry.dtype, reader_.read(entry.name)});
        break;
      case Interest::useful:
        if (entry.problem.empty()) receive(observed(entry, true));
        break;
      case Interest::named:
        receive({.name = entry.name, .dtype = entry.dtype, .tensor = {}});
        break;
      case Interest::none:
        break;
    }
  }
}

}  // namespace assay::verify
