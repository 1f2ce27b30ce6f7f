#include "cli/serving/alone_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "golden/contract/error.h"

namespace assay::cli {
namespace {

constexpr std::size_t kMostTold = 8;
constexpr std::size_t kMostKept = std::size_t{1} << 23;  // logits of a request for the whole pass

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

// Adds the differences of one row to `largest`; the first place that differs, V if there is none.
std::size_t compare_rows(std::span<const double> served, std::span<const double> own,
                         double& largest) {
  const std::size_t place = first_other(served, own);
  for (std::size_t v = place; v < own.size(); ++v) {
    const double apart = std::fabs(served[v] - own[v]);
    largest = std::max(largest, std::isnan(apart) ? INFINITY : apart);
  }
  return place;
}

}  // namespace

void AloneCheck::started(const serving::Request& request) {
  StepModelPointer model = models_.make(1, capacity_);
  const auto positions = static_cast<int64_t>(request.tokens.size()) + request.max_new_tokens;
  ASSAY_CHECK(model->reserve(0, positions), request.id);
  running_[request.id] = {.model = std::move(model),
                          .tokens = {},
                          .prompt = request.tokens.size(),
                          .next = request.tokens,
                          .logits = {},
                          .differs = false};
  ++alone_.requests;
}

void AloneCheck::token(const serving::Token& token) {
  const auto found = running_.find(token.id);
  if (found == running_.end()) return;
  Sequence& sequence = found->second;
  std::vector<double> logits(token.logits.size());
  const serving::SlotTokens row{0, sequence.next};
  sequence.model->step({&row, 1}, logits);
  ++alone_.tokens;
  sequence.tokens.insert(sequence.tokens.end(), sequence.next.begin(), sequence.next.end());
  sequence.next = {token.token};
  if (sequence.logits.size() + logits.size() <= kMostKept) {
    sequence.logits.insert(sequence.logits.end(), token.logits.begin(), token.logits.end());
  }
  const std::size_t place = compare_rows(token.logits, logits, alone_.largest);
  if (place == logits.size() || std::exchange(sequence.differs, true)) return;
  ++alone_.differing;
  if (alone_.details.size() >= kMostTold) return;
  const auto own = std::max_element(logits.begin(), logits.end()) - logits.begin();
  alone_.details.push_back(fmt::format(
      "request {}: step {}, its new token {}: logit {} is {:.17g}, alone {:.17g}; token {}, alone "
      "{}; {}",
      golden::printable(token.id), token.step, token.index, place, token.logits[place],
      logits[place], token.token, own, neighbours_of(token)));
}

void AloneCheck::ended(const std::string& id) {
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  const Sequence sequence = std::move(found->second);
  running_.erase(found);
  if (sequence.logits.empty()) return;
  const std::vector<double> whole = models_.whole(sequence.tokens);  // [T,V]
  const std::size_t V = whole.size() / sequence.tokens.size();
  ++whole_.requests;
  bool told = false;
  for (std::size_t i = 0; i < sequence.logits.size() / V; ++i) {
    const auto served = std::span(sequence.logits).subspan(i * V, V);
    const auto own = std::span(whole).subspan((sequence.prompt - 1 + i) * V, V);
    ++whole_.tokens;
    const std::size_t place = compare_rows(served, own, whole_.largest);
    if (place == V || std::exchange(told, true)) continue;
    ++whole_.differing;
    if (whole_.details.size() >= kMostTold) continue;
    whole_.details.push_back(fmt::format(
        "request {}: its new token {}, behind position {}: logit {} is {:.17g}, in a whole pass "
        "{:.17g}",
        golden::printable(id), i, sequence.prompt - 1 + i, place, served[place], own[place]));
  }
}

verify::Check AloneCheck::Result::check(const char* name, const char* what) const {
  verify::Check check;
  check.name = name;
  check.status = differing > 0 ? verify::Status::fail
                 : tokens == 0 ? verify::Status::inconclusive
                               : verify::Status::pass;
  check.summary = fmt::format("{} tokens of {} requests compared bit for bit with {}: {} differ",
                              tokens, requests, what, differing);
  if (differing > 0) check.summary += fmt::format(", by {:.3g} at most", largest);
  check.details = details;
  return check;
}

verify::Check AloneCheck::alone() const {
  return alone_.check("serving: alone", "those of running alone");
}

verify::Check AloneCheck::whole() const {
  return whole_.check("serving: whole pass", "a forward pass over the sequence");
}

}  // namespace assay::cli
