// Rows of logs that are counted, left out, replaced or hold no number: nothing without a note.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "tests/verify/training/log_files.h"

namespace tt = boost::test_tools;

namespace assay::verify::training {
namespace {

using Values = std::vector<double>;

int64_t nans(const Series& series) {
  int64_t count = 0;
  for (const double value : series.values) count += std::isnan(value) ? 1 : 0;
  return count;
}

// A NaN as pandas, JavaScript, R and a spreadsheet write it.
BOOST_FIXTURE_TEST_CASE(a_loss_that_is_missing_at_the_end_is_nan, LogFiles) {
  for (const std::string plain :
       {"", "NA", "N/A", "None", "null", "-", "#N/A", "<NA>", "nan", "NaN"}) {
    const std::string text =
        fmt::format("step,loss,lr\n1,2.5,1\n2,2.25,1\n3,{},1\n4,{},1\n", plain, plain);
    const Curve curve = read("a.csv", text);
    BOOST_TEST_CONTEXT("'" << plain << "'") {
      BOOST_TEST(curve.train.steps == (Values{1, 2, 3, 4}), tt::per_element());
      BOOST_TEST(nans(curve.train) == 2);
      const bool is_said = has_note(curve, "taken for NaN");
      BOOST_TEST(is_said == (plain != "nan" && plain != "NaN"));
    }
  }
  for (const char* word : {"null", "\"NaN\"", "\"nan\"", "\"\"", "\"N/A\"", "NaN"}) {
    const std::string tail = std::string(", \"loss\": ") + word + "}\n";
    const Curve curve = read("a.jsonl",
                             "{\"step\": 1, \"loss\": 2.5, \"norm\": 1}\n"
                             "{\"step\": 2, \"loss\": 2.25, \"norm\": 1}\n"
                             "{\"step\": 3, \"norm\": null" +
                                 tail);
    BOOST_TEST_CONTEXT(word) { BOOST_TEST(nans(curve.train) == 1); }
  }
  const Curve columns =
      read("a.json", "{\"loss\": [2.5, 2.25, null], \"val_loss\": [2.5, 2.25, null]}");
  BOOST_TEST(nans(columns.train) == 1);
  BOOST_TEST(nans(columns.val) == 1);
  const Curve state = read("trainer_state.json", R"({"log_history": [
    {"loss": 3.0, "step": 10, "epoch": 1, "learning_rate": 1},
    {"loss": 2.5, "step": 20, "epoch": 2, "learning_rate": 1},
    {"loss": null, "step": 30, "epoch": 3, "learning_rate": 1}]})");
  BOOST_TEST(nans(state.train) == 1);
}

// Evaluations every k steps, rows of other things, a run that ended before its evaluation.
BOOST_FIXTURE_TEST_CASE(a_loss_that_was_not_due_is_none, LogFiles) {
  const auto is_clean = [&](const char* text) {
    Curve curve = read("b.csv", text);
    BOOST_TEST_CONTEXT(text) {
      BOOST_TEST(nans(curve.train) == 0);
      BOOST_TEST(nans(curve.val) == 0);
    }
    return curve;
  };
  is_clean("step,loss,val_loss\n1,2.5,\n2,2.25,2.5\n3,2,\n4,1.5,2.25\n5,1.25,\n6,1,\n7,1,\n");
  is_clean("step,loss,val_loss\n1,2.5,\n1,,2.5\n2,2,\n2,,2.25\n");
  is_clean("step,loss,val_loss\n1,2.5,\n2,2.25,\n3,2,\n3,,2.5\n");
  is_clean("step,loss,val_loss,test_acc\n1,2.5,2.5,\n2,2.25,2.5,\n2,,,0.75\n");
  is_clean("step,loss,val_loss,time\n1,2.5,2.5,3\n2,2.25,2.5,3\n2,,,6\n");
  is_clean("step,loss,gpu\n1,2.5,\n1,,50\n2,2.25,\n2,,50\n");
  is_clean("step,loss,lr\n1,2.5,1\n2,,1\n3,2.25,1\n4,,1\n");
  is_clean("step,loss\n1,2.5\n2,2.25\n3,");  // no end of the line: the run was killed
  const Curve no_val = is_clean("step,loss,val_loss\n1,2.5,2.5\n2,2.25,2.5\n3,2,\n4,2,\n");
  BOOST_TEST(has_note(no_val, "'val_loss' has no number in the last 2 of 4 rows"));
  const Curve hole = is_clean("step,loss\n1,2.5\n2,\n3,\n4,2.25\n5,2\n");
  BOOST_TEST(has_note(hole, "'loss' has no number in 2 of 5 rows before its last"));
}

BOOST_FIXTURE_TEST_CASE(a_loss_without_any_number_is_named, LogFiles) {
  BOOST_CHECK_EXCEPTION(
      read("c.jsonl", "{\"step\": 1, \"loss\": null}\n"), InputError, [](const InputError& error) {
        return std::string(error.what()).find("no number at 'loss'") != std::string::npos;
      });
}

