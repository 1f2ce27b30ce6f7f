#include "cli/suite_bundle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "golden/contract/test_bundle.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/output.h"
#include "golden/file/raw_file.h"
#include "golden/generate/generate_suite.h"
#include "golden/suites/suite.h"
#include "verify/numerics/expectation.h"
#include "verify/report/report.h"
#include "verify/subjects/bindings.h"

namespace assay::cli {
namespace {

namespace fs = std::filesystem;
namespace bundle = golden::bundle;
using golden::Element;
using golden::Precision;
using Values = std::vector<double>;

constexpr double kFalseAlarmRate = 1e-6;  // of each case and precision, as in `assay verify`

struct BundleOptions {
  std::string name, only, golden_folder, out;
  bool force = false, quiet = false;
};

// The tensors of one file, in order.
struct Content {
  std::vector<golden::ExchangeTensor> tensors;
  std::map<std::string, Values> values;
  std::string narrow_probs;  // of the metadata

  void add(const std::string& name, Element element, const golden::Shape& shape, Values all) {
    tensors.push_back({name, element, shape});
    values[name] = std::move(all);
  }
};

template <class T>
Values widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

// The next number of the type at or above x >= 0.
double rounded_up(Precision precision, double x) {
  const double nearest = golden::round_to(precision, x);
  return nearest >= x ? nearest : nearest + golden::spacing(precision, nearest);
}

void add_bound(Content& content, const std::string& name, const golden::Shape& shape,
               Values bound) {
  for (double& b : bound) {
    b = rounded_up(Precision::bf16, b);
    if (!std::isfinite(b)) throw InputError(name + ": a bound is too large for bfloat16");
  }
  content.add(name, Element::bf16, shape, std::move(bound));
}

// Expected values of what the candidate rounds to 16 bits as F32; what that rounds off widens the
// bound, by 2^-13 of it at most.
void add_local(Content& content, Precision precision, verify::Expectation e) {
  const bool wide = bundle::schedule_of(precision, "").storage_of(e.name) == Precision::fp32;
  for (std::size_t i = 0; !wide && i < e.expected.size(); ++i) {
    const double kept = golden::round_to(Precision::fp32, e.expected[i]);
    e.bound[i] += kept == e.expected[i] ? 0 : std::fabs(kept - e.expected[i]);
    e.expected[i] = kept;
  }
  content.add(bundle::local_name(precision, e.name), wide ? Element::f64 : Element::f32, e.shape,
              std::move(e.expected));
  add_bound(content, bundle::local_bound_name(precision, e.name), e.shape, std::move(e.bound));
}

void add_inputs(Content& content, const golden::GoldenReader& golden) {
  const golden::Shape shape{golden.batch(), golden.positions()};
  content.add("inputs/tokens", Element::i32, shape, widened(golden.read_int32("/inputs/tokens")));
  content.add("inputs/labels", Element::i32, shape, widened(golden.read_int32("/inputs/labels")));
  content.add("inputs/attention_mask", Element::u8, shape,
              widened(golden.read_uint8("/inputs/attention_mask")));
}

void add_weights(Content& content, const golden::GoldenReader& golden) {
  for (const golden::TensorInfo& weight : golden::weight_list(golden.header().config)) {
    Values values(static_cast<std::size_t>(golden::element_count(weight.shape)));
    golden.read(weight.name, values);
    const bool narrow = std::all_of(values.begin(), values.end(), [](double x) {
      return golden::round_to(Precision::bf16, x) == x;
    });
    content.add("weights/" + weight.name, narrow ? Element::bf16 : Element::f64, weight.shape,
                std::move(values));
  }
}

// A weight that the loss does not depend on has no gradient in the golden file: zeros.
void add_gradients(Content& content, const golden::GoldenReader& golden) {
  for (const golden::TensorInfo& weight : golden::weight_list(golden.header().config)) {
    Values gradient(static_cast<std::size_t>(golden::element_count(weight.shape)), 0.0);
    const std::string path = "/grad/" + weight.name;
    if (golden.find(path) != nullptr) gradient = golden.read_tensor(path).values;
    for (double& x : gradient) x = golden::round_to(Precision::fp32, x);
    content.add("gradient/" + weight.name, Element::f32, weight.shape, std::move(gradient));
  }
}

// Which of the engine's attention kernels a case takes is the engine's to say.
std::string narrow_probs_of(const golden::ModelConfig& config) {
  std::string precisions;
  for (const Precision precision : bundle::kPrecisions) {
    const auto model =
        cuda::make_host_model(config, precision, golden::SyntheticWeights(config, 0));
    if (!model->precision().narrow_probs) continue;
    precisions += (precisions.empty() ? "" : " ") + golden::precision_name(precision);
  }
  return precisions;
}

void add_expectations(Content& content, const verify::Case& file) {
  verify::GoldenValues golden(file.golden);
  for (const Precision precision : bundle::kPrecisions) {
    const golden::PrecisionSchedule schedule = bundle::schedule_of(precision, content.narrow_probs);
    verify::require_weights_in(file.golden, schedule.storage);
    const verify::AnalyticTolerance tolerance(schedule, file.elements(), kFalseAlarmRate);
    verify::free_expectations(file, schedule, tolerance, golden, [&](verify::Expectation e) {
      const std::string name = "golden/" + e.name;
      if (content.values.count(name) == 0) {
        content.add(name, Element::f64, e.shape, std::move(e.expected));
      }
      add_bound(content, bundle::bound_name(precision, e.name), e.shape, std::move(e.bound));
    });
    if (!bundle::has_local(precision)) continue;
    verify::local_expectations(file, schedule, golden, [&](verify::Expectation e) {
      add_local(content, precision, std::move(e));
    });
  }
}

Content content_of(const golden::GoldenReader& golden, bool gradients) {
  Content content;
  content.narrow_probs = narrow_probs_of(golden.header().config);
  add_inputs(content, golden);
  add_weights(content, golden);
  add_expectations(content, verify::Case(golden, ""));
  if (gradients) add_gradients(content, golden);
  return content;
}

std::string bytes_of(const std::string& path) {
  const golden::RawFile file(path, golden::RawFile::Mode::read);
  std::string bytes(file.size(), '\0');
  file.read({0, bytes.size()}, bytes.data());
  return bytes;
}

nlohmann::ordered_json write_case(const golden::SuiteCase& c, const BundleOptions& options) {
  if (!c.settings.left_out.empty() || c.settings.equal) {
    throw InputError(fmt::format("{}: expected a case judged by bounds on every tensor, got {}",
                                 c.name, c.settings.equal ? "equal" : "left_out"));
  }
  const golden::GoldenReader golden(golden::case_path(options.golden_folder, c));
  const Content content = content_of(golden, c.settings.gradients);
  const std::string file = c.name + ".safetensors", path = options.out + "/" + file;
  golden::write_safetensors(
      path, content.tensors,
      {{"config", golden::to_json(golden.header().config)},
       {"narrow_probs", content.narrow_probs},
       {"root_hash", golden.root_hash()}},
      [&](const std::string& name) { return content.values.at(name); }, golden::Rounding::refuse,
      options.force);
  return {{"name", c.name}, {"file", file}, {"hash", bundle::file_hash(bytes_of(path))}};
}

void generate(const golden::Suite& suite, const std::string& folder) {
  golden::GenerateSuiteRequest request;
  request.folder = folder;
  for (const golden::CaseOutcome& outcome : golden::generate_suite(suite, request)) {
    if (outcome.state != golden::CaseState::failed) continue;
    throw InputError(fmt::format("{}: {}", outcome.path, outcome.problem));
  }
}

void run_bundle(const BundleOptions& options) {
  const golden::Suite suite = golden::selected(golden::load_suite(options.name), options.only);
  generate(suite, options.golden_folder);
  std::error_code failed;
  fs::create_directories(options.out, failed);
  if (!fs::is_directory(options.out)) {
    throw InputError(fmt::format("{}: cannot be made: expected a folder, got {}", options.out,
                                 failed ? failed.message() : "a file of this name"));
  }
  golden::require_own({"--out", options.out + "/" + bundle::kManifest}, {"{\n \"assay_bundle\""},
                      options.force);
  nlohmann::ordered_json manifest{
      {"assay_bundle", bundle::kVersion}, {"suite", suite.name}, {"cases", {}}};
  uint64_t bytes = 0;
  for (const golden::SuiteCase& c : suite.cases) {
    manifest["cases"].push_back(write_case(c, options));
    bytes += fs::file_size(options.out + "/" + c.name + ".safetensors");
  }
  verify::write_report(manifest.dump(1) + "\n", options.out + "/" + bundle::kManifest);
  if (options.quiet) return;
  fmt::print("bundle {}: {} cases of suite {}, {:.1f} MB\n", options.out, suite.cases.size(),
             suite.name, static_cast<double>(bytes) / 1e6);
}

}  // namespace

void add_suite_bundle(CLI::App& suite, Outcome& outcome) {
  CLI::App* command = suite.add_subcommand(
      "bundle", "write cases with golden values and bounds for a machine that has only a GPU");
  auto options = std::make_shared<BundleOptions>();
  command
      ->add_option(
          "suite", options->name,
          fmt::format("{}, or a file ending in .json", fmt::join(golden::suite_names(), ", ")))
      ->required();
  add_only_option(*command, options->only, "cases to take, e.g. '1-llama-*'");
  command
      ->add_option("--dir", options->golden_folder,
                   "folder of the golden files; those that are not up to date are made")
      ->required();
  command->add_option("--out", options->out, "folder of the bundle")->required();
  command->add_flag("--force", options->force, "replace files of an earlier bundle");
  command->add_flag("--quiet", options->quiet, "print errors only");
  command->callback([options, &outcome] {
    run_bundle(*options);
    outcome.exit_code = 0;
  });
}

}  // namespace assay::cli
