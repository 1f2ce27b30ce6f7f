// Logs and arrays as people have them: what is read, what is passed over, what is refused.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/exchange/npz.h"
#include "tests/verify/training/log_files.h"
#include "verify/training/readers/arrays.h"
#include "verify/training/readers/names.h"
#include "verify/training/readers/token_sets.h"

namespace tt = boost::test_tools;

namespace assay::verify::training {
namespace {

using Values = std::vector<double>;

struct Logs : LogFiles {
  std::string fault(const std::string& name, const std::string& text) const {
    try {
      read(name, text);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
};

BOOST_FIXTURE_TEST_CASE(trainer_state_of_hugging_face, Logs) {
  const Curve curve = read("trainer_state.json", R"({
    "best_metric": null, "epoch": 1.0, "global_step": 30, "is_local_process_zero": true,
    "log_history": [
      {"epoch": 0.3, "grad_norm": 1.25, "learning_rate": 5e-05, "loss": 2.3026, "step": 10},
      {"epoch": 0.3, "eval_loss": 2.31, "eval_runtime": 1.0, "step": 10},
      {"epoch": 0.6, "grad_norm": NaN, "learning_rate": 4e-05, "loss": 2.1, "step": 20},
      {"epoch": 1.0, "grad_norm": 0.5, "learning_rate": 3e-05, "loss": 2.0, "step": 30},
      {"epoch": 1.0, "eval_loss": 2.05, "step": 30},
      {"epoch": 1.0, "step": 30, "total_flos": 1.0, "train_loss": 9.9, "train_runtime": 3.0}],
    "max_steps": 30, "trial_name": null})");
  BOOST_TEST(curve.train.values == (Values{2.3026, 2.1, 2.0}), tt::per_element());
  BOOST_TEST(curve.train.steps == (Values{10, 20, 30}), tt::per_element());
  BOOST_TEST(curve.val.values == (Values{2.31, 2.05}), tt::per_element());
  BOOST_TEST(std::isnan(curve.grad_norm.values[1]));
  BOOST_TEST(curve.train.half_step == 5e-5, tt::tolerance(1e-9));
  BOOST_TEST(curve.may_be_scaled);
}

// A resumed run does steps 20 and 30 again: the first time is left out.
BOOST_FIXTURE_TEST_CASE(resumed_runs_repeat_steps, Logs) {
  const Curve curve = read("trainer_state.json", R"({"log_history": [
    {"loss": 3.0, "step": 10, "epoch": 1, "learning_rate": 1},
    {"loss": 2.5, "step": 20, "epoch": 2, "learning_rate": 1},
    {"loss": 2.2, "step": 30, "epoch": 3, "learning_rate": 1},
    {"loss": 2.6, "step": 20, "epoch": 2, "learning_rate": 1},
    {"loss": 2.3, "step": 30, "epoch": 3, "learning_rate": 1}]})");
  BOOST_TEST(curve.train.values == (Values{3.0, 2.6, 2.3}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(logs_of_nanogpt, Logs) {
  const Curve curve = read("log.txt",
                           "tokens per iteration will be: 12,288\n"
                           "number of parameters: 10.65M\n"
                           "step 0: train loss 4.2874, val loss 4.2823\n"
                           "iter 0: loss 4.2649, time 31761.95ms, mfu -100.00%\n"
                           "iter 10: loss 3.2438, time 28.10ms, mfu 13.26%\n"
                           "step 250: train loss 1.9709, val loss 2.0695\n"
                           "saving checkpoint to out\n"
                           "iter 250: loss 2.0506, time 3702.31ms, mfu 11.93%\n");
  BOOST_TEST(curve.train.values == (Values{4.2649, 3.2438, 2.0506}), tt::per_element());
  BOOST_TEST(curve.train.steps == (Values{0, 10, 250}), tt::per_element());
  BOOST_TEST(curve.val.values == (Values{4.2823, 2.0695}), tt::per_element());
  BOOST_TEST(curve.val.steps == (Values{0, 250}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(logs_of_llmc, Logs) {
  const Curve file = read("main.log",
                          "s:0 tel:11.0082\ns:1 trl:10.9558 lr:0.000001 norm:15.34\n"
                          "s:2 trl:10.5 lr:0.000002 norm:14.2\ns:250 eval:0.2469\n"
                          "s:250 tel:6.4\n");
  BOOST_TEST(file.train.values == (Values{10.9558, 10.5}), tt::per_element());
  BOOST_TEST(file.val.values == (Values{11.0082, 6.4}), tt::per_element());
  BOOST_TEST(file.grad_norm.values == (Values{15.34, 14.2}), tt::per_element());
  const Curve screen = read(
      "stdout.txt",
      "val loss 11.009\n"
      "step    1/19560 | loss 10.955 (+nanz)| norm 15.3 (+nanz)| lr 8.6e-07 | 3053 ms | 42.6%\n"
      "step    2/19560 | loss 10.91 (+0.10z)| norm 14.1 (-1.5z)| lr 1.7e-06 | 2991 ms | 43.0%\n");
  BOOST_TEST(screen.train.values == (Values{10.955, 10.91}), tt::per_element());
  BOOST_TEST(screen.train.steps == (Values{1, 2}), tt::per_element());
  BOOST_TEST(screen.grad_norm.values == (Values{15.3, 14.1}), tt::per_element());
  BOOST_TEST(screen.val.values == (Values{11.009}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(other_logs_of_lines, Logs) {
  const Curve bare = read("log.txt", "0 val 10.95\n0 hella 0.24\n1 train 10.9\n2 train nan\n");
  BOOST_TEST(bare.val.values == (Values{10.95}), tt::per_element());
  BOOST_TEST(bare.train.values[0] == 10.9);
  BOOST_TEST(std::isnan(bare.train.values[1]));
  const Curve python =
      read("out.log",
           "{'loss': 2.5, 'grad_norm': 1.5, 'learning_rate': 5e-05, 'epoch': 1.0}\n"
           "{'loss': '2.25', 'epoch': '2.0'}\n{'eval_loss': 2.4, 'epoch': 2.0}\n");
  BOOST_TEST(python.train.values == (Values{2.5, 2.25}), tt::per_element());
  BOOST_TEST(python.val.values == (Values{2.4}), tt::per_element());
  const Curve dated = read("run.log",
                           "2024-05-01 12:00:01 INFO step 5 | train loss: 2.5 | lr: 1e-3\n"
                           "2024-05-01 12:00:02 INFO step 6 | train loss: 2.4 | lr: 1e-3\n");
  BOOST_TEST(dated.train.steps == (Values{5, 6}), tt::per_element());
  const Curve keras = read("keras.log",
                           "Epoch 1/2\n loss: 0.5 - val_loss: 0.6\n"
                           "Epoch 2/2\n loss: 0.4 - val_loss: 0.5\n");
  BOOST_TEST(keras.val.values == (Values{0.6, 0.5}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(tables, Logs) {
  const Curve commas = read("a.csv", "step,train_loss,val_loss,lr\n1,2.5,,0.1\n2,2.4,2.6,0.1\n");
  BOOST_TEST(commas.train.values == (Values{2.5, 2.4}), tt::per_element());
  BOOST_TEST(commas.val.steps == (Values{2}), tt::per_element());
  const Curve wandb =
      read("b.csv",
           "\"Step\",\"run - train/loss\",\"run - train/loss__MIN\",\"run - "
           "eval/loss\"\n\"1\",\"2.5\",\"2.5\",\"\"\n\"2\",\"2.4\",\"2.4\",\"2.6\"\n");
  BOOST_TEST(wandb.train.values == (Values{2.5, 2.4}), tt::per_element());
  BOOST_TEST(wandb.val.values == (Values{2.6}), tt::per_element());
  const Curve missing =
      read("c.csv", "step;loss;val_loss\n1;2.5;nan\n1;nan;2.6\n2;2.4;nan\n2;nan;2.5\n");
  BOOST_TEST(missing.train.values == (Values{2.5, 2.4}), tt::per_element());
  BOOST_TEST(missing.val.values == (Values{2.6, 2.5}), tt::per_element());
  const Curve broken = read("d.csv", "step,loss,val_loss\n1,2.5,2.6\n2,nan,nan\n");
  BOOST_TEST(std::isnan(broken.train.values[1]));
  const Curve cut = read("e.tsv", "step\tloss\n1\t2.5\n2\t2.4\n3");
  BOOST_TEST(cut.train.values.size() == 2u);
  const Curve layers =
      read("f.csv", "step,loss,grad_norm/layers/0,grad_norm/layers/1\n1,2,0.5,0.6\n");
  BOOST_TEST(layers.layers.size() == 2u);
}

BOOST_FIXTURE_TEST_CASE(json_of_every_form, Logs) {
  const Curve lines = read("a.jsonl",
                           "{\"step\": 1, \"train\": {\"loss\": 2.5}}\n"
                           "{\"step\": 2, \"train\": {\"loss\": NaN}, \"eval\": {\"loss\": 2}}\n"
                           "{\"step\": 3, \"train\": {\"lo");
  BOOST_TEST(lines.train.values.size() == 2u);
  BOOST_TEST(std::isnan(lines.train.values[1]));
  BOOST_TEST(lines.val.values == (Values{2}), tt::per_element());
  const Curve list =
      read("b.json", "[{\"step\": 1, \"loss\": 2.5}, {\"step\": 2, \"loss\": \"2.4\"}]");
  BOOST_TEST(list.train.values == (Values{2.5, 2.4}), tt::per_element());
  const Curve plural = read("e.json", "{\"train_losses\": [2.5, 2.4], \"val_losses\": [2.6, 2]}");
  BOOST_TEST(plural.val.values == (Values{2.6, 2}), tt::per_element());
  const Curve columns = read("c.json", "{\"loss\": [2.5, 2.4], \"val_loss\": [2.6, Infinity]}");
  BOOST_TEST(columns.train.steps == (Values{1, 2}), tt::per_element());
  BOOST_TEST(std::isinf(columns.val.values[1]));
  const Curve epochs = read(
      "d.jsonl",
      "{\"epoch\": 1, \"step\": 1, \"loss\": 3}\n{\"epoch\": 1, \"step\": 2, \"loss\": 2}\n"
      "{\"epoch\": 2, \"step\": 1, \"loss\": 1}\n{\"epoch\": 2, \"step\": 2, \"loss\": 0.5}\n");
  BOOST_TEST(epochs.train.values == (Values{3, 2, 1, 0.5}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(what_is_no_curve_is_refused, Logs) {
  const auto says = [&](const std::string& name, const std::string& text, const char* part) {
    const std::string fault_text = fault(name, text);
    BOOST_TEST_CONTEXT(name << ": " << fault_text) {
      BOOST_TEST((fault_text.find(part) != std::string::npos));
    }
  };
  says("nothing.csv", "", ": empty: expected a curve");
  says("blank.json", "  \n", "empty");
  says("a.csv", "1,2\n3,4\n", "header");
  says("b.csv", "step,accuracy\n1,0.5\n", "expected a training or val loss");
  says("c.csv", "step,loss\n1,2.5\n2,much\n3,1\n", "line 3: loss: expected a number");
  says("d.csv", "step,loss\n1,2.5,7\n2,2.4\n", "line 2: expected 2 fields");
  says("e.json", "{\"log_history\": 3}", "expected a list");
  says("f.json", "{\"log_history\": [3]}", "expected an object");
  says("g.json", "{\"log_history\": [", "syntax error");
  says("h.jsonl", "{\"loss\": 1}\n{\"loss\"\n{\"loss\": 2}\n", "line 2");
  says("i.log", "nothing here\nof a loss\n", "expected a training or val loss");
  says("j.log", std::string("loss 1\0", 7), "bytes");
  says("events.out.tfevents.1", "x", "TensorBoard");
  BOOST_CHECK_THROW(read_curve(file("absent.csv")), InputError);
}

BOOST_AUTO_TEST_CASE(names_of_arrays) {
  const auto is = [](const char* name, Array what, int set) {
    const ArrayName found = array_named(name);
    BOOST_TEST_CONTEXT(name) { BOOST_TEST((found.what == what && found.set == set)); }
  };
  is("fresh/losses", Array::losses, kFresh);
  is("val_log_probs", Array::log_probs, kVal);
  is("train.input_ids", Array::tokens, kTrain);
  is("eval/oracle_log_probs", Array::oracle_log_probs, kVal);
  is("tokens", Array::tokens, -1);
  is("fresh/weights", Array::none, kFresh);
  is("train_val_losses", Array::losses, -1);
}

AlignedSet aligned(SetArrays arrays, double scale = 1) {
  arrays.path = "test";
  return align(arrays, kFresh, scale);
}

// Losses of tokens, of all but the first, of labels; of log probabilities and of bits.
BOOST_AUTO_TEST_CASE(losses_go_with_their_tokens) {
  SetArrays arrays;
  arrays.losses = golden::Tensor{{2, 3}, {1, 2, 3, 4, 5, 6}};
  arrays.tokens = golden::Tensor{{2, 4}, {9, 1, 2, 3, 9, 4, 5, 6}};
  const AlignedSet shifted = aligned(arrays);
  BOOST_TEST(shifted.set.targets == (std::vector<int32_t>{1, 2, 3, 4, 5, 6}), tt::per_element());
  BOOST_TEST(shifted.sequence_positions == 4);
  arrays.tokens = golden::Tensor{{2, 3}, {9, 1, 2, 9, 4, 5}};
  arrays.labels = golden::Tensor{{2, 3}, {1, 2, 3, 4, 5, 6}};  // x and y of nanoGPT
  const AlignedSet pairs = aligned(arrays);
  BOOST_TEST(pairs.sequences == (std::vector<int32_t>{9, 1, 2, 3, 9, 4, 5, 6}), tt::per_element());
  arrays.labels = golden::Tensor{{2, 3}, {1, -100, 3, 4, 5, 6}};
  BOOST_TEST(aligned(arrays).set.counted[1] == 0);
  SetArrays log_probs;
  log_probs.log_probs = golden::Tensor{{2}, {-1, -2}};
  BOOST_TEST(aligned(log_probs, std::log(2.0)).set.losses[1] == 2 * std::log(2.0),
             tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(misfits_are_refused) {
  SetArrays arrays;
  arrays.losses = golden::Tensor{{2, 3}, {1, 2, 3, 4, 5, 6}};
  arrays.tokens = golden::Tensor{{3, 2}, {1, 2, 3, 4, 5, 6}};
  BOOST_CHECK_THROW(aligned(arrays), InputError);
  arrays.tokens = golden::Tensor{{2, 3}, {1, 2, 3, 4, 5, 6.5}};
  BOOST_CHECK_THROW(aligned(arrays), InputError);
  SetArrays negative;
  negative.losses = golden::Tensor{{2}, {-1, -2}};
  BOOST_CHECK_THROW(aligned(negative), InputError);
  SetArrays three;
  three.losses = golden::Tensor{{2, 2, 2}, std::vector<double>(8, 1.0)};
  BOOST_CHECK_THROW(aligned(three), InputError);
  SetArrays none;
  none.losses = golden::Tensor{{0, 4}, {}};
  BOOST_CHECK_THROW(aligned(none), InputError);
}

// Zeros behind rows of different lengths are padding; zeros at one place are not.
BOOST_AUTO_TEST_CASE(padding_is_left_out) {
  SetArrays arrays;
  arrays.losses = golden::Tensor{{2, 4}, {1, 2, 0, 0, 1, 2, 3, 0}};
  const AlignedSet padded = aligned(arrays);
  BOOST_TEST(padded.set.counted == (std::vector<uint8_t>{1, 1, 0, 0, 1, 1, 1, 0}),
             tt::per_element());
  arrays.losses = golden::Tensor{{2, 4}, {1, 2, 3, 0, 1, 2, 3, 0}};
  BOOST_TEST(aligned(arrays).set.counted == std::vector<uint8_t>(8, 1), tt::per_element());
  arrays.losses = golden::Tensor{{2, 2}, {0, 0, 0, 0}};  // a full leak
  BOOST_TEST(aligned(arrays).set.counted == std::vector<uint8_t>(4, 1), tt::per_element());
  arrays.losses = golden::Tensor{{2, 3}, {0, 1, 2, 0, 2, 1}};  // the first token has no loss
  BOOST_TEST(aligned(arrays).set.counted == (std::vector<uint8_t>{0, 1, 1, 0, 1, 1}),
             tt::per_element());
}

// .npy and .npz; a file with steps is a curve.
BOOST_FIXTURE_TEST_CASE(arrays_of_numpy, Logs) {
  const golden::FetchValues fetch = [](const std::string& name) {
    return name == "step" ? Values{1, 2, 3} : Values{2.5, 2.25, 2.0};
  };
  golden::write_npz(
      file("a.npz"),
      {{"step", golden::Element::f64, {3}}, {"train_loss", golden::Element::f64, {3}}}, fetch,
      golden::Rounding::refuse, false);
  std::vector<NamedArray> arrays = read_arrays(file("a.npz"));
  const auto curve = curve_in_arrays(file("a.npz"), arrays);
  BOOST_REQUIRE(curve.has_value());
  BOOST_TEST(curve->train.values == (Values{2.5, 2.25, 2.0}), tt::per_element());
  BOOST_TEST(arrays.empty());
  const Values losses{1.5, 2.5};
  const auto* bytes = reinterpret_cast<const char*>(losses.data());
  const std::string head = golden::npy_header_text(golden::Element::f64, {1, 2}, "test");
  golden::sample::put_bytes(file("fresh_losses.npy"), head + std::string(bytes, 16));
  std::array<SetArrays, 3> sets;
  sort_arrays(file("fresh_losses.npy"), read_arrays(file("fresh_losses.npy")), -1, sets);
  BOOST_TEST(sets[kFresh].losses->values == losses, tt::per_element());
  golden::sample::put_bytes(file("cut.npy"), head + std::string(bytes, 8));
  BOOST_CHECK_THROW(read_arrays(file("cut.npy")), InputError);
  std::array<SetArrays, 3> unnamed;
  BOOST_CHECK_THROW(sort_arrays("x.npz", {{"losses", {{1, 2}, losses}}}, -1, unnamed), InputError);
}

}  // namespace
}  // namespace assay::verify::training
