#include "cli/serving/alone_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "golden/contract/error.h"

namespace assay::cli {
namespace {

constexpr std::size_t kMostTold = 8;

// The first place with other bits; the size where there is none.
std::size_t first_other(std::span<const double> a, std::span<const double> b) {
  std::size_t i = 0;
  while (i < a.size() && std::bit_cast<uint64_t>(a[i]) == std::bit_cast<uint64_t>(b[i])) ++i;
  return i;
}

std::string neighbours_of(const serving::Token& token) {
  std::string text;
  std::size_t others = 0;
  for (const std::string& id : token.batch) {
    if (id == token.id) continue;
    if (++others <= kMostTold) text += (others == 1 ? "" : ", ") + golden::printable(id);
  }
  if (others == 0) return "nobody beside it";
  if (others > kMostTold) text += fmt::format(" and {} more", others - kMostTold);
  return "beside " + text;
}

}  // namespace

void AloneCheck::started(const serving::Request& request) {
  StepModelPointer model = make_(1, capacity_);
  const auto positions = static_cast<int64_t>(request.tokens.size()) + request.max_new_tokens;
  ASSAY_CHECK(model->reserve(0, positions), request.id);
  running_[request.id] = {std::move(model), request.tokens, false};
  ++requests_;
}

void AloneCheck::token(const serving::Token& token) {
  const auto found = running_.find(token.id);
  if (found == running_.end()) return;
  Alone& alone = found->second;
  std::vector<double> logits(token.logits.size());
  const serving::SlotTokens row{0, alone.next};
  alone.model->step({&row, 1}, logits);
  ++tokens_;
  compare(alone, token, logits);
  alone.next = {token.token};
}

void AloneCheck::compare(Alone& alone, const serving::Token& token,
                         std::span<const double> logits) {
  const std::size_t place = first_other(token.logits, logits);
  if (place == logits.size()) return;
  for (std::size_t v = place; v < logits.size(); ++v) {
    const double apart = std::fabs(token.logits[v] - logits[v]);
    largest_ = std::max(largest_, std::isnan(apart) ? INFINITY : apart);
  }
  if (std::exchange(alone.differs, true)) return;
  ++differing_;
  if (details_.size() >= kMostTold) return;
  const auto own = std::max_element(logits.begin(), logits.end()) - logits.begin();
  details_.push_back(fmt::format(
      "request {}: step {}, its new token {}: logit {} is {:.17g}, alone {:.17g}; token {}, alone "
      "{}; {}",
      golden::printable(token.id), token.step, token.index, place, token.logits[place],
      logits[place], token.token, own, neighbours_of(token)));
}

void AloneCheck::ended(const std::string& id) { running_.erase(id); }

verify::Check AloneCheck::check() const {
  verify::Check check;
  check.name = "serving: alone";
  check.status = differing_ > 0 ? verify::Status::fail
                 : tokens_ == 0 ? verify::Status::inconclusive
                                : verify::Status::pass;
  check.summary = fmt::format(
      "{} tokens of {} requests compared bit for bit with those of running alone: {} requests "
      "differ",
      tokens_, requests_, differing_);
  if (differing_ > 0) check.summary += fmt::format(", by {:.3g} at most", largest_);
  check.details = details_;
  return check;
}

}  // namespace assay::cli
