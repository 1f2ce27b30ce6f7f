#include "verify/decoders/decoders.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>

#include "golden/contract/weights.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {
namespace {

constexpr int64_t kVocab = 31, kRows = 2, kLength = 9;

double token_at(const Batch& x, int64_t b, int64_t t) {
  return x.tokens[static_cast<std::size_t>(b * x.positions + t)];
}

// sum_{s<=t} token / (1+s)
double sum_to(const Batch& x, int64_t b, int64_t t) {
  double sum = 0;
  for (int64_t s = 0; s <= t; ++s) sum += token_at(x, b, s) / static_cast<double>(1 + s);
  return sum;
}

// Two tensors, [B,T,3] and [T,B] of what a test computes, and what it says that it can.
class Plain : public Subject {
 public:
  using Value = std::function<double(const Batch& batch, int64_t b, int64_t t, int call)>;
  explicit Plain(Value value, Capabilities can = {.can_run = true})
      : value_(std::move(value)), can_(can) {}

  std::string describe() const override { return "plain"; }
  Capabilities capabilities() const override { return can_; }
  golden::PrecisionSchedule precision() const override { return {}; }
  golden::DType dtype_of(const std::string&) const override { return golden::DType::float64; }
  std::unique_ptr<Subject> another() const override {
    return std::make_unique<Plain>(value_, can_);
  }
  void run(const Batch& batch, const Forced&, const Receive& receive) override {
    ++calls_;
    const int64_t B = batch.batch, T = batch.positions;
    golden::Tensor h{{B, T, 3}, {}},
        out{{T, B}, std::vector<double>(static_cast<std::size_t>(B * T))};
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t t = 0; t < T; ++t) {
        h.values.insert(h.values.end(), 3, token_at(batch, b, t));
        out.values[static_cast<std::size_t>(t * B + b)] = value_(batch, b, t, calls_);
      }
    }
    receive({"h", golden::DType::float64, h});
    receive({"out", golden::DType::float64, out});
  }
  void reset(int64_t, int64_t) override { seen_ = {}; }
  void decode(const Batch& tokens, const Receive& receive) override {
    if (seen_.batch == 0)
      seen_ = {
          .batch = tokens.batch, .positions = 0, .tokens = {}, .attention_mask = {}, .labels = {}};
    Batch all = seen_;
    all.positions += tokens.positions;
    all.tokens.clear();
    for (int64_t b = 0; b < all.batch; ++b) {
      for (int64_t t = 0; t < all.positions; ++t) {
        all.tokens.push_back(static_cast<int32_t>(t < seen_.positions
                                                      ? token_at(seen_, b, t)
                                                      : token_at(tokens, b, t - seen_.positions)));
      }
    }
    golden::Tensor out{{tokens.positions, all.batch}, {}};
    for (int64_t t = seen_.positions; t < all.positions; ++t) {
      for (int64_t b = 0; b < all.batch; ++b) out.values.push_back(value_(all, b, t, -1));
    }
    seen_ = all;
    receive({"out", golden::DType::float64, out});
  }

 private:
  Value value_;
  Capabilities can_;
  Batch seen_;
  int calls_ = 0;
};

Batch some_tokens() {
  Batch batch;
  batch.batch = kRows;
  batch.positions = kLength;
  batch.tokens = golden::synthetic_tokens(kVocab, kRows, kLength, 3);
  batch.labels = batch.tokens;
  batch.attention_mask.assign(batch.tokens.size(), 1);
  return batch;
}

LeakResult judged(Plain::Value value, Capabilities can = {.can_run = true}) {
  Plain subject(std::move(value), can);
  return judge_decoder(subject, kVocab, some_tokens(), {});
}

const Check& named(const LeakResult& result, const std::string& name) {
  for (const Check& c : result.checks) {
    if (c.name == name) return c;
  }
  throw std::runtime_error("no check named " + name);
}

double causal_value(const Batch& x, int64_t b, int64_t t, int) { return sum_to(x, b, t); }

}  // namespace

