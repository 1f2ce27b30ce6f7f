// Each way in which a tensor can be absent, doubled or of the wrong kind is a fault of its own, and
// any of them fails the run; the clean twin passes.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "tests/verify/numerics/fixture.h"

namespace assay::verify::testing {
namespace {

const std::string kName = "layers/1/attn/q";

struct Clean {
  GoldenFixture golden{config_of("tiny", "plain")};
  GraphSubject reference = golden.reference(Precision::fp64);

  NumericsResult verify(Altered::Alter alter) {
    Altered subject(reference, std::move(alter));
    return verify_numerics(golden.reader(), subject, {});
  }
};

void pass_on(Observed observed, const Receive& receive) { receive(std::move(observed)); }

BOOST_FIXTURE_TEST_SUITE(ledger, Clean)

BOOST_AUTO_TEST_CASE(unaltered_output_has_no_fault) {
  const NumericsResult result = verify(pass_on);
  BOOST_TEST(exit_code_of(result) == 0, text_of(result));
}

BOOST_AUTO_TEST_CASE(missing) {
  const NumericsResult result = verify([](Observed observed, const Receive& receive) {
    if (observed.name != kName) receive(std::move(observed));
  });
  BOOST_TEST(has_fault(result, Fault::missing, kName), text_of(result));
  BOOST_TEST(exit_code_of(result) == 1);
}

BOOST_AUTO_TEST_CASE(extra) {
  const NumericsResult result =
      verify(change_one(kName, [](Observed& observed) { observed.name = "layers/1/attn/qq"; }));
  BOOST_TEST(has_fault(result, Fault::extra, ""), text_of(result));
  BOOST_TEST(has_fault(result, Fault::missing, kName));
}

BOOST_AUTO_TEST_CASE(duplicate) {
  const NumericsResult result = verify([](Observed observed, const Receive& receive) {
    if (observed.name == kName) receive(observed);
    receive(std::move(observed));
  });
  BOOST_TEST(has_fault(result, Fault::duplicate, kName), text_of(result));
  BOOST_TEST(!row_of(result, kName).compared);
}

BOOST_AUTO_TEST_CASE(transposed_shape_says_what_it_looks_like) {
  const NumericsResult result = verify(change_one(kName, [](Observed& observed) {
    std::swap(observed.tensor.shape[1], observed.tensor.shape[2]);
  }));
  BOOST_TEST(has_fault(result, Fault::shape, kName), text_of(result));
  BOOST_TEST(
      row_of(result, kName)
              .note.find(
                  "layers/1/attn/q: expected [2,4,12,8] (B,H,T,Dh), got [2,12,4,8]; looks like "
                  "(B,T,H,Dh)") != std::string::npos,
      row_of(result, kName).note);
}

BOOST_AUTO_TEST_CASE(float32_where_float64_is_due) {
  const NumericsResult result = verify(
      change_one(kName, [](Observed& observed) { observed.dtype = golden::DType::float32; }));
  BOOST_TEST(has_fault(result, Fault::dtype, kName), text_of(result));
  BOOST_TEST(exit_code_of(result) == 1);
}

BOOST_AUTO_TEST_CASE(empty) {
  const NumericsResult result = verify(change_one(kName, [](Observed& observed) {
    observed.tensor = {{2, 4, 0, 8}, {}};
  }));
  BOOST_TEST(has_fault(result, Fault::empty, kName), text_of(result));
}

BOOST_AUTO_TEST_CASE(one_nan) {
  const NumericsResult result = verify(
      change_one(kName, [](Observed& observed) { observed.tensor.values[5] = std::nan(""); }));
  BOOST_TEST(has_fault(result, Fault::nonfinite, kName), text_of(result));
  BOOST_TEST(row_of(result, kName).free_outside == 1);
  BOOST_TEST(exit_code_of(result) == 1);
}

BOOST_AUTO_TEST_CASE(infinity_where_golden_is_finite) {
  const NumericsResult result = verify(change_one(kName, [](Observed& observed) {
    observed.tensor.values[5] = std::numeric_limits<double>::infinity();
  }));
  BOOST_TEST(has_fault(result, Fault::nonfinite, kName), text_of(result));
}

// A mask of -10000 is not a mask.
BOOST_AUTO_TEST_CASE(finite_number_where_golden_is_minus_infinity) {
  const NumericsResult result = verify(change_one("layers/1/attn/scores", [](Observed& observed) {
    for (double& x : observed.tensor.values) x = std::isinf(x) ? -1e4 : x;
  }));
  BOOST_TEST(has_fault(result, Fault::unmasked, "layers/1/attn/scores"), text_of(result));
  BOOST_TEST(exit_code_of(result) == 1);
}

BOOST_AUTO_TEST_CASE(other_seed_and_other_config) {
  Altered subject(reference, pass_on);
  subject.stated_seed = "4";
  BOOST_TEST(has_fault(verify_numerics(golden.reader(), subject, {}), Fault::seed, ""));
  subject.stated_seed = "3";
  subject.stated_config_hash = "00";
  const NumericsResult result = verify_numerics(golden.reader(), subject, {});
  BOOST_TEST(has_fault(result, Fault::config, ""));
  BOOST_TEST(!has_fault(result, Fault::seed, ""));
  subject.stated_config_hash = golden.reader().config_hash();
  BOOST_TEST(exit_code_of(verify_numerics(golden.reader(), subject, {})) == 0);
}

BOOST_AUTO_TEST_CASE(comparing_nothing_is_a_failure) {
  const NumericsResult silent = verify([](const Observed&, const Receive&) {});
  BOOST_TEST(has_fault(silent, Fault::nothing, ""), text_of(silent));
  BOOST_TEST(exit_code_of(silent) == 1);
  BOOST_CHECK_THROW(verify_numerics(golden.reader(), reference, {.pattern = "layers/9/*"}),
                    InputError);
}

// The checkpoints that a dump has, or those that it lacks, in one pattern for all layers.
BOOST_AUTO_TEST_CASE(a_part_is_told_how_to_ask_for_it) {
  const auto advice_where = [this](const std::function<bool(const std::string&)>& has) {
    const NumericsResult result = verify([&](Observed observed, const Receive& receive) {
      if (has(observed.name)) receive(std::move(observed));
    });
    for (const std::string& line : result.checks[0].details) {
      if (line.starts_with("if a part")) return line;
    }
    return std::string();
  };
  const std::string start = "if a part is all that is to be judged, say so: ";
  BOOST_TEST(advice_where([](const std::string& name) {
               return name == "embed" || name.ends_with("/output");
             }) == start + "--only 'embed,layers/*/output'");
  BOOST_TEST(advice_where([](const std::string& name) {
               return !name.ends_with("attn/scores") && name != "layers/1/attn/q";
             }) == start + "--leave-out 'layers/*/attn/scores,layers/1/attn/q'");
}

// --only asks for one tensor: the others may be there or not.
BOOST_AUTO_TEST_CASE(pattern_selects_what_is_compared) {
  Altered subject(reference, [](Observed observed, const Receive& receive) {
    if (observed.name == kName) receive(std::move(observed));
  });
  const NumericsResult result =
      verify_numerics(golden.reader(), subject, {.pattern = "/layers/1/attn/q"});
  BOOST_TEST(result.rows.size() == 1u);
  BOOST_TEST(exit_code_of(result) == 0, text_of(result));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify::testing
