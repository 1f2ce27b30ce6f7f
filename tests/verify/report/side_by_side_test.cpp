// What comes of two verdicts and the difference between two candidates.
#include "verify/report/side_by_side.h"

#include <boost/test/unit_test.hpp>

#include "verify/report/report.h"

namespace assay::verify {
namespace {

CheckpointRow row_named(const std::string& name, Status status = Status::pass,
                        Fault fault = Fault::none) {
  CheckpointRow row;
  row.name = name;
  row.status = status;
  row.fault = fault;
  row.compared = fault == Fault::none;
  return row;
}

Check check_of(Status status) {
  return {.name = "numerics: ledger", .status = status, .summary = "so it is", .details = {}};
}

Candidate right(const std::string& label) {
  return make_candidate(label, "dump.h5", {check_of(Status::pass)},
                        {row_named("embed"), row_named("logits")}, "");
}

Candidate diverged(const std::string& label, const std::string& where) {
  return make_candidate(label, "dump.h5", {check_of(Status::fail)},
                        {row_named("embed"), row_named("logits", Status::fail)}, where);
}

PairRow pair_row(const std::string& name, int64_t parted) {
  return {name, false, 4, parted, 0.5, parted > 0 ? 2.0 : 0.5};
}

SideBySide two(Candidate one, Candidate other, int64_t parted_logits) {
  return {{std::move(one), std::move(other)},
          {{0, 1, {pair_row("embed", 0), pair_row("logits", parted_logits)}}}};
}

bool concludes(const SideBySide& all, Conclusion due) {
  return conclusion_of(all, all.pairs[0]) == due;
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(two_verdicts_and_a_difference_give_one_of_four_conclusions) {
  BOOST_TEST(concludes(two(right("A"), right("B"), 0), Conclusion::right_and_agree));
  BOOST_TEST(concludes(two(right("A"), diverged("B", "logits"), 4), Conclusion::one_is_wrong));
  // One that is barely outside may not part from the other.
  BOOST_TEST(concludes(two(diverged("A", "logits"), right("B"), 0), Conclusion::one_is_wrong));
  BOOST_TEST(concludes(two(diverged("A", "logits"), diverged("B", "logits"), 0),
                       Conclusion::wrong_and_agree));
  BOOST_TEST(concludes(two(diverged("A", "logits"), diverged("B", "logits"), 1),
                       Conclusion::wrong_and_differ));
}

BOOST_AUTO_TEST_CASE(what_is_neither_right_nor_wrong_decides_nothing) {
  for (const Status status : {Status::untrusted, Status::inconclusive, Status::skipped}) {
    const Candidate doubtful =
        make_candidate("B", "dump.h5", {check_of(status)}, {row_named("embed")}, "");
    const SideBySide all = two(right("A"), doubtful, 0);
    BOOST_TEST(concludes(all, Conclusion::undecided));
    BOOST_TEST((conclusion_check(all).status == status));
    BOOST_TEST(
        mentions(conclusion_text(all, all.pairs[0]), "A is right; B is " + status_name(status)));
  }
}

// Two that lack tensors have no misreading in common, whatever else agrees.
BOOST_AUTO_TEST_CASE(faults_that_are_no_numbers_are_no_common_misreading) {
  const auto lacking = [](const std::string& label, const std::string& name) {
    return make_candidate(label, "dump.h5", {check_of(Status::fail)},
                          {row_named(name, Status::fail, Fault::missing)}, "");
  };
  const SideBySide all = two(lacking("A", "embed"), lacking("B", "logits"), 0);
  BOOST_TEST(concludes(all, Conclusion::wrong_and_differ));
  BOOST_TEST(mentions(conclusion_text(all, all.pairs[0]),
                      "both are wrong: A: embed: missing; B: logits: missing"));
}

BOOST_AUTO_TEST_CASE(candidates_without_a_common_tensor_do_not_agree) {
  SideBySide all = two(right("A"), right("B"), 0);
  all.pairs[0].rows.clear();
  BOOST_TEST(concludes(all, Conclusion::undecided));
  all = two(diverged("A", "logits"), diverged("B", "logits"), 0);
  all.pairs[0].rows.clear();
  BOOST_TEST(concludes(all, Conclusion::wrong_and_differ));
}

// Nor do those of which every element is left out.
BOOST_AUTO_TEST_CASE(a_row_without_elements_shows_no_agreement) {
  SideBySide all = two(right("A"), right("B"), 0);
  for (PairRow& row : all.pairs[0].rows) row.elements = 0;
  BOOST_TEST(concludes(all, Conclusion::undecided));
}

BOOST_AUTO_TEST_CASE(checkpoints_of_all_stand_in_order_of_execution) {
  const auto with = [](const std::string& label, const std::vector<std::string>& names) {
    Candidate made{.label = label, .subject = "", .diverged = "", .reason = "", .rows = {}};
    for (const std::string& name : names) made.rows.push_back(row_named(name));
    return made;
  };
  const SideBySide all{{with("A", {"embed", "output", "logits"}),
                        with("B", {"input", "embed", "q", "output", "logits", "loss"})},
                       {}};
  const std::vector<std::string> due{"input", "embed", "q", "output", "logits", "loss"};
  BOOST_TEST(all.names() == due, boost::test_tools::per_element());
  const std::vector<std::string> more{"input", "q", "loss"};
  BOOST_TEST(only_in(all, 1, 0) == more, boost::test_tools::per_element());
  BOOST_TEST(only_in(all, 0, 1).empty());
}

BOOST_AUTO_TEST_CASE(of_three_the_conclusion_names_the_right_and_the_wrong) {
  SideBySide all{{right("A"), diverged("B", "embed"), diverged("C", "logits")}, {}};
  all.pairs = {{0, 1, {pair_row("embed", 2)}},
               {0, 2, {pair_row("logits", 2)}},
               {1, 2, {pair_row("embed", 2)}}};
  const Check check = conclusion_check(all);
  BOOST_TEST((check.status == Status::fail));
  BOOST_TEST(check.summary == "right: A; wrong: B and C");
  const auto told = [&](const std::string& part) {
    for (const std::string& line : check.details) {
      if (mentions(line, part)) return true;
    }
    return false;
  };
  BOOST_TEST(told("A, B: A is right, B is wrong: leaves its bounds first at embed"));
  BOOST_TEST(told("first outside: B at embed"));
  BOOST_TEST(told("B and C part first at embed: 2 of 4 elements"));
}

}  // namespace assay::verify
