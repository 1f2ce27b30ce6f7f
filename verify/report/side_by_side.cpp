#include "verify/report/side_by_side.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <list>
#include <map>
#include <set>

namespace assay::verify {
namespace {

constexpr std::size_t kNamesShown = 5;  // of what one candidate alone has

bool is_right(const Candidate& one) { return one.status == Status::pass; }
bool is_wrong(const Candidate& one) { return one.status == Status::fail; }

int64_t comparable(const CandidatePair& pair) {
  return std::count_if(pair.rows.begin(), pair.rows.end(),
                       [](const PairRow& row) { return row.elements > 0; });
}

std::string reason_of(const std::vector<Check>& checks, const std::vector<CheckpointRow>& rows,
                      const std::string& diverged, Status status) {
  if (status == Status::pass) return "";
  if (!diverged.empty()) return "leaves its bounds first at " + diverged;
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [&](const CheckpointRow& r) { return r.status == status; });
  if (row != rows.end()) {
    const std::string why = row->fault != Fault::none ? fault_name(row->fault) : row->note;
    return why.empty() ? row->name : fmt::format("{}: {}", row->name, why);
  }
  const auto check = std::find_if(checks.begin(), checks.end(),
                                  [&](const Check& c) { return c.status == status; });
  return check == checks.end() ? "nothing was checked" : check->name + ": " + check->summary;
}

// Where the first of those that leave their bounds does so.
std::string first_diverged(const SideBySide& all, const std::vector<const Candidate*>& outside) {
  for (const std::string& name : all.names()) {
    for (const Candidate* one : outside) {
      if (one->diverged == name) return name;
    }
  }
  return "";
}

// "A", "A and B", "A, B and C"
std::string listed(const std::vector<std::string>& labels) {
  if (labels.size() < 2) return labels.empty() ? "none" : labels[0];
  const std::vector<std::string> first(labels.begin(), labels.end() - 1);
  return fmt::format("{} and {}", fmt::join(first, ", "), labels.back());
}

std::string parting_text(const SideBySide& all, const CandidatePair& pair) {
  const std::string both =
      all.candidates[pair.first].label + " and " + all.candidates[pair.second].label;
  const auto same = std::count_if(pair.rows.begin(), pair.rows.end(),
                                  [](const PairRow& row) { return row.same_bits; });
  if (const PairRow* row = first_parting(pair); row != nullptr) {
    return fmt::format(
        "{} part first at {}: {} of {} elements, largest difference {:.3g}, {:.3g} times what both "
        "may deviate",
        both, row->name, row->parted, row->elements, row->largest, row->ratio);
  }
  if (comparable(pair) == 0) return both + " have no tensor that can be compared";
  return fmt::format("{} agree in the {} checkpoints that both have, {} of them bit for bit", both,
                     comparable(pair), same);
}

std::string wrong_text(const Candidate& one, const Candidate& other, const CandidatePair& pair) {
  const bool same_place = !one.diverged.empty() && one.diverged == other.diverged;
  const PairRow* parting = first_parting(pair);
  const std::string both = fmt::format("both are wrong: {}: {}; {}: {}", one.label, one.reason,
                                       other.label, other.reason);
  const std::string apart = parting == nullptr ? "; where both have a tensor they agree"
                                               : "; they part first at " + parting->name;
  if (!same_place) return both + apart;
  const auto there = std::find_if(pair.rows.begin(), pair.rows.end(),
                                  [&](const PairRow& row) { return row.name == one.diverged; });
  const bool agree = there != pair.rows.end() && there->parted == 0;
  return fmt::format("both are wrong, first at {}{}{}", one.diverged,
                     agree ? ", where they agree" : "", apart);
}

void list_only(const SideBySide& all, const CandidatePair& pair, Check& check) {
  for (const auto& [one, other] :
       {std::pair(pair.first, pair.second), std::pair(pair.second, pair.first)}) {
    std::vector<std::string> names = only_in(all, one, other);
    if (names.empty()) continue;
    const std::size_t count = names.size();
    if (count > kNamesShown) names.resize(kNamesShown);
    check.details.push_back(fmt::format(
        "{} has {} checkpoints that {} has not: {}{}", all.candidates[one].label, count,
        all.candidates[other].label, fmt::join(names, ", "), count > kNamesShown ? ", .." : ""));
  }
}

// Who leaves its bounds before all others.
void say_who_is_first(const SideBySide& all, Check& check) {
  std::vector<const Candidate*> outside;
  for (const Candidate& one : all.candidates) {
    if (!one.diverged.empty()) outside.push_back(&one);
  }
  if (outside.size() < 2) return;
  const std::string first = first_diverged(all, outside);
  std::vector<std::string> there;
  for (const Candidate* one : outside) {
    if (one->diverged == first) there.push_back(one->label);
  }
  check.details.push_back(fmt::format("first outside: {} at {}", listed(there), first));
}

}  // namespace

Candidate make_candidate(const std::string& label, const std::string& subject,
                         const std::vector<Check>& checks, const std::vector<CheckpointRow>& rows,
                         const std::string& diverged) {
  const Status status = overall(checks);
  return {label, subject, status, diverged, reason_of(checks, rows, diverged, status), rows};
}

