// What a cache gives is judged by the golden values of its positions, however sequences are cut.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>

#include "tests/verify/numerics/fixture.h"
#include "verify/judge/chunkings.h"
#include "verify/judge/equality.h"
#include "verify/subjects/program.h"

namespace assay::verify::testing {
namespace {

// What a cache is asked to append.
struct Step {
  int64_t done = 0, count = 0;  // positions
  int64_t calls = 0;            // since the subject was made
};

// The reference with a cache: all tokens so far run again. A test changes what is run, or what is
// handed over of it.
class Cached : public Subject {
 public:
  explicit Cached(GraphSubject inner) : inner_(std::move(inner)) {}

  std::string describe() const override { return "cached"; }
  Capabilities capabilities() const override {
    return {.can_run = true,
            .can_force = true,
            .can_decode = true,
            .decodes_same_bits = promises,
            .reads_mask = reads_mask,
            .fixed_batch = fixed_batch,
            .fixed_length = fixed_length};
  }
  golden::PrecisionSchedule precision() const override { return inner_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return inner_.dtype_of(name); }
  bool decodes(const std::string& name) const override { return hands_over.contains(name); }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override {
    inner_.run(batch, forced, receive);
  }
  void reset(int64_t rows, int64_t) override {
    if (refusal) throw Unsupported("cached: no cache of this model");
    if (!keeps_old) past_ = {};
    past_.batch = rows;
  }
  void decode(const Batch& tokens, const Receive& receive) override {
    BOOST_REQUIRE_EQUAL(tokens.batch, past_.batch);
    if (dies) throw SubjectFailure("cached: it died");
    const Step step{past_.positions, tokens.positions, ++calls_};
    past_ = joined(past_, tokens);
    Batch all = past_;
    if (before) before(all, step);
    inner_.run(all, {}, [&](Observed observed) {
      if (!hands_over.contains(observed.name)) return;
      const int64_t positions = last_alone ? 1 : step.count;
      observed.tensor = last_positions(observed.tensor, positions);
      if (after) after(observed, step);
      receive(std::move(observed));
    });
  }

  bool promises = false, reads_mask = true, keeps_old = false, last_alone = false, dies = false;
  bool refusal = false;
  int64_t fixed_batch = 0, fixed_length = 0;
  std::set<std::string> hands_over{"logits"};
  std::function<void(Batch& all, const Step& step)> before;
  std::function<void(Observed& observed, const Step& step)> after;

 private:
  static Batch joined(const Batch& past, const Batch& tokens) {
    Batch all;
    all.batch = tokens.batch;
    all.positions = past.positions + tokens.positions;
    for (int64_t b = 0; b < all.batch; ++b) {
      for (const Batch* of : {&past, &tokens}) {
        for (int64_t t = 0; t < of->positions; ++t) {
          const auto i = static_cast<std::size_t>(b * of->positions + t);
          all.tokens.push_back(of->tokens[i]);
          all.attention_mask.push_back(of->attention_mask[i]);
          all.labels.push_back(-100);
        }
      }
    }
    return all;
  }

  // [B,T,D] or [B,H,T,D]: of the axis before the last one the last n.
  static golden::Tensor last_positions(const golden::Tensor& x, int64_t n) {
    golden::Tensor out{x.shape, {}};
    const std::size_t axis = x.shape.size() - 2;
    const int64_t T = x.shape[axis], D = x.shape[axis + 1];
    out.shape[axis] = n;
    for (auto row = x.values.begin(); row != x.values.end(); row += T * D) {
      out.values.insert(out.values.end(), row + (T - n) * D, row + T * D);
    }
    return out;
  }

  GraphSubject inner_;
  Batch past_;
  int64_t calls_ = 0;
};

struct Decoded {
  GoldenFixture golden{config_of("tiny", "plain"), 13};

