#include "verify/decoders/chosen.h"

#include <utility>

#include "golden/contract/names.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {

Chosen::Chosen(Subject& subject, std::string ignored)
    : given_(subject), ignored_(std::move(ignored)) {}

Chosen::Chosen(std::unique_ptr<Subject> own, const Chosen& of)
    : given_(*own),
      own_(std::move(own)),
      ignored_(of.ignored_),
      left_out_(of.left_out_),
      batch_(of.batch_),
      positions_(of.positions_) {}

std::unique_ptr<Subject> Chosen::another() const {
  std::unique_ptr<Subject> made = subject().another();
  if (!made) return nullptr;
  return std::unique_ptr<Subject>(new Chosen(std::move(made), *this));
}

Receive Chosen::filtered(const Receive& receive) {
  return [this, &receive](Observed observed) {
    if (left_out_.contains(observed.name)) return;
    if (!ignored_.empty() && golden::matches(ignored_, observed.name)) {
      left_out_[observed.name] = "left out by --ignore";
    } else if (!observed.problem.empty()) {
      left_out_[observed.name] = observed.problem;
    } else {
      receive(std::move(observed));
    }
  };
}

void Chosen::run(const Batch& batch, const Forced& forced, const Receive& receive) {
  const bool is_first = batch_ == 0;
  if (is_first) batch_ = batch.batch, positions_ = batch.positions;
  const bool is_usual = batch.batch == batch_ && batch.positions == positions_;
  try {
    subject().run(batch, forced, filtered(receive));
  } catch (const SubjectRefusal&) {
    throw;
  } catch (const SubjectFailure& failure) {
    if (is_usual) throw;
    std::unique_ptr<Subject> again = subject().another();
    if (!again) throw;
    own_ = std::move(again);
    throw SubjectRefusal(failure.what());
  }
}

void Chosen::decode(const Batch& tokens, const Receive& receive) {
  subject().decode(tokens, filtered(receive));
}

}  // namespace assay::verify
