#include "cli/gpu_check/run_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/engine/engine_subject.h"
#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/contract/prob_transformer.h"
#include "golden/contract/test_bundle.h"
#include "verify/leakage/detectors.h"

namespace assay::gpu_check {
namespace {

using golden::Precision;
using verify::Status;

golden::Family family_of(const BundledCase& bundled) {
  return golden::find_method(bundled.config.method).family;
}

bool recomputes_layers(const BundledCase& bundled) {
  const golden::Family family = family_of(bundled);
  return family == golden::Family::recompute_mlp || family == golden::Family::recompute_attn;
}

// A word that hears from later ones leaves nothing to cache.
bool decodes(const BundledCase& bundled) {
  if (family_of(bundled) != golden::Family::prob_transformer) return true;
  const golden::ProbTransformer pt = golden::prob_transformer_of(bundled.config);
  return pt.causal_heads && pt.message != golden::ProbTransformer::Message::full;
}

using Checks = std::vector<CaseCheck>;

// A case in one precision on one engine, which is made when the first check asks for it.
class CaseRun {
 public:
  CaseRun(const BundledCase& bundled, Precision precision, const MakeModel& make,
          cuda::Recompute recompute)
      : bundled_(bundled), precision_(precision), make_(make), options_{.recompute = recompute} {}

  void free_running(Checks& checks) {
    add(checks, stacked() ? "stacked" : "free-running",
        [&] { return Checks{check_free(bundled_, subject(), precision_)}; });
  }
  void leaks(Checks& checks) {
    add(checks, "leaks", [&] { return check_leaks(bundled_, subject(), precision_); });
  }
  void local(Checks& checks) {
    if (!golden::bundle::has_local(precision_)) return;
    add(checks, "local", [&] { return Checks{check_local(bundled_, subject(), precision_)}; });
  }
  void decode(Checks& checks) {
    if (!decodes(bundled_)) return;
    add(checks, stacked() ? "stacked-decode" : "decode",
        [&] { return Checks{check_decode(bundled_, model(), precision_)}; });
  }
  void gradients(Checks& checks) {
    if (precision_ != Precision::fp32 || !bundled_.has_gradients()) return;
    add(checks, stacked() ? "stacked-gradients" : "gradients",
        [&] { return Checks{check_gradients(bundled_, model())}; });
  }

 private:
  bool stacked() const { return options_.recompute == cuda::Recompute::stacked; }

  cuda::Model& model() {
    if (model_ == nullptr) {
      const auto make = [this](const cuda::ModelOptions& options) -> std::shared_ptr<cuda::Model> {
        return make_(bundled_.config, precision_, BundledWeights(bundled_), options);
      };
      model_ = make(options_);
      subject_ = std::make_unique<cli::EngineSubject>("engine", model_, options_, make);
    }
    return *model_;
  }
  verify::Subject& subject() {
    model();
    return *subject_;
  }

  // What `run` gives; one check without it where it throws. `name` is that of a single check.
  template <class Run>
  void add(Checks& checks, const std::string& name, const Run& run) {
    const auto without = [&](Status status, const std::exception& reason) {
      CaseCheck check = make_check(name, bundled_, precision_);
      check.check.status = status;
      check.check.summary = reason.what();
      checks.push_back(std::move(check));
    };
    try {
      Checks made = run();
      if (stacked()) made.at(0).check.name = name;
      checks.insert(checks.end(), made.begin(), made.end());
    } catch (const Unsupported& reason) {
      without(Status::inconclusive, reason);
    } catch (const std::exception& error) {
      without(Status::fail, error);
    }
  }

  const BundledCase& bundled_;
  Precision precision_;
  const MakeModel& make_;
  cuda::ModelOptions options_;
  std::shared_ptr<cuda::Model> model_;
  std::unique_ptr<cli::EngineSubject> subject_;
};

// JSON has no infinity.
nlohmann::ordered_json ratio_json(double ratio) {
  return std::isfinite(ratio) ? nlohmann::ordered_json(ratio) : nlohmann::ordered_json("infinite");
}

}  // namespace

int64_t CaseCheck::compared() const {
  int64_t sum = 0;
  for (const TensorRow& row : rows) sum += row.elements;
  return sum;
}

const TensorRow* CaseCheck::worst() const {
  const auto found = std::max_element(
      rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.ratio < b.ratio; });
  return found == rows.end() ? nullptr : &*found;
}

