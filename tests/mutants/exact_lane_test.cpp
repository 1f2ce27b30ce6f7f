// The exact lane: golden values that nobody has to round, judged by equality. Everything in it is a
// bfloat16, the reference passes in every precision, one wrong bit fails, and so does every planted
// defect.
#include <boost/test/unit_test.hpp>

#include <bit>
#include <cmath>
#include <set>

#include "golden/contract/error.h"
#include "golden/generate/generate_suite.h"
#include "golden/suites/exact_weights.h"
#include "reference/methods/registry.h"
#include "tests/golden/sample.h"
#include "tests/mutants/mutant.h"
#include "verify/judge/equality.h"
#include "verify/subjects/graph_subject.h"

namespace {

using namespace assay;
using golden::Precision;
using golden::SuiteCase;
using verify::Status;

// The case of suite exact with grouped heads, padding, three layers and 65 positions.
SuiteCase exact_case(const std::string& method) {
  return golden::selected(golden::load_suite("exact"), method + "-llama-gqa-b3-*").cases.front();
}

class GoldenCase {
 public:
  explicit GoldenCase(const SuiteCase& c) {
    golden::generate_case(c, folder_.file("g.h5"), false);
    reader_ = std::make_unique<golden::GoldenReader>(folder_.file("g.h5"));
  }
  const golden::GoldenReader& reader() const { return *reader_; }

 private:
  golden::sample::TemporaryFolder folder_;
  std::unique_ptr<golden::GoldenReader> reader_;
};

verify::GraphSubject subject(const golden::GoldenReader& golden, Precision storage,
                             const mutants::Mutant* mutant = nullptr) {
  const auto build = [mutant](const golden::ModelConfig& config, int64_t batch, int64_t positions) {
    auto clean = reference::build_model(config, batch, positions);
    return mutant == nullptr ? std::move(clean) : mutants::rewrite(*clean, mutant->replace);
  };
  return {"subject",
          build,
          golden.header().config,
          golden,
          {.storage = storage,
           .accumulate = storage == Precision::fp64 ? Precision::fp64 : Precision::fp32,
           .wide_attention = true}};
}

// Passes everything on, one element of one tensor changed.
class OneElement : public verify::Subject {
 public:
  using Change = std::function<double(double)>;
  OneElement(verify::Subject& inner, std::string name, std::size_t index, Change change)
      : inner_(inner), name_(std::move(name)), index_(index), change_(std::move(change)) {}
  std::string describe() const override { return inner_.describe(); }
  verify::Capabilities capabilities() const override { return inner_.capabilities(); }
  golden::PrecisionSchedule precision() const override { return inner_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return inner_.dtype_of(name); }
  void run(const verify::Batch& batch, const verify::Forced& forced,
           const verify::Receive& receive) override {
    inner_.run(batch, forced, [&](verify::Observed observed) {
      if (observed.name == name_) {
        double& value = observed.tensor.values[index_];
        value = change_(value);
      }
      receive(std::move(observed));
    });
  }
  void run_gradients(const verify::Batch& batch, const verify::Receive& receive) override {
    inner_.run_gradients(batch, receive);
  }

 private:
  verify::Subject& inner_;
  std::string name_;
  std::size_t index_;
  Change change_;
};

verify::NumericsResult judged(const golden::GoldenReader& golden, verify::Subject& subject) {
  return verify::verify_equality(golden, subject, {.left_out = {"loss"}});
}

}  // namespace

