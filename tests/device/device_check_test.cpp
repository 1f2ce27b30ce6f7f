// The judge of bundled cases judged: it accepts the engine on the host executor, says what the
// judge of verify/ says, and finds what is planted in the bundle, the engine's output and its
// inputs.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "cli/gpu_check/run_checks.h"
#include "golden/contract/error.h"
#include "golden/contract/test_bundle.h"
#include "golden/file/golden_file.h"
#include "tests/device/altered_engine.h"
#include "tests/golden/sample.h"
#include "verify/judge/numerics.h"
#include "verify/leakage/detectors.h"

using namespace assay;
using namespace assay::gpu_check;
using golden::sample::TemporaryFolder;
using verify::Status;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
const TensorRow& row_of(const CaseCheck& check, const std::string& name) {
  const auto found = std::find_if(check.rows.begin(), check.rows.end(),
                                  [&](const TensorRow& row) { return row.name == name; });
  BOOST_REQUIRE_MESSAGE(found != check.rows.end(), name);
  return *found;
}

// Fails, and the row of this name says so.
void check_found(const CaseCheck& check, const std::string& name, const std::string& why) {
  BOOST_TEST((check.check.status == Status::fail), check.check.summary);
  const TensorRow& row = row_of(check, name);
  BOOST_TEST(row.why.find(why) != std::string::npos, row.why << " has no '" << why << "'");
}

CaseCheck free_of(const BundledCase& bundled, Precision precision = Precision::fp32) {
  EngineSubject subject("simt", engine(bundled, precision));
  return check_free(bundled, subject, precision);
}

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class Call>
void check_refused(const Call& call, const std::string& part) {
  BOOST_CHECK_EXCEPTION(call(), InputError, [&](const InputError& error) {
    BOOST_TEST(std::string(error.what()).find(part) != std::string::npos, error.what());
    return true;
  });
}

bool is_detector(const std::string& name) {
  const auto all = verify::detectors();
  return std::any_of(all.begin(), all.end(), [&](const auto& d) { return d.name == name; });
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_clean_engine_passes_every_check) {
  // Two gradients in fp32, a local view in 16 bits, neither in tf32.
  const std::map<Precision, std::size_t> due = {
      {Precision::fp32, 12}, {Precision::tf32, 10}, {Precision::bf16, 11}, {Precision::fp16, 11}};
  for (const Precision precision : golden::bundle::kPrecisions) {
    const std::vector<CaseCheck> checks = run_case(clean(), precision, cuda::make_host_model);
    BOOST_TEST(checks.size() == due.at(precision));
    for (const CaseCheck& check : checks) {
      BOOST_TEST((check.check.status == Status::pass),
                 check.check.name << ": " << check.check.summary);
      // A detector counts in its summary, and is inconclusive where there is nothing to compare.
      BOOST_TEST((check.compared() > 0 || is_detector(check.check.name)), check.check.name);
    }
  }
}

// What is due of stacked recomputes is run on them: the engine that is asked for is another one.
BOOST_AUTO_TEST_CASE(stacked_checks_are_of_the_stacked_engine) {
  const MakeModel only_each = [](const auto& config, Precision precision, const auto& weights,
                                 const cuda::ModelOptions& options) {
    if (options.recompute == cuda::Recompute::stacked) throw Unsupported("no stacks");
    return cuda::make_host_model(config, precision, weights, options);
  };
  std::string refused;
  for (const CaseCheck& check : run_case(clean(), Precision::fp32, only_each)) {
    if (check.check.status == Status::inconclusive) refused += check.check.name + " ";
  }
  BOOST_TEST(refused == "stacked stacked-decode stacked-gradients ");
}

