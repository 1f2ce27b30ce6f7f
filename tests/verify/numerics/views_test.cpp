// The unmodified reference passes both views in every precision; a small change does not.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>

#include "reference/interpreters/rounding.h"
#include "reference/methods/registry.h"
#include "tests/verify/numerics/fixture.h"
#include "verify/numerics/case.h"
#include "verify/subjects/file_subject.h"

namespace assay::verify::testing {
namespace {

double worst_local(const NumericsResult& result) {
  double worst = 0;
  for (const CheckpointRow& row : result.rows) worst = std::max(worst, row.local_ratio);
  return worst;
}

NumericsResult verify_reference(const GoldenFixture& golden, Precision storage, bool wide,
                                bool force) {
  GraphSubject reference = golden.reference(storage, wide);
  Altered subject(reference,
                  [](Observed observed, const Receive& receive) { receive(std::move(observed)); });
  subject.can_force = force;
  return verify_numerics(golden.reader(), subject, {});
}

BOOST_AUTO_TEST_SUITE(views)

BOOST_AUTO_TEST_CASE(unmodified_reference_passes) {
  for (const std::string method : {"plain", "1", "5.1"}) {
    const GoldenFixture golden(config_of("tiny", method));
    for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      for (const bool wide : {true, false}) {
        for (const bool force : {true, false}) {
          const NumericsResult result = verify_reference(golden, storage, wide, force);
          const std::string what = fmt::format(
              "{} {} wide={} force={}: largest |error| {:.2f} sigma, {:.2f} of the "
              "worst case",
              method, golden::precision_name(storage), wide, force, result.max_sigmas,
              worst_local(result));
          BOOST_TEST_MESSAGE(what);
          BOOST_TEST(exit_code_of(result) == 0, what << text_of(result));
          BOOST_TEST(result.diverged == "");
          if (storage == Precision::fp64) {
            BOOST_TEST(result.max_sigmas == 0, what);
            BOOST_TEST(worst_local(result) == 0, what);
          }
        }
      }
    }
  }
}

// A subject in double is exact, so the ratio grows in proportion to the one planted change and can
// be set to what is wanted.
BOOST_AUTO_TEST_CASE(one_element_outside_its_bound_fails) {
  const std::string name = "layers/1/mlp/act";
  const GoldenFixture golden(config_of("tiny", "plain"));
  GraphSubject reference = golden.reference(Precision::fp64);
  const auto verify = [&](double change) {
    Altered subject(reference, change_one(name, [&](Observed& observed) {
                      observed.tensor.values[17] += change;
                    }));
    return verify_numerics(golden.reader(), subject, {});
  };
  const double small = 1e-9;
  const double per_bound = row_of(verify(small), name).local_ratio;
  const NumericsResult four = verify(4 * small / per_bound);
  BOOST_TEST(row_of(four, name).local_ratio == 4, boost::test_tools::tolerance(0.01));
  BOOST_TEST(row_of(four, name).local_outside == 1);
  BOOST_TEST(exit_code_of(four) == 1, text_of(four));
  BOOST_TEST(four.diverged == name);
  const NumericsResult half = verify(0.5 * small / per_bound);
  BOOST_TEST(row_of(half, name).local_outside == 0, text_of(half));
}

BOOST_AUTO_TEST_CASE(hashes_are_enough_for_the_same_verdict) {
  for (const golden::Capture capture : {golden::Capture::hash, golden::Capture::stats}) {
    const GoldenFixture golden(config_of("tiny", "1"), 12, capture);
    const NumericsResult result = verify_reference(golden, Precision::bf16, true, true);
    BOOST_TEST(exit_code_of(result) == 0, text_of(result));
    BOOST_TEST(result.regenerated == static_cast<int64_t>(result.rows.size()));
  }
}

// What the reference computes in `storage`, written as dtype; change() may alter it on the way.
std::string dump(
    const GoldenFixture& golden, Precision storage, golden::DType dtype,
    const std::function<void(Observed&)>& change = [](Observed&) {}) {
  static int number = 0;
  std::string path = golden.file(fmt::format("dump{}.h5", ++number));
  golden::DumpWriter writer(path, golden.reader().config_hash(), kSeed);
  golden.reference(storage).run(
      {.batch = 2,
       .positions = 12,
       .tokens = golden.reader().read_int32("/inputs/tokens"),
       .attention_mask = golden.reader().read_uint8("/inputs/attention_mask"),
       .labels = golden.reader().read_int32("/inputs/labels")},
      {}, [&](Observed seen) {
        change(seen);
        writer.write(seen.name, seen.tensor.view(), dtype);
      });
  return path;
}

BOOST_AUTO_TEST_CASE(dump_of_the_reference_passes_and_a_narrow_one_does_not) {
  const GoldenFixture golden(config_of("tiny", "1"));
  for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
    const auto dtype = storage == Precision::fp64 ? golden::DType::float64 : golden::DType::float32;
    FileSubject subject(dump(golden, storage, dtype), schedule_of(storage));
    const NumericsResult result = verify_numerics(golden.reader(), subject, {});
    BOOST_TEST(exit_code_of(result) == 0, text_of(result));
  }
  FileSubject narrow(dump(golden, Precision::fp32, golden::DType::float32),
                     schedule_of(Precision::fp64));
  BOOST_TEST(
      has_fault(verify_numerics(golden.reader(), narrow, {}), Fault::dtype, "layers/1/attn/q"));
}

