// Every planted defect of a trainer is found at its step and tensor, with all that it could hand
// over and with less; clean twins are accepted.
#include <boost/test/unit_test.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "golden/generate/generate.h"
#include "tests/mutants/training/spoilt_trainer.h"
#include "verify/lockstep/lockstep.h"

namespace {

using namespace assay;
using golden::Precision;
using mutants::SpoiltTrainer;
using Defect = mutants::TrainingDefect;

constexpr int64_t kRows = 2, kPositions = 8;

class TrainedCase {
 public:
  TrainedCase()
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("assay-training-{}.h5", getpid())) {
    golden::GenerateRequest request;
    request.config = golden::preset("tiny");
    request.batch = kRows;
    request.positions = kPositions;
    request.tokens =
        golden::synthetic_tokens(request.config.vocab_size, kRows, kPositions, request.seed);
    request.out = path_;
    request.force = true;
    golden::generate(request);
    reader_ = std::make_unique<golden::GoldenReader>(path_);
    options.steps = 3;
    options.rate = 0.01;
    options.rule.weight_decay = 0.1;
    options.rule.max_norm = telling_max_norm(*reader_, options);
  }
  ~TrainedCase() { std::filesystem::remove(path_); }

  verify::LockstepResult judge(Defect defect, Precision precision,
                               const std::vector<std::string>& hides = {}) const {
    SpoiltTrainer trainer(defect, reader_->header().config, *reader_, options.rule, precision,
                          hides);
    return verify_lockstep(*reader_, trainer, options);
  }

  verify::LockstepOptions options;

 private:
  std::filesystem::path path_;
  std::unique_ptr<golden::GoldenReader> reader_;
};

struct Planted {
  const char* name;
  Defect defect;
  int64_t step;        // at which it first shows
  const char* tensor;  // the beginning of its name
  const char* says;    // part of the explanation; "": none is known
};

// The head is the first weight from the loss backwards, and the second step has another rate than
// the first. One of the first two steps clips.
const Planted kPlanted[] = {
    {"no bias correction", Defect::no_bias_correction, 1, "weight/", "without correction of the"},
    {"no second bias correction", Defect::no_second_bias_correction, 1, "weight/",
     "without correction of the second moment's bias"},
    {"eps inside the root", Defect::eps_inside_the_root, 1, "weight/", "eps inside the root"},
    {"decay of norms", Defect::decay_of_norms, 1, "weight/model.norm.weight",
     "with decay, which is of weights with two dimensions"},
    {"decay through the moments", Defect::decay_through_the_moments, 1, "first/lm_head.weight",
     "the decay goes through the moments"},
    {"decay without the rate", Defect::decay_without_the_rate, 1, "weight/lm_head.weight",
     "the learning rate does not scale"},
    {"no clipping", Defect::no_clipping, 0, "first/", "a gradient that is not clipped"},
    {"clipping by tensor", Defect::clipping_by_tensor, 0, "first/", ""},
    {"second moment not clipped", Defect::second_moment_not_clipped, 0, "second/",
     "a gradient that is not clipped"},
    {"norm without embedding", Defect::norm_without_embedding, 1, "grad_norm", ""},
    {"mean of micro-batches", Defect::mean_of_micro_batches, 1, "grad/lm_head.weight",
     "the mean of the micro-batches' means"},
    {"last micro-batch alone", Defect::last_micro_batch_alone, 1, "grad/lm_head.weight",
     "that of micro-batch 2 of 2 alone"},
    {"loss scale left in", Defect::loss_scale_left_in, 1, "grad/lm_head.weight", "times 1024"},
    {"loss scale in the moments", Defect::loss_scale_in_the_moments, 1, "first/lm_head.weight", ""},
    {"stale first moment", Defect::stale_first_moment, 1, "weight/",
     "the first moment of before the step"},
    {"first moment kept", Defect::first_moment_kept, 1, "first/", "it was not updated"},
    {"moments lost", Defect::moments_lost, 2, "first/", "moment of before the step lost"},
    {"betas exchanged", Defect::betas_exchanged, 1, "first/", "beta1 and beta2 exchanged"},
    {"schedule off by one", Defect::schedule_off_by_one, 2, "weight/",
     "the learning rate of the step before"},
    {"steps off by one", Defect::steps_off_by_one, 1, "weight/", "as of the next step"},
    {"steps not taken over", Defect::steps_not_taken_over, 1, "weight/", ""},
    {"gradients not cleared", Defect::gradients_not_cleared, 2, "grad/lm_head.weight",
     "that was not set to 0"},
    {"a weight never updated", Defect::a_weight_never_updated, 1, "weight/model.layers.",
     "it was not updated"},
    {"weights rounded to bf16", Defect::weights_rounded_to_bf16, 1, "weight/", "rounded to bf16"},
    {"first moments rounded to bf16", Defect::first_moments_rounded_to_bf16, 1, "first/", ""},
    {"a step uphill", Defect::step_uphill, 1, "weight/", "in the other direction"},
    {"model keeps its first weights", Defect::model_keeps_its_first_weights, 2, "loss",
     "those of the weights of the first step"},
    {"model reads weights a step late", Defect::model_reads_weights_a_step_late, 2, "loss",
     "those of the weights of the first step"},
};

