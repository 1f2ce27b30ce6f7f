// Judges the engine on the cases of a bundle: numbers, gradients, dependences, repeatability.
//
//   device_check BUNDLE [--backend device|host] [--only PATTERN]
//                [--precision fp32|tf32|bf16|fp16].. [--without METHOD].. [--any-methods]
//                [--json FILE] [--tensors]
//
// Exit codes: 0 all passed; 1 a failure; 2 usage, or a bundle that cannot be read; 3 nothing was
// checked, the engine refuses a case, or a method that is not named by --without has no case; 77 no
// CUDA device. --any-methods asks for no method; --tensors prints every tensor, else
// only what failed.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>

#include "cli/gpu_check/run_checks.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/contract/test_bundle.h"

namespace {

using namespace assay;
using golden::Precision;
using gpu_check::BundleEntry;
using verify::Status;

constexpr int kUsage = 2, kNoDevice = 77;

struct Options {
  std::string bundle, backend = "device", only, json_path;
  std::vector<Precision> precisions;
  std::vector<std::string> without;
  bool any_methods = false, every_tensor = false;
};

Options parse(int argc, char** argv) {
  Options options;
  const std::vector<std::string> words(argv + 1, argv + argc);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == words.size()) throw InputError(word + ": expected a value, got none");
      return words[++i];
    };
    if (word == "--backend") {
      options.backend = value();
    } else if (word == "--only") {
      options.only = value();
    } else if (word == "--precision") {
      options.precisions.push_back(golden::parse_precision(value()));
    } else if (word == "--without") {
      options.without.push_back(value());
    } else if (word == "--json") {
      options.json_path = value();
    } else if (word == "--any-methods") {
      options.any_methods = true;
    } else if (word == "--tensors") {
      options.every_tensor = true;
    } else if (word.starts_with("--") || !options.bundle.empty()) {
      throw InputError("device_check: " + word + ": no such option; the bundle is named once");
    } else {
      options.bundle = word;
    }
  }
  if (options.bundle.empty()) throw InputError("device_check: expected the folder of a bundle");
  if (options.backend != "device" && options.backend != "host") {
    throw InputError("--backend " + options.backend + ": expected device or host");
  }
  if (options.precisions.empty()) {
    options.precisions.assign(std::begin(golden::bundle::kPrecisions),
                              std::end(golden::bundle::kPrecisions));
  }
  return options;
}

std::vector<std::string> absent_methods(const std::set<std::string>& present) {
  std::vector<std::string> absent;
  for (const golden::MethodInfo& method : golden::methods()) {
    if (present.count(method.id) == 0) absent.push_back(method.id);
  }
  return absent;
}

// Reads, runs and tells of one case at a time.
void run_bundle(const Options& options, gpu_check::Report& report) {
  const gpu_check::MakeModel make =
      options.backend == "host" ? cuda::make_host_model : cuda::make_device_model;
  std::set<std::string> methods;
  for (const BundleEntry& entry : gpu_check::read_manifest(options.bundle, options.only)) {
    const gpu_check::BundledCase bundled = gpu_check::read_case(options.bundle, entry);
    methods.insert(bundled.config.method);
    for (const Precision precision : options.precisions) {
      for (gpu_check::CaseCheck& check : gpu_check::run_case(bundled, precision, make)) {
        fmt::print("{}", gpu_check::check_text(check, options.every_tensor));
        report.checks.push_back(std::move(check));
      }
    }
    std::fflush(stdout);
  }
  if (!options.any_methods) report.absent = absent_methods(methods);
}

int finish(const Options& options, gpu_check::Report& report) {
  const int code = gpu_check::exit_code(report, options.without);
  for (const std::string& method : report.absent) {
    fmt::print("absent       method {}: the bundle has no case of it\n", method);
  }
  fmt::print(
      "{} back end: {} checks passed, {} failed, {} inconclusive, {} skipped, {} methods absent, "
      "{:.1f} s\n",
      options.backend, report.count(Status::pass), report.count(Status::fail),
      report.count(Status::inconclusive), report.count(Status::skipped), report.absent.size(),
      report.seconds);
  if (!options.json_path.empty()) {
    std::ofstream file(options.json_path);
    file << gpu_check::json_text(report, code);
    file.close();
    if (!file) throw InputError(options.json_path + ": cannot be written");
  }
  return code;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (options.backend == "device") {
    if (const std::string reason = cuda::device_unavailable(); !reason.empty()) {
      fmt::print(stderr, "device_check: no CUDA device: {}; nothing was checked\n", reason);
      return kNoDevice;
    }
  }
  const auto start = std::chrono::steady_clock::now();
  gpu_check::Report report{.backend = options.backend, .bundle = options.bundle};
  run_bundle(options, report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return finish(options, report);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const InputError& error) {
    fmt::print(stderr, "device_check: {}\n", error.what());
    return kUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "device_check: {}\n", error.what());
    return 1;
  }
}