// Computed in double and handed over in fp32: no step of it is wrong, though what fp32 arithmetic
// would make of the tensors handed over is something else.
BOOST_AUTO_TEST_CASE(dump_that_rounds_what_it_computed_with_is_untrusted) {
  const GoldenFixture golden(config_of("tiny", "1"));
  FileSubject wide(dump(golden, Precision::fp64, golden::DType::float32),
                   schedule_of(Precision::fp32));
  const NumericsResult result = verify_numerics(golden.reader(), wide, {});
  BOOST_TEST(exit_code_of(result) == 3, text_of(result));
  BOOST_TEST(result.diverged == "");
  BOOST_TEST(row_of(result, "layers/1/attn_residual").note.find("held wider than fp32") !=
             std::string::npos);

  const auto halved = [](Observed& seen) {
    if (seen.name != "layers/1/mlp/up") return;
    for (double& x : seen.tensor.values) x /= 2;
  };
  FileSubject wrong(dump(golden, Precision::fp64, golden::DType::float32, halved),
                    schedule_of(Precision::fp32));
  const NumericsResult found = verify_numerics(golden.reader(), wrong, {});
  BOOST_TEST(exit_code_of(found) == 1, text_of(found));
  BOOST_TEST(found.diverged == "layers/1/mlp/up");
}

// Writes what is handed over, in float32, after change().
class Float32Dump : public reference::Observer {
 public:
  Float32Dump(golden::DumpWriter& writer, std::function<void(Observed&)> change)
      : writer_(writer), change_(std::move(change)) {}
  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    Observed seen{.name = node.name,
                  .tensor = {value.shape(), {value.values().begin(), value.values().end()}}};
    change_(seen);
    writer_.write(seen.name, seen.tensor.view(), golden::DType::float32);
    return value;
  }

 private:
  golden::DumpWriter& writer_;
  std::function<void(Observed&)> change_;
};

// Tensors in float32 that products read in bf16 are right under bf16, and what is wrong with one of
// them is found.
BOOST_AUTO_TEST_CASE(autocast_dump_passes) {
  const GoldenFixture golden(config_of("tiny", "plain"));
  const Case file(golden.reader(), "");
  golden::PrecisionSchedule autocast = schedule_of(Precision::fp32);
  autocast.operands = Precision::bf16;
  const auto judge = [&](const std::function<void(Observed&)>& change) {
    const std::string path = golden.file("autocast.h5");
    {
      golden::DumpWriter writer(path, golden.reader().config_hash(), kSeed);
      Float32Dump observer(writer, change);
      reference::evaluate_rounded(*file.graph, file.bindings, autocast,
                                  reference::RoundingMode::nearest, kSeed, observer);
    }
    FileSubject subject(path, golden::widest_schedule(Precision::bf16));
    return verify_numerics(golden.reader(), subject, {});
  };
  const NumericsResult right = judge([](Observed&) {});
  const std::string said = text_of(right);
  BOOST_TEST(exit_code_of(right) == 0, said);
  BOOST_TEST(said.find("tensors are handed over in float32: bounds allow for what reads them "
                       "rounded to bf16") != std::string::npos,
             said);
  const NumericsResult wrong = judge([](Observed& seen) {
    if (seen.name != "layers/1/attn/out") return;
    for (double& x : seen.tensor.values) x *= 1.1;
  });
  BOOST_TEST(exit_code_of(wrong) == 1, text_of(wrong));
  BOOST_TEST(wrong.diverged == "layers/1/attn/out");
}

