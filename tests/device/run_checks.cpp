#include "run_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/contract/prob_transformer.h"
#include "golden/contract/test_bundle.h"

namespace assay::device_check {
namespace {

using golden::Precision;

golden::Family family_of(const BundledCase& bundled) {
  return golden::find_method(bundled.config.method).family;
}

bool runs_layers_again(const BundledCase& bundled) {
  const golden::Family family = family_of(bundled);
  return family == golden::Family::recompute_mlp || family == golden::Family::recompute_attn;
}

// A word that hears from later ones leaves nothing to cache.
bool decodes(const BundledCase& bundled) {
  if (family_of(bundled) != golden::Family::prob_transformer) return true;
  const golden::ProbTransformer pt = golden::prob_transformer_of(bundled.config);
  return pt.causal_heads && pt.message != golden::ProbTransformer::Message::full;
}

constexpr const char* kStacked = "stacked";

// A check of the same name but for the prefix, on the engine with stacked recomputes.
bool is_of_stacked(const std::string& name) { return name.starts_with(kStacked); }

Check run_one(const std::string& name, const BundledCase& bundled, Precision precision,
              cuda::Model& model) {
  if (name == kStacked) return check_stacked(bundled, model, precision);
  if (is_of_stacked(name)) {
    const std::string plain = name.substr(name.find('-') + 1);
    Check check = run_one(plain, bundled, precision, model);
    check.name = name;
    return check;
  }
  if (name == "free-running") return check_free(bundled, model, precision);
  if (name == "local") return check_local(bundled, model, precision);
  if (name == "decode") return check_decode(bundled, model, precision);
  if (name == "gradients") return check_gradients(bundled, model);
  if (name == "repeat") return check_repeat(bundled, model);
  if (name == "prefix") return check_prefix(bundled, model);
  if (name == "batch") return check_batch(bundled, model);
  if (name == "labels") return check_labels(bundled, model);
  throw InternalError("run_one: no check " + name);
}

Check without_result(const std::string& name, const BundledCase& bundled, Precision precision,
                     Status status, const std::string& why) {
  Check check{.name = name,
              .case_name = bundled.name,
              .precision = golden::precision_name(precision),
              .status = status,
              .summary = why};
  return check;
}

// JSON has no infinity.
nlohmann::ordered_json ratio_json(double ratio) {
  return std::isfinite(ratio) ? nlohmann::ordered_json(ratio) : nlohmann::ordered_json("infinite");
}

}  // namespace

const char* status_name(Status status) {
  return status == Status::pass ? "pass" : status == Status::fail ? "FAIL" : "REFUSED";
}

int64_t Check::compared() const {
  int64_t sum = 0;
  for (const TensorRow& row : rows) sum += row.elements;
  return sum;
}

const TensorRow* Check::worst() const {
  const auto found = std::max_element(
      rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.ratio < b.ratio; });
  return found == rows.end() ? nullptr : &*found;
}

std::vector<std::string> checks_due(const BundledCase& bundled, Precision precision) {
  std::vector<std::string> due{"free-running", "repeat", "prefix", "labels"};
  if (bundled.inputs.batch > 1) due.push_back("batch");
  if (golden::bundle::has_local(precision)) due.push_back("local");
  std::vector<std::string> of_both;  // of either way to run layers again
  if (decodes(bundled)) of_both.push_back("decode");
  if (precision == Precision::fp32 && bundled.has_gradients()) of_both.push_back("gradients");
  due.insert(due.end(), of_both.begin(), of_both.end());
  if (!runs_layers_again(bundled)) return due;
  due.push_back(kStacked);
  for (const std::string& name : of_both) due.push_back(kStacked + ("-" + name));
  return due;
}

std::vector<Check> run_case(const BundledCase& bundled, Precision precision,
                            const MakeModel& make) {
  std::vector<Check> checks;
  std::unique_ptr<cuda::Model> each, stacked;
  for (const std::string& name : checks_due(bundled, precision)) {
    const bool of_stacked = is_of_stacked(name);
    std::unique_ptr<cuda::Model>& model = of_stacked ? stacked : each;
    try {
      if (model == nullptr) {
        model = make(bundled.config, precision, BundledWeights(bundled),
                     {.recompute = of_stacked ? cuda::Recompute::stacked : cuda::Recompute::each});
      }
      checks.push_back(run_one(name, bundled, precision, *model));
    } catch (const Unsupported& reason) {
      checks.push_back(without_result(name, bundled, precision, Status::refused, reason.what()));
    } catch (const std::exception& error) {
      checks.push_back(without_result(name, bundled, precision, Status::fail, error.what()));
    }
  }
  return checks;
}

int Report::count(Status status) const {
  return static_cast<int>(std::count_if(checks.begin(), checks.end(),
                                        [&](const Check& c) { return c.status == status; }));
}

int exit_code(const Report& report, const std::vector<std::string>& without) {
  if (report.checks.empty() || report.count(Status::fail) > 0) return 1;
  const bool all_there =
      std::all_of(report.absent.begin(), report.absent.end(), [&](const std::string& method) {
        return std::find(without.begin(), without.end(), method) != without.end();
      });
  return report.count(Status::refused) > 0 || !all_there ? 3 : 0;
}

std::string check_text(const Check& check, bool every_tensor) {
  std::string text = fmt::format("{:<8} {:<5} {:<13} {}: {}\n", status_name(check.status),
                                 check.precision, check.name, check.case_name, check.summary);
  for (const TensorRow& row : check.rows) {
    if (row.passed() && !every_tensor) continue;
    text += fmt::format("    {} {:<40} {} elements, largest error / bound {:.3g} {}\n",
                        row.passed() ? "pass" : "FAIL", row.name, row.elements, row.ratio, row.why);
  }
  return text;
}

std::string json_text(const Report& report, int code) {
  using nlohmann::ordered_json;
  ordered_json json{{"assay_device_check", 1},
                    {"backend", report.backend},
                    {"bundle", report.bundle},
                    {"exit_code", code},
                    {"passed", report.count(Status::pass)},
                    {"failed", report.count(Status::fail)},
                    {"refused", report.count(Status::refused)},
                    {"absent_methods", report.absent},
                    {"seconds", report.seconds},
                    {"checks", ordered_json::array()}};
  for (const Check& check : report.checks) {
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
                              {"check", check.name},
                              {"status", status_name(check.status)},
                              {"summary", check.summary},
                              {"tensors", std::move(rows)}});
  }
  return json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace assay::device_check
