#include "verify/subjects/exec_answer.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "verify/subjects/keeper.h"
#include "verify/subjects/program.h"
#include "verify/subjects/restrictions.h"

namespace assay::verify {
namespace {

using golden::DumpEntry;

// In the order that is known, then as the file has them.
std::vector<DumpEntry> in_order(std::vector<DumpEntry> entries,
                                const std::map<std::string, std::size_t>& order) {
  const auto place_of = [&](const DumpEntry& entry) {
    const auto found = order.find(entry.name);
    return found == order.end() ? order.size() : found->second;
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const auto& a, const auto& b) { return place_of(a) < place_of(b); });
  return entries;
}

std::function<void(std::span<double>)> read_later(std::shared_ptr<ExecAnswer> answer,
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

std::set<std::string> hand_over(const std::shared_ptr<ExecAnswer>& answer,
                                const ExecReading& reading, const Receive& receive) {
  const golden::MappedDump& reader = answer->reader();
  std::set<std::string> names;
  for (const DumpEntry& entry : in_order(reader.entries(), reading.order)) {
    const bool gradients = reading.asked == Asked::gradients;
    if (!reading.any_model && is_gradient(entry.name) != gradients) continue;
    const Interest interest = reading.interests ? reading.interests(entry.name) : Interest::needed;
    if (interest == Interest::none) continue;
    if (interest == Interest::useful && !entry.problem.empty()) continue;
    const bool needed = interest == Interest::needed;
    if (needed) names.insert(entry.name);
    Observed observed{.name = entry.name, .dtype = entry.dtype, .tensor = {}};
    observed.restrictions = restrictions_of(reader, entry.name, needed);
    if (interest == Interest::named) {  // its name is enough
    } else if (reading.any_model && !entry.problem.empty()) {
      observed.problem = entry.problem;
    } else if (!reading.interests || !entry.problem.empty()) {
      observed.tensor = reader.read(entry.name);
    } else {
      observed.tensor.shape = entry.shape;
      observed.may_fail = interest == Interest::useful;
      observed.read = read_later(answer, entry.name, observed.may_fail, reading.who);
    }
    receive(std::move(observed));
  }
  return names;
}

}  // namespace assay::verify
