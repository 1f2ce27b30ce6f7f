// Several candidates beside each other: each one's verdict, where each two of them part, and what
// that says of them.
#pragma once

#include <string>
#include <vector>

#include "verify/judge/parting.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/verdict.h"

namespace assay::verify {

// What is said of one candidate.
struct Candidate {
  std::string label;    // "A"
  std::string subject;  // "a.h5, eager, fp32 storage"
  Status status = Status::inconclusive;
  std::string diverged;             // where it leaves its bounds first, "" if nowhere
  std::string reason;               // of a status that is no pass
  std::vector<CheckpointRow> rows;  // in execution order
};

// From its report. diverged: name of its first divergence.
Candidate make_candidate(const std::string& label, const std::string& subject,
                         const std::vector<Check>& checks, const std::vector<CheckpointRow>& rows,
                         const std::string& diverged);

// Two of them, by index: first < second.
struct CandidatePair {
  std::size_t first = 0, second = 0;
  std::vector<PairRow> rows;  // of what both handed over, in execution order
};

// What comes of two verdicts and the difference between the two.
enum class Conclusion {
  right_and_agree,
  one_is_wrong,
  wrong_and_agree,  // both leave their bounds and never part: one misreading, made twice
  wrong_and_differ,
  undecided  // one of them is neither right nor wrong
};

std::string conclusion_name(Conclusion conclusion);  // "right_and_agree"

struct SideBySide {
  std::vector<Candidate> candidates;
  std::vector<CandidatePair> pairs;

  // Names of all their checkpoints in execution order.
  std::vector<std::string> names() const;
};

// The first checkpoint where they part, or nullptr.
const PairRow* first_parting(const CandidatePair& pair);
// Checkpoints that one has and the other has not.
std::vector<std::string> only_in(const SideBySide& all, std::size_t one, std::size_t other);
Conclusion conclusion_of(const SideBySide& all, const CandidatePair& pair);
// "B is wrong, from layers/0/attn/q on; A is right", one sentence.
std::string conclusion_text(const SideBySide& all, const CandidatePair& pair);

// Its status is the worst of the candidates', its summary says what comes of all, its details where
// they leave their bounds, part, and what only one has.
Check conclusion_check(const SideBySide& all);

// The table, a line a checkpoint, headings first.
std::string side_by_side_text(const SideBySide& all);
std::string side_by_side_html(const SideBySide& all);

}  // namespace assay::verify