// Drawn weights, of which one is not what float32, or what bfloat16 holds.
class OddWeights : public golden::WeightSource {
 public:
  OddWeights(const golden::ModelConfig& config, double odd) : drawn_(config, kSeed), odd_(odd) {}
  void read(const std::string& name, std::span<double> out) const override {
    drawn_.read(name, out);
    if (name == "model.norm.weight") out[3] = odd_;
  }

 private:
  golden::SyntheticWeights drawn_;
  double odd_;
};

class ZeroWeights : public golden::WeightSource {
 public:
  void read(const std::string&, std::span<double> out) const override {
    for (double& x : out) x = 0;
  }
};

// Everything agrees with a golden file of zeros, and nothing is shown by it.
BOOST_AUTO_TEST_CASE(golden_of_zeros_is_untrusted) {
  const GoldenFixture golden(config_of("tiny", "plain"), ZeroWeights(), 12, golden::Capture::full);
  const NumericsResult result = verify_reference(golden, Precision::fp32, true, true);
  BOOST_TEST(exit_code_of(result) == 3, text_of(result));
  BOOST_TEST((row_of(result, "layers/1/attn/q").status == Status::untrusted));
  BOOST_TEST(row_of(result, "layers/1/attn/q").note == "golden is all zero");
  BOOST_TEST(row_of(result, "layers/1/attn/probs").note ==
             "golden probabilities are uniform everywhere");
}

// One position has one allowed key: its probability is 1 in every implementation.
BOOST_AUTO_TEST_CASE(probabilities_of_one_position_are_trusted) {
  const GoldenFixture golden(config_of("tiny", "plain"), 1);
  const NumericsResult result = verify_reference(golden, Precision::fp32, true, true);
  BOOST_TEST(row_of(result, "layers/0/attn/probs").note == "");
}

BOOST_AUTO_TEST_CASE(small_preset_passes) {
  for (const std::string method : {"plain", "1", "5.1"}) {
    const GoldenFixture golden(config_of("small", method), 48);
    for (const Precision storage : {Precision::fp32, Precision::bf16}) {
      const NumericsResult result = verify_reference(golden, storage, true, true);
      BOOST_TEST_MESSAGE(fmt::format(
          "small {} {}: largest |error| {:.2f} sigma, {:.2f} of the worst case, bound {:.2f} x {}",
          method, golden::precision_name(storage), result.max_sigmas, worst_local(result), result.z,
          result.allowance));
      BOOST_TEST(exit_code_of(result) == 0, text_of(result));
    }
  }
}

// 1 + 2^-10 is a float32 and no bfloat16, 1 + 2^-30 is neither: the candidate would be blamed for
// rounding its weights.
BOOST_AUTO_TEST_CASE(weights_that_the_storage_type_does_not_hold_are_bad_input) {
  const golden::ModelConfig config = config_of("tiny", "plain");
  const auto said = [&](double odd, Precision storage) {
    const GoldenFixture golden(config, OddWeights(config, odd), 12, golden::Capture::full);
    return golden::sample::complaint([&] { verify_reference(golden, storage, true, true); });
  };
  BOOST_TEST(said(1.5, Precision::bf16) == "");
  BOOST_TEST(said(1 + 0x1p-10, Precision::fp32) == "");
  BOOST_TEST(said(1 + 0x1p-30, Precision::fp64) == "");
  const std::string narrow = said(1 + 0x1p-10, Precision::bf16);
  BOOST_TEST(golden::sample::contains(narrow,
                                      "/weights/model.norm.weight: expected values that bf16 "
                                      "holds, got 1.0009765625: a candidate in bf16"),
             narrow);
  BOOST_TEST(golden::sample::contains(narrow, "--dtype bf16 --round"));
  BOOST_TEST(golden::sample::contains(said(1 + 0x1p-30, Precision::fp32), "that fp32 holds, got"));
}

