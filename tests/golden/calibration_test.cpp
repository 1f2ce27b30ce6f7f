// What a golden file says about errors: written when asked for, checked like everything in it.
#include "golden/generate/calibration.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/generate/generate.h"
#include "tests/golden/sample.h"

namespace assay::golden {
namespace {

using sample::TemporaryFolder;

GenerateRequest request(const std::string& out, Capture capture) {
  GenerateRequest r;
  r.config = preset("tiny");
  r.config.method = "1";
  r.batch = 1;
  r.positions = 9;
  r.tokens = synthetic_tokens(r.config.vocab_size, r.batch, r.positions, r.seed);
  r.capture = capture;
  r.calibration = {.bounds = true, .sigmas = {Precision::bf16, Precision::fp32}};
  r.out = out;
  return r;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_tensor_gets_its_bound_and_its_noise_whatever_is_captured) {
  const TemporaryFolder folder;
  for (const Capture capture : {Capture::hash, Capture::stats, Capture::full}) {
    const std::string path = folder.file(capture_name(capture) + ".h5");
    const GenerateRequest r = request(path, capture);
    generate(r);
    const GoldenReader golden(path);
    golden.check_all();
    for (const TensorInfo& tensor : tensor_list(r.config, r.batch, r.positions)) {
      const Tensor bound = golden.read_tensor("/bound/" + tensor.name);
      BOOST_TEST(bound.shape.empty());
      for (const char* schedule : {"bf16", "fp32"}) {
        const Tensor sigma =
            golden.read_tensor(std::string("/sigma/") + schedule + "/" + tensor.name);
        BOOST_TEST(sigma.shape == tensor.shape, tensor.name);
      }
    }
    BOOST_TEST(golden.read_int32("/sigma/bf16/setup") == (std::vector<int32_t>{8, 1}),
               boost::test_tools::per_element());
  }
}

// fp32 has 16 bits more than bf16: its noise is smaller by about 2^16 wherever tensors are stored.
BOOST_AUTO_TEST_CASE(noise_shrinks_with_the_storage_type_and_the_own_error_is_far_below) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  generate(request(path, Capture::stats));
  const GoldenReader golden(path);
  const auto rms = [&](const std::string& name) {
    double squares = 0;
    const Tensor sigma = golden.read_tensor(name);
    for (const double x : sigma.values) squares += x * x;
    return std::sqrt(squares / static_cast<double>(sigma.values.size()));
  };
  const double ratio = rms("/sigma/bf16/logits") / rms("/sigma/fp32/logits");
  BOOST_TEST(ratio > 0x1p14);
  BOOST_TEST(ratio < 0x1p18);
  const double bound = golden.read_tensor("/bound/logits").values[0];
  BOOST_TEST(bound > 0);
  BOOST_TEST(bound < 1e-6 * rms("/sigma/fp32/logits"));
}

BOOST_AUTO_TEST_CASE(calibration_is_covered_by_the_root_hash) {
  const TemporaryFolder folder;
  const auto root = [&](const std::string& name, uint64_t seed) {
    GenerateRequest r = request(folder.file(name), Capture::hash);
    r.calibration.seed = seed;
    return generate(r).root_hash;
  };
  BOOST_TEST(root("a.h5", 1) == root("b.h5", 1));
  BOOST_TEST(root("a2.h5", 1) != root("c.h5", 2));
}

BOOST_AUTO_TEST_CASE(too_few_runs_are_refused_and_leave_no_file) {
  const TemporaryFolder folder;
  GenerateRequest r = request(folder.file("h.h5"), Capture::hash);
  r.calibration.sigma_runs = 7;
  BOOST_CHECK_EXCEPTION(generate(r), InputError, [](const InputError& error) {
    return std::string(error.what()) == "--sigma-runs 7: expected at least 8";
  });
  BOOST_TEST(!std::filesystem::exists(folder.file("h.h5")));
}

}  // namespace assay::golden