// Of the same run, tensor by tensor: bounds are the judge's, rounded up to 8 bits at most.
BOOST_AUTO_TEST_CASE(ratios_are_those_of_the_judge) {
  const golden::GoldenReader golden(folder("ASSAY_TEST_GOLDEN") + "/" + kCase + ".h5");
  for (const Precision precision : golden::bundle::kPrecisions) {
    cli::EngineSubject subject("simt", engine(clean(), precision));
    const verify::NumericsResult judged =
        verify::verify_numerics(golden, subject, {.left_out = {"grad/*"}});
    const CaseCheck free = free_of(clean(), precision);
    const bool has_local = golden::bundle::has_local(precision);
    const CaseCheck local = has_local ? check_local(clean(), subject, precision) : CaseCheck{};
    BOOST_TEST(judged.rows.size() == free.rows.size());
    for (const verify::CheckpointRow& row : judged.rows) {
      const double ratio = row_of(free, row.name).ratio;
      BOOST_TEST(ratio <= row.free_ratio, row.name);
      BOOST_TEST(ratio >= row.free_ratio * (1 - 0x1p-7), row.name);
      if (!has_local) continue;
      const double local_ratio = row_of(local, row.name).ratio;
      BOOST_TEST(local_ratio <= row.local_ratio * (1 + 0x1p-12), row.name);
      BOOST_TEST(local_ratio >= row.local_ratio * (1 - 0x1p-6), row.name);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_changed_golden_value_is_found) {
  BundledCase bundled = clean();
  double& value = bundled.tensors.at("golden/layers/1/mlp/act").values[5];
  value += 1e-3 * std::max(1.0, std::fabs(value));
  check_found(free_of(bundled), "layers/1/mlp/act", "1 of 336 outside");
  value = kNan;
  check_found(free_of(bundled), "layers/1/mlp/act", "expected nan");
}

BOOST_AUTO_TEST_CASE(a_changed_logit_is_found_by_decoding) {
  const auto decoded = [](const BundledCase& bundled) {
    return check_decode(bundled, *engine(bundled, Precision::fp32), Precision::fp32);
  };
  BOOST_TEST((decoded(clean()).check.status == Status::pass));
  BundledCase bundled = clean();
  bundled.tensors.at("golden/logits").values.back() += 1e-2;
  check_found(decoded(bundled), "logits", "1 of ");
  bundled.tensors.at("fp32/bound/logits").values.back() = kInfinity;
  check_found(decoded(bundled), "logits", "not finite");
  bundled.tensors.erase("golden/logits");
  check_found(decoded(bundled), "logits", "not in the bundle");
}

BOOST_AUTO_TEST_CASE(a_changed_weight_is_found_in_the_first_tensor_that_reads_it) {
  BundledCase bundled = clean();
  bundled.tensors.at("weights/model.layers.1.self_attn.v_proj.weight").values[3] += 0.25;
  const CaseCheck check = free_of(bundled);
  check_found(check, "layers/1/attn/v", "outside");
  BOOST_TEST(row_of(check, "layers/1/attn/k").passed());
  check_found(free_of(bundled, Precision::bf16), "layers/1/attn/v", "outside");
}

BOOST_AUTO_TEST_CASE(a_bound_that_is_no_bound_is_found) {
  for (const double bad : {kNan, kInfinity, -1.0}) {
    BundledCase bundled = clean();
    bundled.tensors.at("fp32/bound/logits").values[0] = bad;
    check_found(free_of(bundled), "logits", "negative or not finite");
  }
}

BOOST_AUTO_TEST_CASE(what_the_bundle_lacks_is_a_failure) {
  for (const std::string prefix : {"golden/", "fp32/bound/"}) {
    BundledCase bundled = clean();
    bundled.tensors.erase(prefix + "layers/2/output");
    check_found(free_of(bundled), "layers/2/output", "not in the bundle");
  }
  BundledCase bundled = clean();
  bundled.tensors.erase("gradient/lm_head.weight");
  check_found(check_gradients(bundled, *engine(bundled, Precision::fp32)), "lm_head.weight",
              "not in the bundle");
  bundled = clean();
  bundled.tensors.at("golden/logits").shape = {2, 32, 7};
  check_found(free_of(bundled), "logits", "expected [2,7,32], got [2,32,7] in the bundle");
  bundled = clean();
  bundled.tensors.erase("weights/lm_head.weight");
  const std::vector<CaseCheck> checks = run_case(bundled, Precision::fp32, cuda::make_host_model);
  for (const CaseCheck& check : checks) {
    BOOST_TEST((check.check.status == Status::fail));
    BOOST_TEST(check.check.summary.find("weights/lm_head.weight: expected 512 values, got 0") !=
               std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(what_the_engine_hands_over_wrongly_is_a_failure) {
  const auto judge = [](Altered model) {
    EngineSubject subject = subject_of(model);
    return check_free(clean(), subject, Precision::fp32);
  };
  using Values = std::vector<double>;
  check_found(judge(altered(Precision::fp32, "layers/1/attn/out",
                            [](const cuda::Batch&, Values& v) { v[7] = kNan; })),
              "layers/1/attn/out", "1 of them not finite");
  check_found(judge(altered(Precision::fp32, "final_norm",
                            [](const cuda::Batch&, Values& v) { v[7] *= 1 + 1e-4; })),
              "final_norm", "1 of 224 outside");
  check_found(judge({Precision::fp32,
                     [](const cuda::Batch&, const std::string& name, golden::Tensor value,
                        cuda::Probe& probe) {
                       if (name != "logits") probe.tap(name, value.view());
                     }}),
              "logits", "did not hand it over");
  check_found(judge({Precision::fp32,
                     [](const cuda::Batch&, const std::string& name, golden::Tensor value,
                        cuda::Probe& probe) {
                       probe.tap(name, value.view());
                       if (name == "loss") probe.tap(name, value.view());
                     }}),
              "taps", "loss: handed over twice");
  check_found(judge({Precision::fp32,
                     [](const cuda::Batch&, const std::string& name, golden::Tensor value,
                        cuda::Probe& probe) {
                       probe.tap(name == "embed" ? "embedding" : name, value.view());
                     }}),
              "taps", "embedding: handed over, but not a tensor of the model");
}

// A bf16 engine that hands over fp32 numbers computes in something else than it says.
BOOST_AUTO_TEST_CASE(numbers_that_the_storage_type_has_not_are_found) {
  Altered model = altered(Precision::bf16, "layers/0/mlp/out",
                          [](const cuda::Batch&, std::vector<double>& v) { v[0] *= 1 + 0x1p-12; });
  EngineSubject subject = subject_of(model);
  check_found(check_free(clean(), subject, Precision::bf16), "layers/0/mlp/out",
              "is no number of bf16");
  EngineSubject fp16("simt", engine(clean(), Precision::fp16));
  check_found(check_free(clean(), fp16, Precision::bf16), "precision", "not the one");
}

// Two steps of bf16: within the free-running bound of a deep tensor, outside the local one.
BOOST_AUTO_TEST_CASE(the_local_view_sees_what_is_small_in_bf16) {
  const auto change = [](const cuda::Batch&, std::vector<double>& v) {
    v[1] = golden::round_to(Precision::bf16, v[1] + 2 * golden::spacing(Precision::bf16, v[1]));
  };
  Altered model = altered(Precision::bf16, "layers/2/output", change);
  EngineSubject subject = subject_of(model);
  BOOST_TEST((check_free(clean(), subject, Precision::bf16).check.status == Status::pass));
  check_found(check_local(clean(), subject, Precision::bf16), "layers/2/output",
              "1 of 224 outside");
}

BOOST_AUTO_TEST_CASE(a_changed_gradient_is_found) {
  Altered model = altered(Precision::fp32, "", [](const cuda::Batch&, std::vector<double>&) {});
  BOOST_TEST((check_gradients(clean(), model).check.status == Status::pass));
  model.altered_gradient = "model.layers.0.mlp.up_proj.weight";
  model.gradient_change = 0.05;
  check_found(check_gradients(clean(), model), model.altered_gradient, "1 of 384 outside");
}

namespace {

// Adds the last bit's worth of something that logits must not depend on.
template <class Seen>
Altered leaky(Seen seen) {
  return altered(Precision::fp32, "logits",
                 [=](const cuda::Batch& batch, std::vector<double>& values) {
                   for (double& x : values) x += 1e-12 * seen(batch);
                 });
}

std::vector<CaseCheck> leaks_of(Altered model) {
  EngineSubject subject = subject_of(model);
  return check_leaks(clean(), subject, Precision::fp32);
}

std::vector<std::string> failing(Altered model) {
  std::vector<std::string> names;
  for (const CaseCheck& check : leaks_of(std::move(model))) {
    if (check.check.status != Status::pass) names.push_back(check.check.name);
  }
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_CASE(planted_dependences_are_found_by_the_checks_that_are_for_them) {
  BOOST_TEST((failing(leaky([](const cuda::Batch&) { return 0; })) == Names{}));
  BOOST_TEST((failing(leaky([](const cuda::Batch& b) { return b.tokens[6]; })) ==
              Names{"prefix", "batch"}));
  BOOST_TEST((failing(leaky([](const cuda::Batch& b) { return b.tokens[7]; })) == Names{"batch"}));
  BOOST_TEST((failing(leaky([](const cuda::Batch& b) { return b.labels[8]; })) == Names{"labels"}));
}

// The engine promises the same bits; the detectors after this one could not tell a leak from noise.
BOOST_AUTO_TEST_CASE(an_engine_that_differs_from_run_to_run_fails) {
  int runs = 0;
  const auto checks = leaks_of(leaky([&runs](const cuda::Batch&) { return runs++; }));
  BOOST_TEST(checks.size() == 1u);
  BOOST_TEST(checks.at(0).check.name == "repeat");
  BOOST_TEST((checks.at(0).check.status == Status::fail));
}

// Logits that do not read the tokens at all leak nothing, and show nothing.
BOOST_AUTO_TEST_CASE(an_experiment_without_effect_is_no_pass) {
  BOOST_TEST((failing(altered(Precision::fp32, "logits",
                              [](const cuda::Batch&, std::vector<double>& values) {
                                std::fill(values.begin(), values.end(), 0.0);
                              })) == Names{"influence"}));
}

BOOST_AUTO_TEST_CASE(a_damaged_bundle_is_refused_by_file) {
  const TemporaryFolder copy;
  const BundleEntry entry = entry_of(kCase);
  std::string bytes = text_of(folder("ASSAY_TEST_BUNDLE") + "/" + entry.file);
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(copy.file(name), std::ios::binary) << text;
  };
  check_refused([&] { read_manifest(copy.path(), ""); }, "bundle.json: cannot be read");
  write("bundle.json", R"({"assay_bundle": 2, "cases": []})");
  check_refused([&] { read_manifest(copy.path(), ""); }, "expected \"assay_bundle\": 1");
  write("bundle.json", R"({"assay_bundle": 1, "cases": []})");
  check_refused([&] { read_manifest(copy.path(), ""); }, "expected a case that matches ''");
  check_refused([&] { read_case(copy.path(), entry); }, "cannot be read");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write(entry.file, bytes);
  check_refused([&] { read_case(copy.path(), entry); }, "damaged: expected hash " + entry.hash);
  bytes.resize(100);
  write(entry.file, bytes);
  const BundleEntry short_file{entry.name, entry.file, golden::bundle::file_hash(bytes)};
  check_refused([&] { read_case(copy.path(), short_file); }, "expected a .safetensors file");
}

BOOST_AUTO_TEST_CASE(refused_and_absent_is_not_passed) {
  const MakeModel refuses = [](const golden::ModelConfig&, Precision, const golden::WeightSource&,
                               const cuda::ModelOptions&) -> std::unique_ptr<cuda::Model> {
    throw Unsupported("no kernels for it");
  };
  Report report;
  BOOST_TEST(exit_code(report, {}) == 3);
  report.checks = run_case(clean(), Precision::fp32, cuda::make_host_model);
  BOOST_TEST(exit_code(report, {}) == 0);
  report.absent = {"pt"};
  BOOST_TEST(exit_code(report, {}) == 3);
  BOOST_TEST(exit_code(report, {"pt"}) == 0);
  for (CaseCheck& check : run_case(clean(), Precision::fp32, refuses)) {
    BOOST_TEST((check.check.status == Status::inconclusive));
    report.checks.push_back(std::move(check));
  }
  BOOST_TEST(exit_code(report, {"pt"}) == 3);
  report.checks[0].check.status = Status::fail;
  BOOST_TEST(exit_code(report, {"pt"}) == 1);
}
