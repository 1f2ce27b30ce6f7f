#include "cli/training/live_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "cli/model_options.h"
#include "golden/contract/error.h"
#include "verify/subjects/exec_subject.h"
#include "verify/subjects/library/lib_subject.h"

namespace assay::cli {
namespace {

constexpr const char* kLoss = "loss";

// Two texts around the first ':' of "exec:COMMAND".
std::pair<std::string, std::string> kind_and_rest(const std::string& subject) {
  const std::size_t colon = subject.find(':');
  if (colon == std::string::npos || colon + 1 == subject.size()) return {subject, ""};
  return {subject.substr(0, colon), subject.substr(colon + 1)};
}

}  // namespace

LiveModel::LiveModel(const std::string& subject, int64_t vocab_size, const std::string& logits_name,
                     const SubjectOptions& elsewhere)
    : name_(subject),
      logits_name_(logits_name),
      vocab_size_(vocab_size),
      elsewhere_(elsewhere),
      config_(model_config({})) {
  config_.vocab_size = vocab_size;
  weights_ = std::make_unique<golden::SyntheticWeights>(config_, 1);
  start();
}

void LiveModel::start() {
  const auto [kind, rest] = kind_and_rest(name_);
  if (rest.empty() || (kind != "exec" && kind != "exec-once" && kind != "lib")) {
    throw InputError(
        fmt::format("--subject {}: expected exec:COMMAND, exec-once:COMMAND or lib:PATH, which "
                    "bring their own model",
                    golden::printable(name_)));
  }
  if (kind == "lib") {
    subject_ = std::make_unique<verify::LibSubject>(
        verify::LibOptions{rest, golden::Precision::fp32, "", ""}, config_, *weights_);
    return;
  }
  verify::ExecOptions options;
  options.command = rest;
  options.mode = kind == "exec-once" ? verify::Program::Mode::once : verify::Program::Mode::lines;
  options.limits = elsewhere_.limits;
  subject_ = std::make_unique<verify::ExecSubject>(options, vocab_size_);
}

void LiveModel::start_anew() {
  subject_.reset();
  start();
}

std::vector<double> LiveModel::taken(verify::Observed& observed) const {
  if (!observed.problem.empty()) {
    throw verify::SubjectFailure(
        fmt::format("{}: {}: {}", describe(), golden::printable(observed.name), observed.problem));
  }
  if (observed.read) {
    observed.tensor.values.resize(
        static_cast<std::size_t>(golden::element_count(observed.tensor.shape)));
    observed.read(observed.tensor.values);
  }
  return std::move(observed.tensor.values);
}

void LiveModel::require_shape(const golden::Shape& shape, const verify::Batch& batch) const {
  const int64_t B = batch.batch, T = batch.positions, V = vocab_size_;
  const bool fits = shape == golden::Shape{B, T, V} || shape == golden::Shape{B * T, V};
  if (fits) return;
  std::string hint;
  if (shape.size() == 3 && shape[0] == B && shape[1] == T) {
    hint = fmt::format("; --vocab {} if it has so many tokens", shape[2]);
  } else if (shape.size() == 3 && shape[0] == B && shape[1] < T && shape[2] == V) {
    hint = "; every position has to be there, the last one too";
  } else if (shape.size() == 3 &&
             std::is_permutation(shape.begin(), shape.end(), golden::Shape{B, T, V}.begin())) {
    hint = "; its axes stand in another order";
  }
  throw verify::SubjectFailure(
      fmt::format("{}: {}: expected [{},{},{}], rows, positions, tokens, got {}{}", describe(),
                  golden::printable(logits_name_), B, T, V, golden::shape_text(shape), hint));
}

LiveAnswer LiveModel::run(const verify::Batch& batch) {
  const verify::Interests interests = [&](const std::string& name) {
    return name == logits_name_ || name == kLoss ? verify::Interest::needed
                                                 : verify::Interest::named;
  };
  LiveAnswer answer{{batch.batch, batch.positions, vocab_size_, {}, batch.tokens, false}, {}};
  bool any = false;
  std::vector<std::string> others;
  {
    const verify::Looking looking(*subject_, interests, {logits_name_, kLoss});
    subject_->run(batch, {}, [&](verify::Observed observed) {
      if (observed.name == logits_name_) {
        require_shape(observed.tensor.shape, batch);
        any = true;
        answer.logits.values = taken(observed);
      } else if (observed.name == kLoss) {
        const std::vector<double> values = taken(observed);
        if (values.size() == 1) answer.loss = values.front();
      } else {
        others.push_back(golden::printable(observed.name));
      }
    });
  }
  if (!any) {
    if (others.size() > 8) others.resize(8);
    throw verify::SubjectFailure(
        fmt::format("{}: expected a tensor {}, got {}; --logits names it", describe(),
                    golden::printable(logits_name_),
                    others.empty() ? "none" : fmt::format("{}", fmt::join(others, ", "))));
  }
  return answer;
}

}  // namespace assay::cli
