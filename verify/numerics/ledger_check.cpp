#include "verify/numerics/ledger_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::verify {
namespace {

constexpr int kLinesOfAKind = 5;  // of faults of one kind; a line says how many more there are

// "layers/3/mlp/up" with a star for the layer.
std::string of_every_layer(const std::string& name) {
  static const std::string kLayers = "layers/";
  if (!name.starts_with(kLayers)) return name;
  return kLayers + "*" + name.substr(std::min(name.find('/', kLayers.size()), name.size()));
}

// A list of patterns that match the names of `in` and of the declared tensors no others.
std::string patterns_of(const std::set<std::string>& in, const std::vector<Checkpoint>& declared) {
  std::vector<std::string> patterns;
  for (const Checkpoint& checkpoint : declared) {
    if (!in.contains(checkpoint.name)) continue;
    std::string pattern = of_every_layer(checkpoint.name);
    const bool others = std::any_of(declared.begin(), declared.end(), [&](const Checkpoint& c) {
      return golden::matches(pattern, c.name) && !in.contains(c.name);
    });
    if (others) pattern = checkpoint.name;
    if (std::find(patterns.begin(), patterns.end(), pattern) == patterns.end()) {
      patterns.push_back(pattern);
    }
  }
  return fmt::format("{}", fmt::join(patterns, ","));
}

// How to ask for what a dump has, or not for what it lacks, whichever is the shorter. Nothing where
// other faults, such as names, may be why it lacks something.
std::string advice_on_missing(const Ledger& ledger) {
  if (ledger.is_of_a_part()) return "";  // what it lacks it was not to lack
  const auto& findings = ledger.findings();
  if (std::any_of(findings.begin(), findings.end(),
                  [](const Finding& finding) { return finding.fault != Fault::missing; })) {
    return "";
  }
  std::set<std::string> missing, there;
  for (const Checkpoint& checkpoint : ledger.declared()) {
    const bool lacks = ledger.fault_of(checkpoint.name) == Fault::missing;
    (lacks ? missing : there).insert(checkpoint.name);
  }
  if (missing.empty() || there.empty()) return "";
  const std::string only = patterns_of(there, ledger.declared());
  const std::string left_out = patterns_of(missing, ledger.declared());
  return fmt::format("if a part is all that is to be judged, say so: {} '{}'",
                     only.size() <= left_out.size() ? "--only" : "--leave-out",
                     only.size() <= left_out.size() ? only : left_out);
}

// Characters to insert, delete or replace (Levenshtein).
std::size_t edits_between(const std::string& one, const std::string& other) {
  std::vector<std::size_t> row(other.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < one.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < other.size(); ++j) {
      const std::size_t replaced = diagonal + (one[i] == other[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// The tensor of the same layer that was not handed over and is called nearly so; "" if none is.
std::string perhaps_meant(const std::string& extra, const std::set<std::string>& absent) {
  constexpr std::size_t kTypingErrors = 2;
  const auto layer_of = [](const std::string& name) {
    const std::string rest = of_every_layer(name);
    return rest == name ? "" : name.substr(0, name.find('/', std::string("layers/").size()));
  };
  std::string nearest;
  std::size_t fewest = kTypingErrors + 1;
  for (const std::string& name : absent) {
    if (layer_of(name) != layer_of(extra)) continue;
    const std::size_t edits = edits_between(extra, name);
    if (edits < fewest) {
      fewest = edits;
      nearest = name;
    }
  }
  return nearest;
}

// What a subject that hands over a part has left out, or has beside what is declared.
void say_what_is_left_out(const Ledger& ledger, Check& check) {
  constexpr std::size_t kNamed = 8, kCharacters = 240;
  if (!ledger.absent().empty()) {
    std::string patterns = patterns_of(ledger.absent(), ledger.declared());
    if (patterns.size() > kCharacters) {
      patterns = fmt::format("{},..", patterns.substr(0, patterns.rfind(',', kCharacters)));
    }
    check.details.push_back(
        fmt::format("not judged, for they were not handed over: {} ({}); "
                    "--require PATTERN, or all, makes that a failure",
                    ledger.absent().size(), patterns));
  }
  const std::vector<std::string>& extras = ledger.extras();
  if (extras.empty()) return;
  std::vector<std::string> named;
  for (const std::string& name : extras) {
    if (named.size() < kNamed) named.push_back(golden::printable(name));
  }
  check.details.push_back(
      fmt::format("extra, and not judged: {} tensors that the golden file does not declare: {}{}; "
                  "--strict makes that a failure",
                  extras.size(), fmt::join(named, ", "), extras.size() > kNamed ? ", .." : ""));
  for (std::size_t i = 0, told = 0; i < extras.size() && told < kNamed; ++i) {
    const std::string meant = perhaps_meant(extras[i], ledger.absent());
    if (meant.empty()) continue;
    check.details.push_back(fmt::format("  {}: is it {}, which was not handed over?",
                                        golden::printable(extras[i]), meant));
    ++told;
  }
}

void say_what_containers_hold(const Ledger& ledger, Check& check) {
  for (const auto& [types, narrowed] : ledger.narrowed()) {
    check.details.push_back(
        fmt::format("container: {} tensors stand as {}, which holds every value of them: judged so "
                    "(first {})",
                    narrowed.tensors, types, narrowed.first));
  }
}

// What is compared of no checkpoint, and why.
void say_what_is_undefined(const Case& file, const std::vector<CheckpointRow>& rows,
                           const Ledger& ledger, Check& check) {
  int64_t elements = 0, checkpoints = 0;
  for (const CheckpointRow& row : rows) {
    const int64_t left_out = row.compared && ledger.restrictions(row.name).first_position == 0
                                 ? golden::element_count(row.shape) - row.elements
                                 : 0;
    elements += left_out;
    checkpoints += left_out > 0;
  }
  if (elements == 0 || file.undefined.count() == 0) return;
  check.details.push_back(
      fmt::format("not compared: {} of {} positions, padding whose query sees no key: what it "
                  "computes is not defined ({} elements of {} checkpoints)",
                  file.undefined.count(), file.batch.attention_mask.size(), elements, checkpoints));
  const auto loss = std::find_if(rows.begin(), rows.end(),
                                 [](const CheckpointRow& row) { return row.name == "loss"; });
  if (loss == rows.end() || !loss->compared || !file.undefined.is_loss_of_them("loss")) return;
  if (ledger.find_values("logits") == nullptr) return;
  check.details.push_back(
      fmt::format("loss counts {} predictions made there: compared with what the candidate's own "
                  "logits give, and not with golden",
                  file.undefined.predictions()));
}

}  // namespace

std::vector<std::string> messages(const Ledger& ledger) {
  std::vector<std::string> lines;
  for (const Finding& finding : ledger.findings()) {
    lines.push_back(fmt::format("{}: {}", fault_name(finding.fault), finding.message));
  }
  return lines;
}

std::vector<std::string> shortened_messages(const Ledger& ledger) {
  const std::vector<std::string> all = messages(ledger);
  std::vector<std::string> lines;
  std::map<Fault, int> times;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (++times[ledger.findings()[i].fault] <= kLinesOfAKind) lines.push_back(all[i]);
  }
  for (const auto& [fault, count] : times) {
    if (count <= kLinesOfAKind) continue;
    lines.push_back(fmt::format("{}: {} more", fault_name(fault), count - kLinesOfAKind));
  }
  if (const std::string advice = advice_on_missing(ledger); !advice.empty()) {
    lines.push_back(advice);
  }
  return lines;
}

void book_nothing(const std::vector<CheckpointRow>& rows, Ledger& ledger) {
  const bool any =
      std::any_of(rows.begin(), rows.end(), [](const CheckpointRow& row) { return row.compared; });
  if (any || ledger.is_of_a_part()) return;  // a part that is nothing proves nothing
  ledger.report(
      {Fault::nothing, "", fmt::format("not one of {} checkpoints was compared", rows.size())});
}

Check ledger_check(const Case& file, const std::vector<CheckpointRow>& rows, const Ledger& ledger,
                   const std::vector<std::string>& notes, double seconds) {
  const auto compared = std::count_if(rows.begin(), rows.end(),
                                      [](const CheckpointRow& row) { return row.compared; });
  Check check{.name = "numerics: ledger", .summary = {}, .details = {}, .seconds = seconds};
  check.status = !ledger.findings().empty()               ? Status::fail
                 : compared == 0 && ledger.is_of_a_part() ? Status::inconclusive
                                                          : Status::pass;
  if (!ledger.absent().empty()) {
    check.summary = fmt::format("{} of {} checkpoints judged: ", compared, rows.size());
  }
  check.summary += fmt::format("{} checkpoints declared, {} compared, {} tensors handed over",
                               rows.size(), compared, ledger.taken());
  if (!ledger.findings().empty()) {
    check.summary += fmt::format(", {} faults", ledger.findings().size());
  }
  check.details = shortened_messages(ledger);
  if (compared == 0 && ledger.is_of_a_part()) {
    check.details.push_back(
        fmt::format("nothing was judged: not one of {} checkpoints was handed over; a map says "
                    "what is where (--map; 'assay map suggest GOLDEN DUMP' makes one)",
                    rows.size()));
  }
  check.details.insert(check.details.end(), notes.begin(), notes.end());
  say_what_is_left_out(ledger, check);
  say_what_containers_hold(ledger, check);
  say_what_is_undefined(file, rows, ledger, check);
  if (const auto& absent = file.not_computed; !absent.empty() && !ledger.is_of_a_part()) {
    check.summary += fmt::format(", {} that the subject does not compute", absent.size());
    check.details.push_back(
        fmt::format("not judged, for the subject computes past them: {} checkpoints, first {}",
                    absent.size(), *absent.begin()));
  }
  return check;
}

}  // namespace assay::verify
