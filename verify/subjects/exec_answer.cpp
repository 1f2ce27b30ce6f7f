#include "verify/subjects/exec_answer.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "verify/subjects/keeper.h"
#include "verify/subjects/program.h"

namespace assay::verify {
namespace {

using golden::DumpEntry;

std::vector<DumpEntry> in_order(std::vector<DumpEntry> entries,
                                const std::vector<golden::TensorInfo>& tensors) {
  std::map<std::string, std::size_t> place;
  for (const golden::TensorInfo& info : tensors) place.emplace(info.name, place.size());
  const auto place_of = [&](const DumpEntry& entry) {
    const auto found = place.find(entry.name);
    return found == place.end() ? place.size() : found->second;
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const auto& a, const auto& b) { return place_of(a) < place_of(b); });
  return entries;
}

std::function<void(std::span<double>)> reading(std::shared_ptr<ExecAnswer> answer,
                                               const std::string& name, bool may_fail,
                                               const std::string& who) {
  return [answer = std::move(answer), name, may_fail, who](std::span<double> out) {
    try {
      answer->reader().read(name, out);
    } catch (const InputError& error) {
      if (may_fail) throw;
      throw SubjectFailure(
          fmt::format("{}: its answer cannot be read: {}", golden::printable(who), error.what()));
    }
  };
}

}  // namespace

ExecAnswer::ExecAnswer(const std::string& path)
    : path_(path), reader_(path, golden::Reading::lenient) {}

ExecAnswer::~ExecAnswer() { remove_folder(path_.c_str()); }

std::map<std::string, golden::DType> ExecAnswer::dtypes() const {
  std::map<std::string, golden::DType> dtypes;
  for (const DumpEntry& entry : reader_.entries()) dtypes[entry.name] = entry.dtype;
  return dtypes;
}

void hand_over(const std::shared_ptr<ExecAnswer>& answer,
               const std::vector<golden::TensorInfo>& tensors, Asked asked,
               const Interests& interests, const std::string& who, const Receive& receive) {
  for (const DumpEntry& entry : in_order(answer->reader().entries(), tensors)) {
    if (is_gradient(entry.name) != (asked == Asked::gradients)) continue;
    const Interest interest = interests ? interests(entry.name) : Interest::needed;
    if (interest == Interest::none) continue;
    if (interest == Interest::useful && !entry.problem.empty()) continue;
    Observed observed{.name = entry.name, .dtype = entry.dtype, .tensor = {}};
    if (interest == Interest::named) {  // its name is enough
    } else if (!interests || !entry.problem.empty()) {
      observed.tensor = answer->reader().read(entry.name);
    } else {
      observed.tensor.shape = entry.shape;
      observed.may_fail = interest == Interest::useful;
      observed.read = reading(answer, entry.name, observed.may_fail, who);
    }
    receive(std::move(observed));
  }
}

}  // namespace assay::verify
