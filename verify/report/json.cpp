// The report as JSON.
#include <cmath>
#include <nlohmann/json.hpp>

#include "verify/report/report.h"

namespace assay::verify {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinities and no NaN.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json check_json(const Check& check) {
  return {{"name", check.name},
          {"status", status_name(check.status)},
          {"summary", check.summary},
          {"details", check.details},
          {"seconds", number(check.seconds)}};
}

Json row_json(const CheckpointRow& row) {
  return {{"name", row.name},
          {"shape", row.shape},
          {"axes", row.axes},
          {"dtype", golden::dtype_name(row.dtype)},
          {"status", status_name(row.status)},
          {"fault", fault_name(row.fault)},
          {"compared", row.compared},
          {"local_compared", row.local_compared},
          {"elements", row.elements},
          {"free_outside", row.free_outside},
          {"local_outside", row.local_outside},
          {"free_ratio", number(row.free_ratio)},
          {"local_ratio", number(row.local_ratio)},
          {"free_sigmas", number(row.free_sigmas)},
          {"relative_bound", number(row.relative_bound)},
          {"rms_error", number(row.rms_error)},
          {"golden_rms", number(row.golden_rms)},
          {"note", row.note}};
}

Json influence_json(const InfluenceMatrix& influence) {
  Json rows = Json::array();
  for (int64_t t = 0; t < influence.positions; ++t) {
    const auto row = influence.first_layer.begin() + t * influence.positions;
    rows.push_back(std::vector<int>(row, row + influence.positions));
  }
  Json json{{"positions", influence.positions}, {"first_layer", rows}};
  if (!influence.tensors.empty()) json["tensors"] = influence.tensors;
  return json;
}

Json side_by_side_json(const SideBySide& all) {
  Json json{{"candidates", Json::array()}, {"pairs", Json::array()}};
  for (const Candidate& one : all.candidates) {
    json["candidates"].push_back({{"label", one.label},
                                  {"subject", one.subject},
                                  {"status", status_name(one.status)},
                                  {"diverged", one.diverged},
                                  {"reason", one.reason}});
  }
  for (const CandidatePair& pair : all.pairs) {
    const PairRow* parting = first_parting(pair);
    Json rows = Json::array();
    for (const PairRow& row : pair.rows) {
      rows.push_back({{"name", row.name},
                      {"same_bits", row.same_bits},
                      {"elements", row.elements},
                      {"parted", row.parted},
                      {"largest", number(row.largest)},
                      {"ratio", number(row.ratio)}});
    }
    json["pairs"].push_back(
        {{"candidates", {all.candidates[pair.first].label, all.candidates[pair.second].label}},
         {"conclusion", conclusion_name(conclusion_of(all, pair))},
         {"text", conclusion_text(all, pair)},
         {"parting", parting == nullptr ? "" : parting->name},
         {"only_in_first", only_in(all, pair.first, pair.second)},
         {"only_in_second", only_in(all, pair.second, pair.first)},
         {"checkpoints", rows}});
  }
  return json;
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json report_json(const RunReport& report) {
  Json config = Json::parse(report.config_json, nullptr, false);
  if (config.is_discarded()) config = nullptr;
  Json json{{"assay_report", 1},
            {"title", report.title},
            {"verdict", status_name(overall(report.checks))},
            {"exit_code", exit_code(report.checks)},
            {"part", or_null(part_text(report))},
            {"command", report.command_line},
            {"golden",
             {{"path", or_null(report.golden_path)},
              {"root_hash", or_null(report.root_hash)},
              {"method", report.method},
              {"seed", report.seed},
              {"config", config}}},
            {"subject", report.subject},
            {"checks", Json::array()},
            {"diverged", report.diverged},
            {"first_divergence", report.first_divergence},
            {"diagnosis", report.diagnosis},
            {"checkpoints", Json::array()},
            {"influence", nullptr},
            {"seconds", number(report.seconds)},
            {"cases", Json::array()},
            {"side_by_side", nullptr}};
  for (const Check& check : report.checks) json["checks"].push_back(check_json(check));
  for (const CheckpointRow& row : report.rows) json["checkpoints"].push_back(row_json(row));
  if (report.influence) json["influence"] = influence_json(*report.influence);
  for (const RunReport& part : report.cases) json["cases"].push_back(report_json(part));
  if (report.side_by_side) json["side_by_side"] = side_by_side_json(*report.side_by_side);
  return json;
}

}  // namespace

std::string json_text(const RunReport& report) {
  // Paths and command lines are bytes; what is not UTF-8 in them is replaced.
  return report_json(report).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace assay::verify
