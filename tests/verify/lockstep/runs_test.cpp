// The reference's trainer, a subject like any other, beside the judge's own update of its state.
#include <boost/test/unit_test.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <set>

#include "golden/contract/error.h"
#include "golden/generate/generate.h"
#include "verify/lockstep/lockstep.h"
#include "verify/lockstep/micro_batches.h"
#include "verify/lockstep/reference_trainer.h"
#include "verify/subjects/bindings.h"

namespace {

using namespace assay;

class TrainedGolden {
 public:
  explicit TrainedGolden(const std::string& method, int64_t padding = 0)
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("assay-lockstep-{}-{}.h5", method, getpid())) {
    golden::GenerateRequest request;
    request.config = golden::preset("tiny");
    request.config.method = method;
    request.batch = 2;
    request.positions = 9;
    request.tokens = golden::synthetic_tokens(request.config.vocab_size, 2, 9, request.seed);
    request.attention_mask.assign(18, 1);
    for (int64_t t = 0; t < padding; ++t) request.attention_mask[static_cast<std::size_t>(t)] = 0;
    request.out = path_;
    request.force = true;
    golden::generate(request);
    reader = std::make_unique<golden::GoldenReader>(path_);
  }
  ~TrainedGolden() { std::filesystem::remove(path_); }

  std::unique_ptr<golden::GoldenReader> reader;

 private:
  std::filesystem::path path_;
};

int64_t counted_in(const verify::Batch& batch) {
  int64_t counted = 0;
  for (const int32_t label : batch.labels) counted += label != -100;
  return counted;
}

template <class Call>
void check_refused(const Call& call, const std::string& part) {
  BOOST_CHECK_EXCEPTION(call(), InputError, [&](const InputError& error) {
    BOOST_TEST_INFO(error.what());
    return std::string(error.what()).find(part) != std::string::npos;
  });
}

}  // namespace

// One of the first two steps is clipped, the other is not, in what follows from it.
BOOST_AUTO_TEST_CASE(the_reference_passes_with_every_method) {
  for (const char* method : {"plain", "1", "3.2", "4.1", "5.3", "pt"}) {
    BOOST_TEST_INFO_SCOPE(method);
    const TrainedGolden golden(method, 2);
    verify::LockstepOptions options{.steps = 2, .rate = 0.01};
    options.rule.weight_decay = 0.1;
    options.rule.max_norm = telling_max_norm(*golden.reader, options);
    verify::ReferenceTrainer trainer(golden.reader->header().config, *golden.reader, options.rule);
    const verify::LockstepResult result = verify_lockstep(*golden.reader, trainer, options);
    for (const verify::Check& check : result.checks) {
      BOOST_TEST_INFO(check.name << ": " << check.summary);
      BOOST_TEST((check.status == verify::Status::pass));
    }
    BOOST_TEST(result.diverged.empty());
    BOOST_TEST(result.rows.size() > 30u);
  }
}

BOOST_AUTO_TEST_CASE(micro_batches_differ_and_count_unequal_numbers) {
  const TrainedGolden golden("plain", 3);
  const golden::ModelConfig& config = golden.reader->header().config;
  const verify::Batch batch = verify::read_batch(*golden.reader);
  std::set<std::vector<int32_t>> seen;
  for (int64_t step = 0; step < 2; ++step) {
    const auto parts = micro_batches_of(config, batch, 3, step);
    BOOST_TEST(parts.size() == 3u);
    for (const verify::Batch& part : parts) seen.insert(part.tokens);
    BOOST_TEST(counted_in(parts[0]) == counted_in(parts[1]));
    BOOST_TEST(counted_in(parts[2]) < counted_in(parts[0]));
    BOOST_TEST(counted_in(parts[2]) > 0);
    // Behind three padded positions the first real token is predicted by none.
    BOOST_TEST(parts[0].labels[3] == -100);
  }
  BOOST_TEST(seen.size() == 6u);
}

BOOST_AUTO_TEST_CASE(no_two_steps_in_a_row_have_one_rate) {
  for (const int64_t steps : {1, 2, 3, 4, 9}) {
    const verify::LockstepOptions options{.steps = steps, .rate = 0.5};
    double largest = 0, last = 0;
    for (int64_t step = 0; step < steps; ++step) {
      const double rate = rate_of(options, step);
      BOOST_TEST(rate > 0);
      BOOST_TEST(rate != last);
      largest = std::max(largest, rate);
      last = rate;
    }
    BOOST_TEST(largest == 0.5);
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_judged_is_refused) {
  check_refused([] { validate(verify::LockstepOptions{.steps = 0}); },
                "--train: expected 1 step or more, got 0");
  check_refused([] { validate(verify::LockstepOptions{.micro_batches = 0}); },
                "--micro-batches: expected 1 or more a step, got 0");
  check_refused([] { validate(verify::LockstepOptions{.rate = 0}); },
                "--lr: expected a positive number");
  check_refused([] { validate(verify::LockstepOptions{.rule = {.beta2 = 1}}); }, "beta2");
  const TrainedGolden golden("plain");
  verify::Batch none = verify::read_batch(*golden.reader);
  std::fill(none.labels.begin(), none.labels.end(), -100);
  check_refused([&] { micro_batches_of(golden.reader->header().config, none, 2, 0); },
                "no position of the golden file's batch counts");
}
