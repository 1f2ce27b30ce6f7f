#include "verify/recorded/recorded_run.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <utility>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/exchange/dump_tokens.h"
#include "golden/exchange/npy.h"

namespace assay::verify {
namespace {

bool is_tokens(const std::string& name) { return name == "tokens" || name == "input_ids"; }

}  // namespace

RecordedSubject::RecordedSubject(const RecordedRun& run, std::string ignored)
    : run_(run), ignored_(std::move(ignored)), reader_(run.dump, golden::Reading::lenient) {
  for (const golden::DumpEntry& entry : reader_.entries()) {
    if (is_tokens(entry.name) || entry.problem.empty() || is_ignored(entry.name)) continue;
    unreadable_[entry.name] = entry.problem;
  }
}

bool RecordedSubject::is_ignored(const std::string& name) const {
  return !ignored_.empty() && golden::matches(ignored_, name);
}

std::set<std::string> RecordedSubject::names() const {
  std::set<std::string> names;
  for (const golden::DumpEntry& entry : reader_.entries()) {
    if (!is_tokens(entry.name)) names.insert(entry.name);
  }
  return names;
}

void RecordedSubject::run(const Batch&, const Forced&, const Receive& receive) {
  for (const golden::DumpEntry& entry : reader_.entries()) {
    if (is_tokens(entry.name) || is_ignored(entry.name) || unreadable_.contains(entry.name)) {
      continue;
    }
    golden::Tensor tensor = reader_.read(entry.name);
    if (const auto it = rounded_.find(entry.name); it != rounded_.end()) {
      for (double& x : tensor.values) x = golden::round_to(it->second, x);
    }
    receive({.name = entry.name, .dtype = entry.dtype, .tensor = std::move(tensor)});
  }
}

Batch RecordedSubject::batch() const {
  const golden::Tensor tokens = read_tokens();
  if (tokens.shape.empty() || tokens.shape.size() > 2 || tokens.values.empty()) {
    throw InputError(fmt::format("{}: its tokens: expected [B,T] or [T], got {}", run_.dump,
                                 golden::shape_text(tokens.shape)));
  }
  Batch batch;
  batch.batch = tokens.shape.size() == 1 ? 1 : tokens.shape[0];
  batch.positions = tokens.shape.back();
  for (const double token : tokens.values) {
    if (!(token >= 0 && token <= INT32_MAX && token == std::floor(token))) {
      throw InputError(
          fmt::format("{}: its tokens: expected whole numbers from 0, got {}", run_.dump, token));
    }
    batch.tokens.push_back(static_cast<int32_t>(token));
  }
  return batch;
}

golden::Tensor RecordedSubject::read_tokens() const {
  if (!run_.tokens.empty()) return golden::read_npy(run_.tokens);
  golden::Tensor tokens = golden::dump_tokens(run_.dump);
  if (!tokens.values.empty()) return tokens;
  throw InputError(fmt::format(
      "{}: its tokens are not known: expected a tensor tokens or input_ids, or --tokens-a and "
      "--tokens-b",
      run_.dump));
}

}  // namespace assay::verify