BOOST_AUTO_TEST_CASE(a_causal_decoder_passes_every_check) {
  const auto result = judged(causal_value, {.can_run = true, .can_decode = true});
  BOOST_TEST(result.checks.size() == 10u);
  for (const Check& c : result.checks) {
    BOOST_TEST((c.status == Status::pass), c.name << ": " << c.summary);
  }
  BOOST_TEST(named(result, "tensors").summary == "2 of 2 have positions: h [B,T,3], out [T,B]");
  BOOST_TEST(result.influence.tensors.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_leak_is_named_with_its_tensor_and_pair) {
  const auto result = judged([](const Batch& x, int64_t b, int64_t t, int) {
    return sum_to(x, b, t) + (t == 5 && x.positions > 6 ? 1e-9 * token_at(x, b, 6) : 0.0);
  });
  BOOST_TEST((named(result, "prefix").status == Status::fail));
  BOOST_TEST(named(result, "prefix").summary == "leak at out, first pair (5 <- 6)");
}

// At one length nothing shows; between lengths it does.
BOOST_AUTO_TEST_CASE(a_constant_of_the_length_is_found_by_length_alone) {
  const auto result = judged([](const Batch& x, int64_t b, int64_t t, int) {
    return sum_to(x, b, t) * (1 + 1e-3 / static_cast<double>(x.positions));
  });
  BOOST_TEST((named(result, "length").status == Status::fail));
  for (const Check& c : result.checks) {
    BOOST_TEST((c.status == (c.name == "length" ? Status::fail : Status::pass)), c.name);
  }
}

// However few the lengths are at which it shows.
BOOST_AUTO_TEST_CASE(a_leak_at_one_length_is_found) {
  const auto result = judged([](const Batch& x, int64_t b, int64_t t, int) {
    return sum_to(x, b, t) + (x.positions == 4 && t < 3 ? 2 * token_at(x, b, t + 1) : 0.0);
  });
  BOOST_TEST((named(result, "length").status == Status::fail));
  BOOST_TEST(named(result, "length").summary.find("when 4 of 9") != std::string::npos);
  BOOST_TEST(named(result, "length").summary.find("rounding in") != std::string::npos);
}

// What is there once and not again accuses nobody, and is no pass.
BOOST_AUTO_TEST_CASE(a_difference_at_one_length_that_does_not_come_back_is_no_leak) {
  const auto runs = std::make_shared<int>(0);
  const auto result = judged([runs](const Batch& x, int64_t b, int64_t t, int) {
    const bool is_first = x.positions == 3 && ++*runs <= static_cast<int>(3 * x.batch);
    return sum_to(x, b, t) + (is_first ? 100.0 : 0.0);
  });
  BOOST_TEST_REQUIRE((named(result, "length").status == Status::inconclusive));
  BOOST_TEST(named(result, "length").details.front().find("few lengths") != std::string::npos);
}

// Sums in another order at another length are no leak, and none at the same length either.
BOOST_AUTO_TEST_CASE(rounding_between_shapes_is_allowed_for) {
  const auto result = judged([](const Batch& x, int64_t b, int64_t t, int) {
    return sum_to(x, b, t) * (1 + 1e-15 * static_cast<double>(x.positions % 3 + x.batch));
  });
  for (const Check& c : result.checks) {
    BOOST_TEST((c.status == Status::pass), c.name << ": " << c.summary);
  }
}

// The last bits of a program whose bits depend on the shape are no proof; those of another are.
BOOST_AUTO_TEST_CASE(a_faint_change_is_a_leak_only_where_shapes_do_not_explain_it) {
  for (const bool shape : {false, true}) {
    const auto result = judged([shape](const Batch& x, int64_t b, int64_t t, int) {
      const int64_t last = kLength - 1;
      const bool other_last = x.positions == kLength && b < kRows &&
                              token_at(x, b, last) != token_at(some_tokens(), b, last);
      const double last_bits = t == 2 && other_last ? 1e-15 : 0;
      const double of_shape = shape ? 1e-15 * static_cast<double>(x.positions % 2) : 0;
      return sum_to(x, b, t) * (1 + last_bits + of_shape);
    });
    BOOST_TEST((named(result, "prefix").status == (shape ? Status::inconclusive : Status::fail)));
  }
}

BOOST_AUTO_TEST_CASE(a_row_that_depends_on_its_place_is_found) {
  const auto result = judged([](const Batch& x, int64_t b, int64_t t, int) {
    return sum_to(x, b, t) + 10 * static_cast<double>(b);
  });
  BOOST_TEST((named(result, "batch").status == Status::pass));
  BOOST_TEST((named(result, "order").status == Status::fail));
}

BOOST_AUTO_TEST_CASE(decoding_is_compared_with_a_whole_run) {
  const auto result =
      judged([](const Batch& x, int64_t b, int64_t t,
                int call) { return sum_to(x, b, t) + (call < 0 && t == 4 ? 10.0 : 0.0); },
             {.can_run = true, .can_decode = true});
  BOOST_TEST((named(result, "decode").status == Status::fail));
  BOOST_TEST((named(result, "prefix").status == Status::pass));
}

// Noise is no leak and no pass; a leak above it is found.
BOOST_AUTO_TEST_CASE(noise_is_measured) {
  for (const bool leaks : {false, true}) {
    const auto count = std::make_shared<int>(0);
    const auto result = judged([count, leaks](const Batch& x, int64_t b, int64_t t, int) {
      const double noise = std::fmod(++*count * 0.6180339887, 1.0) - 0.5;
      const double later = leaks && t < x.positions - 1 ? 1e-2 * token_at(x, b, t + 1) : 0;
      return sum_to(x, b, t) + 1e-6 * noise + later;
    });
    BOOST_TEST((named(result, "repeat").status == Status::inconclusive));
    BOOST_TEST(((named(result, "prefix").status == Status::fail) == leaks));
    for (const Check& c : result.checks) {
      if (c.name == "prefix" || !leaks) {
        BOOST_TEST(((c.status == Status::fail) == leaks), c.name << ": " << c.summary);
      }
    }
  }
}

// What the call before leaves is state, however it changes from call to call.
BOOST_AUTO_TEST_CASE(state_of_the_call_before_is_no_noise) {
  struct Keeping : Plain {
    Keeping() : Plain(nullptr) {}
    std::unique_ptr<Subject> another() const override { return std::make_unique<Keeping>(); }
    void run(const Batch& batch, const Forced& forced, const Receive& receive) override {
      Plain inner([this](const Batch& x, int64_t b, int64_t t, int) {
        return sum_to(x, b, t) + 1e-3 * mean;
      });
      inner.run(batch, forced, receive);
      mean = 0.9 * mean + 0.1 * batch.tokens[0];
    }
    double mean = 0;
  };
  Keeping subject;
  const auto result = judge_decoder(subject, kVocab, some_tokens(), {});
  BOOST_TEST((named(result, "repeat").status == Status::fail));
}

// A program that dies of another length is no leak; its axes are told by how long they are.
BOOST_AUTO_TEST_CASE(a_program_that_takes_one_shape_alone_is_judged_on_it) {
  const auto result = judged([](const Batch& x, int64_t b, int64_t t, int) {
    if (x.positions != kLength || x.batch != kRows) throw SubjectFailure("it died");
    return sum_to(x, b, t);
  });
  BOOST_TEST((named(result, "prefix").status == Status::pass));
  BOOST_TEST((named(result, "length").status == Status::inconclusive));
}

}  // namespace assay::verify