BOOST_FIXTURE_TEST_CASE(sets_that_are_not_judged_are_named, LogFiles) {
  const Curve curve = read("trainer_state.json", R"({"log_history": [
    {"loss": 3.0, "step": 10}, {"eval_a_loss": 3.0, "step": 10}, {"eval_b_loss": 5.0, "step": 10},
    {"loss": 2.5, "step": 20}, {"eval_a_loss": 2.5, "step": 20}, {"eval_b_loss": 6.5, "step": 20}
    ]})");
  BOOST_TEST(curve.val.values == (Values{3, 2.5}), tt::per_element());
  BOOST_TEST(has_note(curve,
                      "the val loss is 'eval_a_loss'; not looked at: 'eval_b_loss' (2 values, "
                      "the last 6.5)"));
  const Curve loaders = read("d.csv",
                             "step,train_loss,val_loss/dataloader_idx_0,val_loss/dataloader_idx_1\n"
                             "1,2.5,2.75,3.5\n2,2.25,2.5,4.5\n");
  BOOST_TEST(loaders.val.values == (Values{2.75, 2.5}), tt::per_element());
  BOOST_TEST(has_note(loaders, "'val_loss/dataloader_idx_1' (2 values, the last 4.5)"));
}

BOOST_FIXTURE_TEST_CASE(a_val_loss_can_be_chosen, LogFiles) {
  const std::string table = "step,loss,val_loss,test_loss\n1,3,4,5\n2,2,3,6\n";
  const Curve curve = read("d.csv", table, "test/loss");
  BOOST_TEST(curve.val.values == (Values{5, 6}), tt::per_element());
  BOOST_TEST(has_note(curve, "not looked at: 'val_loss'"));
  BOOST_CHECK_EXCEPTION(read("d.csv", table, "loss"), InputError, [](const InputError& error) {
    return std::string(error.what()).find("(val_loss, test_loss)") != std::string::npos;
  });
  BOOST_TEST(read("d.csv", "step,loss\n1,3\n", "test_loss").val.empty());
}

BOOST_FIXTURE_TEST_CASE(rows_that_go_are_counted, LogFiles) {
  const Curve negative = read("e.csv", "step,loss\n-2,2.5\n-1,2.25\n0,2\n1,1.5\n");
  BOOST_TEST(negative.train.steps == (Values{-2, -1, 0, 1}), tt::per_element());
  const Curve twice = read("f.csv", "step,loss\n1,2.5\n1,2.25\n2,2\n2,1.5\n");
  BOOST_TEST(twice.train.values == (Values{2.25, 1.5}), tt::per_element());
  BOOST_TEST(has_note(twice, "2 training losses are at a step that had one already"));
  const Curve equal = read("g.csv", "step,loss\n7,2.5\n7,2.25\n7,2\n7,1.5\n");
  BOOST_TEST(equal.train.values == (Values{2.5, 2.25, 2, 1.5}), tt::per_element());
  BOOST_TEST(has_note(equal, "all 4 rows have step 7: rows are counted"));
  const Curve cut = read("h.jsonl", "{\"step\": 1, \"loss\": 2.5}\n{\"step\": 2, \"lo");
  BOOST_TEST(has_note(cut, "line 2 is cut short and left out"));
  const Curve uneven = read("i.json", "{\"loss\": [3, 2, 1], \"val_loss\": [3, 2]}");
  BOOST_TEST(has_note(uneven, "'val_loss' is left out: it has 2 values"));
}

// Val losses in a part of their own do no step again.
BOOST_FIXTURE_TEST_CASE(val_behind_all_of_training_resumes_nothing, LogFiles) {
  std::string text = "step,loss,val_loss\n";
  for (int i = 1; i <= 40; ++i) text += std::to_string(i) + ",2.5,\n";
  for (int i = 10; i <= 40; i += 10) text += std::to_string(i) + ",,2.75\n";
  const Curve curve = read("j.csv", text);
  BOOST_TEST(curve.train.values.size() == 40u);
  BOOST_TEST(curve.val.steps == (Values{10, 20, 30, 40}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(comments_are_no_rows, LogFiles) {
  const char* rows = "1,2.5,2.75\n# resumed\n2,2.25,2.5\n";
  for (const std::string head :
       {"# my run\n# lr 1\n\nstep,loss,val_loss\n", "\xef\xbb\xbf# my run\nstep,loss,val_loss\n",
        "# my run\n# step,loss,val_loss\n"}) {
    for (const char* name : {"k.csv", "k.txt"}) {
      const Curve curve = read(name, head + rows);
      BOOST_TEST_CONTEXT(name << ": " << head) {
        BOOST_TEST(curve.train.values == (Values{2.5, 2.25}), tt::per_element());
        BOOST_TEST(curve.val.values == (Values{2.75, 2.5}), tt::per_element());
        BOOST_TEST(has_note(curve, "lines of comment"));
      }
    }
  }
  BOOST_CHECK_THROW(read("l.csv", "# nothing\n# at all\n"), InputError);
}

// {"mode": "val", "loss": ..} of mmdetection; a table with a column of the split.
BOOST_FIXTURE_TEST_CASE(rows_belong_to_the_split_they_name, LogFiles) {
  const Curve lines = read("m.jsonl",
                           "{\"mode\": \"train\", \"epoch\": 1, \"loss\": 2.5}\n"
                           "{\"mode\": \"val\", \"epoch\": 1, \"loss\": 2.75}\n");
  BOOST_TEST(lines.train.values == (Values{2.5}), tt::per_element());
  BOOST_TEST(lines.val.values == (Values{2.75}), tt::per_element());
  const Curve table = read("n.csv", "step,split,loss\n1,train,2.5\n1,test,2.75\n2,train,2\n");
  BOOST_TEST(table.train.values == (Values{2.5, 2}), tt::per_element());
  BOOST_TEST(table.val.values == (Values{2.75}), tt::per_element());
  BOOST_TEST(has_note(table, "'test_loss' (val)"));
}

}  // namespace
}  // namespace assay::verify::training
