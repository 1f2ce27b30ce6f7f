// Logs of lines: rows under headings of epochs, progress bars, units, sections of a run.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tests/verify/training/log_files.h"
#include "verify/training/readers/line_words.h"

namespace tt = boost::test_tools;

namespace assay::verify::training {
namespace {

using Values = std::vector<double>;

struct LineLogs : LogFiles {
  Curve read(const std::string& text) const { return LogFiles::read("run.log", text); }
};

void is(const Series& series, const Values& steps, const Values& values) {
  BOOST_TEST(series.steps == steps, tt::per_element());
  BOOST_TEST(series.values == values, tt::per_element());
}

// Each epoch is a little faster than the one before, or takes as long.
BOOST_FIXTURE_TEST_CASE(epochs_of_keras_are_the_steps, LineLogs) {
  for (const char* times : {"26s 213ms/step", "26s 213ms", "1:02 213us/step"}) {
    std::string text;
    for (int epoch = 1; epoch <= 4; ++epoch) {
      text += "Epoch " + std::to_string(epoch) + "/40\n120/120 [======] - " + times +
              " - loss: " + std::to_string(5 - epoch) +
              ".5 - accuracy: 0.5 - val_loss: " + std::to_string(6 - epoch) + ".5\n";
    }
    const Curve curve = read(text);
    is(curve.train, {1, 2, 3, 4}, {4.5, 3.5, 2.5, 1.5});
    is(curve.val, {1, 2, 3, 4}, {5.5, 4.5, 3.5, 2.5});
    BOOST_TEST(has_note(curve, "numbered by their epochs"));
  }
  const Curve faster = read(
      "Epoch 1/3\n120/120 - 3s - 30ms/step - loss: 3.5 - val_loss: 3.75\n"
      "Epoch 2/3\n120/120 - 2s - 20ms/step - loss: 2.5 - val_loss: 2.75\n"
      "Epoch 3/3\n120/120 - 1s - 10ms/step - loss: 1.5 - val_loss: 1.75\n");
  is(faster.train, {1, 2, 3}, {3.5, 2.5, 1.5});
}

// Colours, backspaces and carriage returns; of the updates of a bar the last counts.
BOOST_FIXTURE_TEST_CASE(updates_of_a_bar_are_one_row, LineLogs) {
  const std::string bar = " \x1b[32m\xe2\x94\x81\xe2\x94\x81\x1b[0m\x1b[37m\x1b[0m ";
  std::string text;
  for (int epoch = 1; epoch <= 3; ++epoch) {
    const std::string tenth = std::to_string(epoch);
    text += "Epoch " + tenth + "/3\n";
    text += "\r\x1b[1m  1/120\x1b[0m" + bar + "\x1b[1m9s\x1b[0m 80ms/step - loss: 9.0\b\b\b\b";
    text += "\r\x1b[1m 60/120\x1b[0m" + bar + "\x1b[1m4s\x1b[0m 80ms/step - loss: 8.0\b\b\b\b";
    text +=
        fmt::format("\r\x1b[1m120/120\x1b[0m{}\x1b[1m9s\x1b[0m 80ms/step - loss: 7.{}", bar, tenth);
    text += fmt::format(
        "\b\b\r\x1b[1m120/120\x1b[0m{}\x1b[1m9s\x1b[0m 81ms/step - loss: 7.{} - val_loss: 8.{}\n",
        bar, tenth, tenth);
  }
  // An evaluation behind the last epoch.
  text += "313/313" + bar + "1s 2ms/step - loss: 0.25\n";
  const Curve curve = read(text);
  is(curve.train, {1, 2, 3}, {7.1, 7.2, 7.3});
  is(curve.val, {1, 2, 3}, {8.1, 8.2, 8.3});
  BOOST_TEST(has_note(curve, "9 updates of progress bars are left out"));
  BOOST_TEST(has_note(curve, "1 progress bars behind that of their epoch"));
}

// Bars that no heading is above, and one whose evaluation is as long as its epoch.
BOOST_FIXTURE_TEST_CASE(whole_bars_are_rows_of_their_own, LineLogs) {
  const std::string bar = "120/120 [====] - 26s 213ms/step - loss: ";
  const Curve bare = read(bar + "4.5\n" + bar + "3.5\n" + bar + "2.5\n");
  is(bare.train, {1, 2, 3}, {4.5, 3.5, 2.5});
  const Curve vals = read(bar + "4.5 - val_loss: 5.5\n" + bar + "3.5 - val_loss: 4.5\n");
  is(vals.val, {1, 2}, {5.5, 4.5});
  const Curve evaluated = read("Epoch 1/2\n" + bar + "4.75\n" + bar + "4.5 - val_loss: 5.5\n" +
                               "Epoch 2/2\n" + bar + "3.5\n" + bar + "9.5\nTest loss: 9.5\n");
  is(evaluated.train, {1, 2}, {4.5, 3.5});
}

// Batches under a heading are rows of their own.
BOOST_FIXTURE_TEST_CASE(batches_under_an_epoch_stay, LineLogs) {
  const Curve curve = read(
      "Epoch 1\n-------\nloss: 2.50  [   64/60000]\nloss: 2.40  [ 6464/60000]\n"
      "Test Error: \n Accuracy: 50.9%, Avg loss: 2.15 \n\n"
      "Epoch 2\n-------\nloss: 2.30  [   64/60000]\nloss: 2.20  [ 6464/60000]\n"
      "Test Error: \n Accuracy: 60.9%, Avg loss: 2.05 \n\n");
  is(curve.train, {1, 2, 4, 5}, {2.5, 2.4, 2.3, 2.2});
  is(curve.val, {3, 6}, {2.15, 2.05});
  const Curve restarted = read(
      "Epoch 1/2\nstep 10 loss 4.5\nstep 20 loss 3.5\nEpoch 2/2\nstep 10 loss 2.5\n"
      "step 20 loss 1.5\n");
  is(restarted.train, {1, 2, 3, 4}, {4.5, 3.5, 2.5, 1.5});
  const Curve two = read(
      "Epoch 0/24\n------\ntrain Loss: 0.75 Acc: 0.6\nval Loss: 0.5 Acc: 0.9\n"
      "\nEpoch 1/24\n------\ntrain Loss: 0.5 Acc: 0.6\nval Loss: 0.25 Acc: 1\n");
  is(two.train, {0, 1}, {0.75, 0.5});
  is(two.val, {0, 1}, {0.5, 0.25});
  BOOST_TEST(two.epoch.empty());
}

BOOST_FIXTURE_TEST_CASE(units_are_no_steps, LineLogs) {
  for (const char* rate :
       {"213ms/step", "1.5it/s", "tok/s: 900", "ms/step: 213", "s/it: 0.5", "time per step: 0.5",
        "time/iter 12", "5 s", "max steps: 900", "best step: 3"}) {
    const std::string tail = std::string(", ") + rate + ", loss: ";
    const Curve curve = read(fmt::format("step 1{}2.5\nstep 2{}2.25\n", tail, tail));
    BOOST_TEST_CONTEXT(rate) { is(curve.train, {1, 2}, {2.5, 2.25}); }
    const Curve bare = read(std::string(rate) + " loss: 2.5\n" + rate + " loss: 2.25\n");
    BOOST_TEST_CONTEXT(rate) { is(bare.train, {1, 2}, {2.5, 2.25}); }
  }
}

BOOST_FIXTURE_TEST_CASE(names_need_no_blanks, LineLogs) {
  const Curve curve = read("step:1,loss:2.5val_loss:2.75\nstep:2,loss:2.25val_loss:2.5\n");
  is(curve.train, {1, 2}, {2.5, 2.25});
  is(curve.val, {1, 2}, {2.75, 2.5});
}

struct SectionCase {
  const char* what;
  const char* train;
  const char* val;
};

BOOST_FIXTURE_TEST_CASE(sections_are_whose_the_loss_is, LineLogs) {
  const SectionCase cases[] = {
      {"fairseq", "2024-01-01 00:00:00 | INFO | train | epoch 001 | loss 4.5 | num_updates 100",
       "2024-01-01 00:00:30 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 5.5 | "
       "num_updates 100 | best_loss 2.0"},
      {"fairseq of old", "| epoch 001 | loss 4.5 | num_updates 100",
       "| epoch 001 | valid on 'valid' subset | loss 5.5 | num_updates 100"},
      {"fairseq without a subset", "| epoch 001 | loss 4.5 | num_updates 100",
       "| valid | epoch 001 | loss 5.5 | num_updates 100"},
      {"mnist", "Train Epoch: 1 [6400/60000 (11%)]\tLoss: 4.5",
       "\nTest set: Average loss: 5.5, Accuracy: 9000/10000 (90%)\n"},
      {"megatron", " iteration 100/ 2000 | elapsed time per iteration (ms): 7 | lm loss: 4.5E+00 |",
       "-----\n validation loss at iteration 100 | lm loss value: 5.5E+00 | lm loss PPL: 2.4E+02 "
       "|"},
      {"brackets", "[train] step 100 loss 4.5", "[val] step 100 loss 5.5"},
      {"a colon", "Training: loss=4.5", "Validation: loss=5.5"},
      {"a bar", "train | loss 4.5", "eval | loss 5.5"},
      {"mmdetection", "Epoch(train) [1][50/100] lr: 1e-3 loss: 4.5",
       "Epoch(val) [1][50] loss: 5.5"},
      {"timm", "Train: 1 [  50/1251 (  4%)]  Loss: 4.5 (4.6)  Time: 0.5s",
       "Test: [  50/97]  Time: 0.5 (0.5)  Loss: 5.5 (5.6)"},
      {"caffe", "Iteration 100, loss = 4.5", "    Test net output #0: loss = 5.5 (* 1 = 5.5 loss)"},
      {"word_language_model", "| epoch 1 | 200/2928 batches | ms/batch 10 | loss 4.5 | ppl 90",
       "| end of epoch 1 | time: 12s | valid loss 5.5 | valid ppl 244"},
      {"a heading", "step 100 loss 4.5", "Validating...\nloss 5.5"},
      {"stars", "{'loss': 4.5, 'learning_rate': 1e-3}",
       "***** Running Evaluation *****\n  Num examples = 100\n loss = 5.5"},
      {"flair", "epoch 1 - iter 10/100 - loss 4.5 - samples/sec: 100", "DEV : loss 5.5 - f1 0.5"},
      {"both", "epoch 1 train: loss 4.5 acc 0.5", " val: loss 5.5 acc 0.4"},
      {"litgpt", "Epoch 1 | iter 10 step 5 | loss train: 4.5, val: n/a | iter time: 300 ms",
       "iter 10: val loss 5.5, val time: 1000 ms"},
  };
  for (const SectionCase& row : cases) {
    BOOST_TEST_CONTEXT(row.what) {
      const Curve curve = read(std::string(row.train) + "\n" + row.val + "\n");
      BOOST_TEST(curve.train.values == Values{4.5}, tt::per_element());
      BOOST_TEST(curve.val.values == Values{5.5}, tt::per_element());
    }
  }
  const Curve one_line = read(
      "INFO: 1epoch results: [train] iter_time=0.1, loss=4.5, acc=0.5, [valid] loss=5.5, acc=0.4\n"
      "INFO: 2epoch results: [train] iter_time=0.1, loss=3.5, acc=0.5, [valid] loss=4.5, "
      "acc=0.4\n");
  BOOST_TEST(one_line.train.values == (Values{4.5, 3.5}), tt::per_element());
  BOOST_TEST(one_line.val.values == (Values{5.5, 4.5}), tt::per_element());
  BOOST_TEST(has_note(one_line,
                      "a loss in 2 lines of another section than training is "
                      "'valid_loss'"));
}

// What is near a section and is not in it.
BOOST_FIXTURE_TEST_CASE(training_losses_stay_training, LineLogs) {
  for (const char* line :
       {"step 1 val_acc: 0.8 loss: 2.5", "step 1 | valid ppl 8.1 | loss 2.5",
        "INFO train.py:12 step 1 loss 2.5", "Running Evaluation\n{'loss': 2.5, 'lr': 1e-3}",
        "Loading validation set\nstep 1 loss 2.5", "Validation accuracy: 0.8\nstep 1 loss 2.5",
        "Train on 600 samples, validate on 100 samples\nloss: 2.5",
        "best val loss: 1.0 | step 1 | loss 2.5"}) {
    BOOST_TEST_CONTEXT(line) {
      const Curve curve = read(std::string(line) + "\n");
      BOOST_TEST(curve.train.values == Values{2.5}, tt::per_element());
      BOOST_TEST(curve.val.empty());
    }
  }
}

// Two subsets of fairseq are two names; the one that is not judged is noted.
BOOST_FIXTURE_TEST_CASE(subsets_keep_their_names, LineLogs) {
  const Curve curve = read(
      "| epoch 001 | valid on 'valid' subset | loss 5.5 | num_updates 100\n"
      "| epoch 001 | valid on 'valid1' subset | loss 6.5 | num_updates 100\n"
      "| epoch 002 | valid on 'valid' subset | loss 4.5 | num_updates 200\n"
      "| epoch 002 | valid on 'valid1' subset | loss 7.5 | num_updates 200\n");
  is(curve.val, {100, 200}, {5.5, 4.5});
  BOOST_TEST(has_note(curve, "'eval_valid1_loss' (2 values, the last 7.5)"));
}

// A bar of Lightning shows the val loss of the epoch before with every update.
BOOST_FIXTURE_TEST_CASE(repeated_val_of_a_bar_counts_once, LineLogs) {
  const Curve curve = read(
      "Epoch 0: 50%|###  | 5/10 [00:01<00:01, 4.5it/s, loss=4.5]\r"
      "Epoch 0: 100%|####| 10/10 [00:01<00:01, 4.5it/s, loss=4, val_loss=5.5]\n"
      "Epoch 1: 50%|###  | 5/10 [00:01<00:01, 4.5it/s, loss=3.5, val_loss=5.5]\r"
      "Epoch 1: 100%|####| 10/10 [00:01<00:01, 4.5it/s, loss=3, val_loss=4.5]\n");
  BOOST_TEST(curve.train.values == (Values{4.5, 4, 3.5, 3}), tt::per_element());
  BOOST_TEST(curve.val.values == (Values{5.5, 4.5}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(losses_without_a_number, LineLogs) {
  const Curve curve = read("step 1 loss: 2.5\nstep 2 loss: 2.25\nstep 3 loss: None\n");
  BOOST_REQUIRE(curve.train.values.size() == 3u);
  BOOST_TEST(std::isnan(curve.train.values[2]));
  BOOST_TEST(has_note(curve, "taken for NaN"));
}

}  // namespace
}  // namespace assay::verify::training