bool fails(const verify::LockstepResult& result) {
  return verify::exit_code(result.checks) == 1 && !result.diverged.empty();
}

std::string text_of(const verify::LockstepResult& result) {
  std::string text = result.diverged + "\n";
  for (const verify::Check& check : result.checks) {
    text += verify::status_name(check.status) + " " + check.name + ": " + check.summary + "\n";
    for (const std::string& line : check.details) text += "  " + line + "\n";
  }
  return text;
}

void check_found(const Planted& planted, const verify::LockstepResult& result) {
  BOOST_TEST_INFO(text_of(result));
  BOOST_TEST(fails(result));
  const std::size_t slash = result.diverged.find('/', 5);
  const std::string step = result.diverged.substr(5, slash - 5);
  BOOST_TEST_INFO(text_of(result));
  if (planted.step > 0) BOOST_TEST(step == std::to_string(planted.step));
  BOOST_TEST_INFO(text_of(result));
  BOOST_TEST(result.diverged.substr(slash + 1).starts_with(planted.tensor));
}

}  // namespace

BOOST_AUTO_TEST_CASE(clean_trainers_pass) {
  const TrainedCase trained;
  for (const Precision precision : {Precision::fp64, Precision::fp32}) {
    for (const std::vector<std::string>& hides :
         std::vector<std::vector<std::string>>{{},
                                               {"grad/"},
                                               {"grad/", "grad_norm"},
                                               {"first/", "second/"},
                                               {"weight/"},
                                               {"loss", "grad/", "first/", "second/"}}) {
      const verify::LockstepResult result = trained.judge(Defect::none, precision, hides);
      BOOST_TEST_INFO(text_of(result));
      // Without weights the update is not judged.
      const bool judges_updates = hides != std::vector<std::string>{"weight/"} &&
                                  (hides.empty() || hides.front() != "loss");
      BOOST_TEST(verify::exit_code(result.checks) == (judges_updates ? 0 : 3));
      BOOST_TEST(result.diverged.empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(defects_are_found_at_their_step_and_tensor) {
  const TrainedCase trained;
  Precision precision = Precision::fp32;
  for (const Planted& planted : kPlanted) {
    BOOST_TEST_INFO_SCOPE(planted.name << ", " << golden::precision_name(precision));
    const verify::LockstepResult result = trained.judge(planted.defect, precision);
    check_found(planted, result);
    BOOST_TEST_INFO(text_of(result));
    BOOST_TEST(result.diagnosis.find(planted.says) != std::string::npos);
    precision = precision == Precision::fp32 ? Precision::fp64 : Precision::fp32;
  }
}

// Where gradients are not handed over, moments and weights tell nearly as much.
BOOST_AUTO_TEST_CASE(defects_are_found_without_gradients) {
  const TrainedCase trained;
  for (const Planted& planted : kPlanted) {
    BOOST_TEST_INFO_SCOPE(planted.name);
    const verify::LockstepResult result = trained.judge(planted.defect, Precision::fp32, {"grad/"});
    BOOST_TEST_INFO(text_of(result));
    BOOST_TEST(fails(result));
  }
}

BOOST_AUTO_TEST_CASE(what_hands_over_nothing_has_not_passed) {
  const TrainedCase trained;
  const verify::LockstepResult result =
      trained.judge(Defect::none, Precision::fp64,
                    {"loss", "grad_norm", "grad/", "first/", "second/", "weight/"});
  BOOST_TEST(verify::exit_code(result.checks) == 1);
}