CaseCheck make_check(const std::string& name, const BundledCase& bundled, Precision precision) {
  return {.case_name = bundled.name,
          .precision = golden::precision_name(precision),
          .check = {.name = name, .summary = "", .details = {}}};
}

std::vector<CaseCheck> check_leaks(const BundledCase& bundled, verify::Subject& subject,
                                   Precision precision) {
  std::vector<CaseCheck> checks;
  // One suffix a cut: influence changes every token by itself besides.
  const verify::LeakOptions options{.suffixes = 1};
  const verify::LeakResult result =
      verify::detect_leaks(subject, bundled.config, bundled.inputs, options);
  for (const verify::Check& check : result.checks) {
    checks.push_back(make_check(check.name, bundled, precision));
    checks.back().check = check;
    if (check.name == "repeat" && check.status == Status::inconclusive) {
      checks.back().check.status = Status::fail;
    }
  }
  return checks;
}

std::vector<CaseCheck> run_case(const BundledCase& bundled, Precision precision,
                                const MakeModel& make) {
  std::vector<CaseCheck> checks;
  CaseRun each(bundled, precision, make, cuda::Recompute::each);
  each.free_running(checks);
  each.leaks(checks);
  each.local(checks);
  each.decode(checks);
  each.gradients(checks);
  if (!recomputes_layers(bundled)) return checks;
  CaseRun stacked(bundled, precision, make, cuda::Recompute::stacked);
  stacked.free_running(checks);
  stacked.decode(checks);
  stacked.gradients(checks);
  return checks;
}

int Report::count(Status status) const {
  return static_cast<int>(std::count_if(
      checks.begin(), checks.end(), [&](const CaseCheck& c) { return c.check.status == status; }));
}

int exit_code(const Report& report, const std::vector<std::string>& without) {
  std::vector<verify::Check> all;
  for (const CaseCheck& check : report.checks) all.push_back(check.check);
  for (const std::string& method : report.absent) {
    if (std::find(without.begin(), without.end(), method) != without.end()) continue;
    all.push_back({.name = "method " + method,
                   .status = Status::inconclusive,
                   .summary = "the bundle has no case of it",
                   .details = {}});
  }
  return verify::exit_code(all);
}

std::string check_text(const CaseCheck& check, bool every_tensor) {
  std::string text =
      fmt::format("{:<12} {:<5} {:<13} {}: {}\n", verify::status_name(check.check.status),
                  check.precision, check.check.name, check.case_name, check.check.summary);
  for (const TensorRow& row : check.rows) {
    if (row.passed() && !every_tensor) continue;
    text += fmt::format("    {} {:<40} {} elements, largest error / bound {:.3g} {}\n",
                        row.passed() ? "pass" : "fail", row.name, row.elements, row.ratio, row.why);
  }
  return text;
}

std::string json_text(const Report& report, int code) {
  using nlohmann::ordered_json;
  ordered_json json{{"assay_device_check", 2},
                    {"backend", report.backend},
                    {"bundle", report.bundle},
                    {"exit_code", code},
                    {"passed", report.count(Status::pass)},
                    {"failed", report.count(Status::fail)},
                    {"inconclusive", report.count(Status::inconclusive)},
                    {"skipped", report.count(Status::skipped)},
                    {"absent_methods", report.absent},
                    {"seconds", report.seconds},
                    {"checks", ordered_json::array()}};
  for (const CaseCheck& check : report.checks) {
    ordered_json rows = ordered_json::array();
    for (const TensorRow& row : check.rows) {
      rows.push_back({{"tensor", row.name},
                      {"elements", row.elements},
                      {"outside", row.outside},
                      {"ratio", ratio_json(row.ratio)},
                      {"why", row.why}});
    }
    json["checks"].push_back({{"case", check.case_name},
                              {"precision", check.precision},
                              {"check", check.check.name},
                              {"status", verify::status_name(check.check.status)},
                              {"summary", check.check.summary},
                              {"tensors", std::move(rows)}});
  }
  return json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace assay::gpu_check