  Cached cached(Precision precision = Precision::fp32) const {
    return Cached(golden.reference(precision));
  }
  NumericsResult judge(Cached& subject, Decoding decoding = Decoding::where_it_can,
                       const std::string& pattern = "") const {
    return verify_numerics(golden.reader(), subject, {.pattern = pattern, .decoding = decoding});
  }
};

const Check& decode_of(const NumericsResult& result) {
  BOOST_REQUIRE(result.checks.back().name == "numerics: decode");
  return result.checks.back();
}

void expect_wrong(const NumericsResult& result, const std::string& summary) {
  BOOST_TEST(exit_code_of(result) == 1, text_of(result));
  const Check& check = decode_of(result);
  BOOST_TEST((check.status == Status::fail));
  BOOST_TEST(check.summary.starts_with(summary), check.summary);
  for (const Check& other : result.checks) {
    BOOST_TEST((other.status == Status::pass) == (&other != &check), other.name);
  }
  BOOST_TEST(result.diverged == "logits");
}

BOOST_FIXTURE_TEST_SUITE(decode, Decoded)

BOOST_AUTO_TEST_CASE(a_right_cache_passes_in_every_type) {
  for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
    Cached subject = cached(precision);
    const NumericsResult result = judge(subject);
    BOOST_TEST(exit_code_of(result) == 0, text_of(result));
    BOOST_TEST(decode_of(result).summary.starts_with(
                   "logits decoded one by one, behind a prompt of 7, in uneven pieces: "),
               decode_of(result).summary);
  }
}

BOOST_AUTO_TEST_CASE(every_tensor_that_is_handed_over_is_judged) {
  Cached subject = cached();
  subject.hands_over = {"logits", "embed", "layers/1/attn/k", "layers/1/attn/probs"};
  BOOST_TEST(exit_code_of(judge(subject)) == 0);
  subject.after = [](Observed& observed, const Step& step) {
    if (observed.name == "layers/1/attn/k" && step.done == 3) observed.tensor.values.back() += 1;
  };
  const NumericsResult result = judge(subject);
  BOOST_TEST(decode_of(result).summary ==
             "layers/1/attn/k is wrong at row 1, position 3 when it is decoded one by one");
  BOOST_TEST(result.diverged == "layers/1/attn/k");
}

BOOST_AUTO_TEST_CASE(the_last_position_alone_is_enough) {
  Cached subject = cached();
  subject.last_alone = true;
  BOOST_TEST(exit_code_of(judge(subject)) == 0);
  subject.after = [](Observed& observed, const Step&) {
    observed.tensor.shape.erase(observed.tensor.shape.begin() + 1);
  };
  BOOST_TEST(exit_code_of(judge(subject)) == 0);
  subject.after = [](Observed& observed, const Step& step) {
    if (step.done + step.count == 13) observed.tensor.values[0] += 1;
  };
  expect_wrong(judge(subject), "logits is wrong at row 0, position 12 when it is decoded one");
}

// The cache keeps a token of the sequence before.
BOOST_AUTO_TEST_CASE(a_cache_that_is_not_emptied_is_found) {
  Cached subject = cached();
  subject.before = [kept = int32_t{-1}](Batch& all, const Step& step) mutable {
    if (step.done > 0) return;
    if (kept >= 0) all.tokens[0] = kept;
    kept = (all.tokens[0] + 1) % 7;
  };
  expect_wrong(judge(subject), "logits is wrong at row 0, position 0 when it is decoded behind");
}

// Rows that have been appended to singly are right, behind a longer piece they are not.
BOOST_AUTO_TEST_CASE(what_one_chunking_alone_shows_is_found_and_named) {
  Cached subject = cached();
  subject.before = [](Batch& all, const Step& step) {
    if (step.count == 2) std::swap(all.tokens[4], all.tokens[5]);
  };
  expect_wrong(judge(subject), "logits is wrong at row 0, position 5 when it is decoded in uneven");
}

BOOST_AUTO_TEST_CASE(a_lost_position_and_a_lost_mask_are_found) {
  Cached subject = cached();
  subject.before = [](Batch& all, const Step& step) {  // the first token leaves the cache
    if (step.done >= 5) all.tokens[0] = (all.tokens[0] + 1) % 7;
  };
  expect_wrong(judge(subject),
               "logits is wrong at row 0, position 5 when it is decoded one by one");
  subject.before = [](Batch& all, const Step&) {
    std::fill(all.attention_mask.begin(), all.attention_mask.end(), 1);
  };
  expect_wrong(judge(subject),
               "logits is wrong at row 1, position 2 when it is decoded one by one");
  subject.reads_mask = false;  // row 1 begins with padding, and is nobody's
  BOOST_TEST(exit_code_of(judge(subject)) == 0);
}

BOOST_AUTO_TEST_CASE(a_nan_is_outside_every_bound) {
  Cached subject = cached();
  subject.after = [](Observed& observed, const Step& step) {
    if (step.done == 2) observed.tensor.values[0] = std::nan("");
  };
  expect_wrong(judge(subject),
               "logits is wrong at row 0, position 2 when it is decoded one by one");
}

// Within its bounds, and not what it promises.
BOOST_AUTO_TEST_CASE(who_promises_the_same_bits_is_held_to_that) {
  const auto change = [](Observed& observed, const Step& step) {
    double& x = observed.tensor.values[1];
    if (step.done == 6) x = static_cast<double>(std::nextafter(static_cast<float>(x), 1e9f));
  };
  Cached subject = cached();
  subject.after = change;
  BOOST_TEST(exit_code_of(judge(subject)) == 0);
  subject.promises = true;
  expect_wrong(judge(subject),
               "logits is wrong at row 0, position 6 when it is decoded one by one");
}

BOOST_AUTO_TEST_CASE(rows_are_decoded_in_the_groups_that_are_taken) {
  for (const int64_t rows : {1, 3}) {
    Cached subject = cached();
    subject.fixed_batch = rows;
    BOOST_TEST(exit_code_of(judge(subject)) == 0);
    subject.after = [](Observed& observed, const Step& step) {
      if (step.calls > 20) observed.tensor.values[0] += 1;
    };
    BOOST_TEST(exit_code_of(judge(subject)) == 1);
  }
}

// What cannot be judged is said; where it was asked for it is skipped, which is no pass.
BOOST_AUTO_TEST_CASE(what_cannot_be_judged_is_skipped_where_it_is_asked_for) {
  const auto expect_skipped = [&](Cached& subject, const std::string& why) {
    const NumericsResult silent = judge(subject);
    BOOST_TEST(exit_code_of(silent) == 0, text_of(silent));
    const std::vector<std::string>& said = silent.checks[0].details;
    BOOST_TEST(std::count(said.begin(), said.end(), "decoding: not judged: " + why) == 1);
    const NumericsResult asked = judge(subject, Decoding::asked);
    BOOST_TEST(exit_code_of(asked) == 3, text_of(asked));
    BOOST_TEST((decode_of(asked).status == Status::skipped));
    BOOST_TEST(decode_of(asked).summary == why);
    BOOST_TEST(judge(subject, Decoding::off).checks.size() == silent.checks.size());
  };
  Cached fixed = cached(), refuses = cached();
  fixed.fixed_length = 13;
  expect_skipped(fixed, "it takes 13 positions only");
  refuses.refusal = true;
  expect_skipped(refuses, "cached: no cache of this model");
  GraphSubject none = golden.reference(Precision::fp32);
  const auto asked = verify_numerics(golden.reader(), none, {.decoding = Decoding::asked});
  BOOST_TEST(exit_code_of(asked) == 3);
  BOOST_TEST(decode_of(asked).summary == "it keeps no cache");
}

BOOST_AUTO_TEST_CASE(nothing_that_can_be_compared_is_inconclusive_and_death_is_a_failure) {
  Cached nothing = cached(), shaped = cached(), dead = cached();
  nothing.after = [](Observed& observed, const Step&) { observed.name = "other"; };
  BOOST_TEST(exit_code_of(judge(nothing)) == 3);
  BOOST_TEST((decode_of(judge(nothing)).status == Status::inconclusive));
  shaped.after = [](Observed& observed, const Step&) { observed.tensor.shape.push_back(1); };
  BOOST_TEST(exit_code_of(judge(shaped)) == 1);
  BOOST_TEST(decode_of(judge(shaped)).summary.starts_with("decode: "));
  dead.dies = true;
  BOOST_TEST(exit_code_of(judge(dead)) == 1);
  BOOST_TEST(decode_of(judge(dead)).summary == "cached: it died");
}

BOOST_AUTO_TEST_CASE(only_what_is_chosen_is_judged) {
  Cached subject = cached();
  subject.after = [](Observed& observed, const Step&) { observed.tensor.values[0] += 1; };
  BOOST_TEST(exit_code_of(judge(subject, Decoding::where_it_can, "layers/0/*")) == 0);
  BOOST_TEST(exit_code_of(judge(subject, Decoding::where_it_can, "logits")) == 1);
  BOOST_TEST(exit_code_of(judge(subject, Decoding::asked, "layers/0/*")) == 3);
}

BOOST_AUTO_TEST_CASE(equality_looks_at_it_too) {
  Cached subject = cached();
  subject.after = [](Observed& observed, const Step&) { observed.tensor.values[0] += 1; };
  const NumericsResult result = verify_equality(golden.reader(), subject, {.pattern = "logits"});
  BOOST_TEST((decode_of(result).status == Status::fail), text_of(result));
}

BOOST_AUTO_TEST_SUITE_END()

// Every row has all its positions, once and in order; ragged rows part ways.
BOOST_AUTO_TEST_CASE(chunkings_append_every_position_once) {
  for (const int64_t B : {1, 2, 5}) {
    for (const int64_t T : {1, 2, 3, 12, 16, 17, 1000}) {
      for (const bool ragged : {false, true}) {
        const std::vector<Chunking> list = chunkings(B, T, 0, ragged, false);
        BOOST_TEST(list.size() == (T == 1 ? 1u : T < 3 || T > kShortSequence ? 2u : 3u));
        for (const Chunking& chunking : list) {
          std::vector<int64_t> done(static_cast<std::size_t>(B));
          for (const std::vector<int32_t>& counts : chunking.steps) {
            BOOST_TEST(*std::max_element(counts.begin(), counts.end()) > 0);
            for (std::size_t b = 0; b < done.size(); ++b) done[b] += counts.at(b);
          }
          for (const int64_t n : done) BOOST_TEST(n == T, chunking.what);
        }
      }
    }
  }
  BOOST_TEST(chunkings(1, 1000, 0, false, true).size() == 3u);
  for (const Chunking& chunking : chunkings(1, 1000, 0, false, false)) {
    BOOST_TEST(chunking.steps.size() < 30u);
  }
}

// What a window evicts within a prompt is seen behind it, if only by the last position.
BOOST_AUTO_TEST_CASE(a_prompt_is_longer_than_a_window) {
  const auto prompt = [](int64_t T, int64_t seen, int64_t piece = 0) {
    return behind_a_prompt(1, T, seen, {"", piece}).steps;
  };
  BOOST_TEST(prompt(40, 6).front()[0] == 32);
  BOOST_TEST(prompt(40, 35).front()[0] == 36);
  BOOST_TEST(prompt(40, 39).front()[0] == 39);
  BOOST_TEST(prompt(40, 100).front()[0] == 39);
  BOOST_TEST(prompt(40, 6, 12).size() == 3u + 8u);
  BOOST_TEST(prompt(40, 6, 12)[2][0] == 8);
  BOOST_TEST(prompt(2, 0).size() == 2u);
}

}  // namespace
}  // namespace assay::verify::testing