namespace {

// Drawn weights with one of them overwritten.
class OneWeight : public golden::WeightSource {
 public:
  OneWeight(const golden::ModelConfig& config, std::string name, double value)
      : drawn_(config, kSeed), name_(std::move(name)), value_(value) {}
  void read(const std::string& name, std::span<double> out) const override {
    drawn_.read(name, out);
    if (name == name_) std::fill(out.begin(), out.end(), value_);
  }

 private:
  golden::SyntheticWeights drawn_;
  std::string name_;
  double value_;
};

// Status of a checkpoint, judged of the reference with one weight overwritten.
CheckpointRow judge_with(const golden::ModelConfig& config, const std::string& weight, double value,
                         const std::string& checkpoint, Precision storage = Precision::fp32) {
  const OneWeight weights(config, weight, value);
  const GoldenFixture golden(config, weights, 12, golden::Capture::full);
  GraphSubject reference = golden.reference(storage);
  return row_of(verify_numerics(golden.reader(), reference, {}), checkpoint);
}

}  // namespace

// Gains of 1 do not show that they are lost or another norm's, biases of 0 not that they are lost.
BOOST_AUTO_TEST_CASE(weights_at_their_initial_values_are_untrusted) {
  const golden::ModelConfig llama = config_of("tiny", "plain");
  const std::string gain = "model.layers.1.input_layernorm.weight", norm = "layers/1/attn_norm";
  const CheckpointRow ones = judge_with(llama, gain, 1, norm);
  BOOST_TEST((ones.status == Status::untrusted));
  BOOST_TEST(ones.note ==
             "its gain is 1 everywhere: one that is lost, or another norm's, does not show");
  BOOST_TEST((judge_with(llama, gain, 1.25, norm).status == Status::pass));
  BOOST_TEST((judge_with(llama, gain, 1, "layers/1/attn/q").status == Status::pass));
  golden::ModelConfig gpt2 = golden::preset("tiny", golden::BlockKind::gpt2);
  const std::string bias = "transformer.h.1.mlp.c_fc.bias", up = "layers/1/mlp/up";
  const CheckpointRow zeros = judge_with(gpt2, bias, 0, up);
  BOOST_TEST((zeros.status == Status::untrusted));
  BOOST_TEST(zeros.note == "a bias that it adds is 0 everywhere: one that is lost does not show");
  BOOST_TEST((judge_with(gpt2, bias, 0.5, up).status == Status::pass));
}

// An overflow in the golden file is no number that somebody could be judged by.
BOOST_AUTO_TEST_CASE(golden_values_that_are_not_finite_are_untrusted) {
  const golden::ModelConfig config = config_of("tiny", "plain");
  const CheckpointRow row = judge_with(config, "model.layers.1.mlp.up_proj.weight", 1e308,
                                       "layers/1/mlp/up", Precision::fp64);
  BOOST_TEST((row.status != Status::pass));
  BOOST_TEST(row.note.starts_with("golden is NaN or infinite in "), row.note);
}

// sqrt(8) is no bf16 number: an implementation may hold a learned divisor rounded or wider.
BOOST_AUTO_TEST_CASE(a_learned_parameter_that_storage_does_not_hold_may_be_rounded) {
  golden::ModelConfig config = config_of("tiny", "5.7");
  config.params = golden::Params::initial;
  const GoldenFixture golden(config);
  class Rounded : public golden::WeightSource {
   public:
    Rounded(const golden::WeightSource& exact, Precision storage)
        : exact_(exact), storage_(storage) {}
    void read(const std::string& name, std::span<double> out) const override {
      exact_.read(name, out);
      for (double& x : out) x = golden::round_to(storage_, x);
    }

   private:
    const golden::WeightSource& exact_;
    Precision storage_;
  };
  for (const Precision storage : {Precision::fp32, Precision::bf16, Precision::fp16}) {
    const Rounded weights(golden.reader(), storage);
    GraphSubject rounded("rounded", reference::build_model, config, weights, schedule_of(storage));
    for (const bool force : {true, false}) {
      Altered subject(
          rounded, [](Observed observed, const Receive& receive) { receive(std::move(observed)); });
      subject.can_force = force;
      const NumericsResult result = verify_numerics(golden.reader(), subject, {});
      BOOST_TEST(exit_code_of(result) == 0, text_of(result));
    }
    GraphSubject held = golden.reference(storage);
    BOOST_TEST(exit_code_of(verify_numerics(golden.reader(), held, {})) == 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify::testing