// Scores are whole numbers times a power of two, of 24 bits: they stay in the accumulator.
BOOST_AUTO_TEST_CASE(every_golden_value_is_a_bfloat16_and_every_score_a_float32) {
  for (const SuiteCase& c : golden::selected(golden::load_suite("exact"), "*-t*").cases) {
    const GoldenCase file(c);
    for (const golden::ManifestRow& row : file.reader().manifest()) {
      if (row.role == "input" || row.path == "/forward/loss") continue;
      const Precision type = row.path.ends_with("attn/scores") ? Precision::fp32 : Precision::bf16;
      const golden::Tensor tensor = file.reader().read_tensor(row.path);
      const auto inexact = std::count_if(tensor.values.begin(), tensor.values.end(), [&](double x) {
        return std::isfinite(x) && golden::round_to(type, x) != x;
      });
      BOOST_TEST(inexact == 0, c.name << ": " << row.path);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_reference_passes_in_every_precision) {
  for (const std::string method : {"plain", "1", "5.1"}) {
    const GoldenCase file(exact_case(method));
    for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      verify::GraphSubject clean = subject(file.reader(), storage);
      for (const verify::Check& check : judged(file.reader(), clean).checks) {
        BOOST_TEST((check.status == Status::pass),
                   method << " " << golden::precision_name(storage) << ": " << check.summary);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(one_bit_of_one_element_fails_and_is_named) {
  const GoldenCase file(exact_case("plain"));
  verify::GraphSubject clean = subject(file.reader(), Precision::bf16);
  // The carrier of b0, t0, channel 0: 2^40, and the next bfloat16.
  OneElement wrong(clean, "layers/1/attn_residual", 0, [](double x) { return x + 0x1p33; });
  const verify::NumericsResult result = judged(file.reader(), wrong);
  BOOST_TEST((verify::overall(result.checks) == Status::fail));
  BOOST_TEST(result.diverged == "layers/1/attn_residual");
  BOOST_TEST(result.first_divergence[1] ==
             "first at (b0,t0,d0): golden 1099511627776, candidate 1108101562368");
}

BOOST_AUTO_TEST_CASE(nan_fails_and_a_zero_of_the_other_sign_passes) {
  const GoldenCase file(exact_case("plain"));
  verify::GraphSubject clean = subject(file.reader(), Precision::fp32);
  OneElement nan(clean, "embed", 5, [](double) { return std::nan(""); });
  BOOST_TEST((verify::overall(judged(file.reader(), nan).checks) == Status::fail));
  // The last channel of the first position is one that MLPs write: 0 in the embedding.
  const std::size_t last = 63;
  OneElement zero(clean, "embed", last, [](double x) { return x == 0 ? -0.0 : NAN; });
  BOOST_TEST((verify::overall(judged(file.reader(), zero).checks) == Status::pass));
}

// Left out is what the caller names, and nothing compared is no pass.
BOOST_AUTO_TEST_CASE(comparing_nothing_is_no_pass) {
  const GoldenCase file(exact_case("plain"));
  verify::GraphSubject clean = subject(file.reader(), Precision::fp32);
  const auto result = verify::verify_equality(file.reader(), clean, {.left_out = {"*"}});
  BOOST_TEST((verify::overall(result.checks) == Status::fail));
}

BOOST_AUTO_TEST_CASE(every_planted_defect_differs_and_where_it_is_planted) {
  for (const mutants::Mutant& mutant : mutants::all_mutants()) {
    if (mutant.method == "pt") continue;  // the exact lane is made of blocks
    const GoldenCase file(exact_case(mutant.method));
    verify::GraphSubject wrong = subject(file.reader(), Precision::bf16, &mutant);
    const verify::NumericsResult result = judged(file.reader(), wrong);
    BOOST_TEST((verify::overall(result.checks) == Status::fail), mutant.id << ": survives");
    BOOST_TEST(result.diverged == mutant.first_divergence, mutant.id);
  }
}

// What makes the lane sharp: heads of a layer look at many different places, seldom at their own.
BOOST_AUTO_TEST_CASE(attention_is_one_hot_and_looks_at_many_places) {
  const GoldenCase file(exact_case("plain"));
  for (const std::string layer : {"0", "1", "2"}) {
    const golden::Tensor probs =
        file.reader().read_tensor("/forward/layers/" + layer + "/attn/probs");
    const std::size_t positions = 65;
    for (std::size_t head = 0; head < 4; ++head) {
      std::set<std::size_t> targets;
      std::size_t own = 0;
      for (std::size_t t = 0; t < positions; ++t) {
        // Row 1 of the batch has no padding.
        const double* row = probs.values.data() + ((4 + head) * positions + t) * positions;
        const auto one = static_cast<std::size_t>(std::find(row, row + positions, 1.0) - row);
        BOOST_REQUIRE(std::count(row, row + positions, 0.0) == positions - 1);
        targets.insert(one);
        own += one == t;
      }
      BOOST_TEST(targets.size() >= 15u, "layer " << layer << " head " << head);
      BOOST_TEST(own <= positions / 3, "layer " << layer << " head " << head << ": " << own);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_config_without_exact_values_is_refused_by_name) {
  const golden::ModelConfig good = exact_case("plain").config;
  BOOST_CHECK_NO_THROW(golden::ExactWeights(good, 1));
  const auto refused = [&](const std::string& key, auto&& change) {
    golden::ModelConfig config = good;
    change(config);
    BOOST_CHECK_EXCEPTION(golden::ExactWeights(config, 1), InputError, [&](const InputError& e) {
      return std::string(e.what()).find("exact weights: " + key) == 0;
    });
  };
  refused("hidden_size", [](auto& c) { c.hidden_size = 128; });
  refused("head_dim", [](auto& c) { c.head_dim = 8; });
  refused("vocab_size", [](auto& c) { c.vocab_size = 256; });
  refused("num_hidden_layers", [](auto& c) { c.num_hidden_layers = 4; });
  refused("rope_theta", [](auto& c) { c.rope_theta = 10000; });
  refused("tie_word_embeddings", [](auto& c) { c.tie_word_embeddings = true; });
  refused("residual", [](auto& c) { c.residual = golden::Residual::replace; });
  BOOST_CHECK_THROW(golden::exact_tokens(64, 1, 65, 1), InputError);
}

// Tokens of a row are distinct, which the proof rests on.
BOOST_AUTO_TEST_CASE(tokens_of_a_row_are_distinct) {
  const std::vector<int32_t> tokens = golden::exact_tokens(128, 5, 128, 7);
  for (std::size_t b = 0; b < 5; ++b) {
    const auto row = tokens.begin() + static_cast<std::ptrdiff_t>(128 * b);
    BOOST_TEST(std::set<int32_t>(row, row + 128).size() == 128u);
  }
}