std::string conclusion_name(Conclusion conclusion) {
  switch (conclusion) {
    case Conclusion::right_and_agree:
      return "right_and_agree";
    case Conclusion::one_is_wrong:
      return "one_is_wrong";
    case Conclusion::wrong_and_agree:
      return "wrong_and_agree";
    case Conclusion::wrong_and_differ:
      return "wrong_and_differ";
    case Conclusion::undecided:
      return "undecided";
  }
  return "unknown";
}

std::vector<std::string> SideBySide::names() const {
  std::list<std::string> list;
  std::map<std::string, std::list<std::string>::iterator> places;
  for (const Candidate& candidate : candidates) {
    auto behind = list.begin();
    for (const CheckpointRow& row : candidate.rows) {
      const auto found = places.find(row.name);
      const auto place = found == places.end() ? list.insert(behind, row.name) : found->second;
      places[row.name] = place;
      behind = std::next(place);
    }
  }
  return {list.begin(), list.end()};
}

const PairRow* first_parting(const CandidatePair& pair) {
  const auto found = std::find_if(pair.rows.begin(), pair.rows.end(),
                                  [](const PairRow& row) { return row.parted > 0; });
  return found == pair.rows.end() ? nullptr : &*found;
}

std::vector<std::string> only_in(const SideBySide& all, std::size_t one, std::size_t other) {
  std::set<std::string> there;
  for (const CheckpointRow& row : all.candidates[other].rows) {
    if (row.compared) there.insert(row.name);
  }
  std::vector<std::string> names;
  for (const CheckpointRow& row : all.candidates[one].rows) {
    if (row.compared && !there.contains(row.name)) names.push_back(row.name);
  }
  return names;
}

Conclusion conclusion_of(const SideBySide& all, const CandidatePair& pair) {
  const Candidate &one = all.candidates[pair.first], &other = all.candidates[pair.second];
  const auto decided = [](const Candidate& c) { return is_right(c) || is_wrong(c); };
  if (!decided(one) || !decided(other)) return Conclusion::undecided;
  if (is_right(one) != is_right(other)) return Conclusion::one_is_wrong;
  const bool agree = comparable(pair) > 0 && first_parting(pair) == nullptr;
  if (is_right(one)) return agree ? Conclusion::right_and_agree : Conclusion::undecided;
  const bool by_numbers = !one.diverged.empty() && !other.diverged.empty();
  return agree && by_numbers ? Conclusion::wrong_and_agree : Conclusion::wrong_and_differ;
}

std::string conclusion_text(const SideBySide& all, const CandidatePair& pair) {
  const Candidate &one = all.candidates[pair.first], &other = all.candidates[pair.second];
  const std::string both = one.label + " and " + other.label;
  switch (conclusion_of(all, pair)) {
    case Conclusion::right_and_agree:
      return both + " are right and agree";
    case Conclusion::one_is_wrong: {
      const Candidate &wrong = is_wrong(one) ? one : other, &right = is_wrong(one) ? other : one;
      return fmt::format("{} is right, {} is wrong: {}", right.label, wrong.label, wrong.reason);
    }
    case Conclusion::wrong_and_agree:
      return fmt::format(
          "both are wrong and agree with each other, first at {}: two that agree and differ from "
          "the truth share a misreading",
          first_diverged(all, {&one, &other}));
    case Conclusion::wrong_and_differ:
      return wrong_text(one, other, pair);
    case Conclusion::undecided:
      break;
  }
  const auto said = [](const Candidate& c) {
    return fmt::format("{} is {}{}{}", c.label,
                       is_right(c)   ? "right"
                       : is_wrong(c) ? "wrong"
                                     : status_name(c.status),
                       c.reason.empty() ? "" : ": ", c.reason);
  };
  return fmt::format("undecided: {}; {}", said(one), said(other));
}

Check conclusion_check(const SideBySide& all) {
  std::vector<Check> statuses;
  std::vector<std::string> right, wrong, neither;
  for (const Candidate& one : all.candidates) {
    statuses.push_back({.name = "", .status = one.status, .summary = "", .details = {}});
    (is_right(one) ? right : is_wrong(one) ? wrong : neither).push_back(one.label);
  }
  Check check{.name = "conclusion", .status = overall(statuses), .summary = "", .details = {}};
  if (all.pairs.size() == 1) {
    check.summary = conclusion_text(all, all.pairs[0]);
  } else {
    check.summary = fmt::format("right: {}; wrong: {}", listed(right), listed(wrong));
    if (!neither.empty()) check.summary += "; neither: " + listed(neither);
    for (const CandidatePair& pair : all.pairs) {
      check.details.push_back(fmt::format("{}, {}: {}", all.candidates[pair.first].label,
                                          all.candidates[pair.second].label,
                                          conclusion_text(all, pair)));
    }
  }
  say_who_is_first(all, check);
  for (const CandidatePair& pair : all.pairs) {
    check.details.push_back(parting_text(all, pair));
    list_only(all, pair, check);
  }
  return check;
}

}  // namespace assay::verify
