#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <sstream>

#include "golden/contract/error.h"
#include "golden/contract/strict_json.h"
#include "verify/training/readers/names.h"
#include "verify/training/readers/table.h"
#include "verify/training/readers/text_logs.h"

namespace assay::verify::training {
namespace {

using Json = nlohmann::ordered_json;

// NaN, Infinity and -Infinity outside of strings, which Python writes and JSON does not have, as
// strings.
std::string with_quoted_words(const std::string& text) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    std::size_t length = 0;
    if (!quoted) {
      for (const char* word : {"NaN", "Infinity", "-Infinity"}) {
        const std::string spelled = word;
        if (text.compare(i, spelled.size(), spelled) == 0) length = spelled.size();
      }
    }
    if (length > 0) {
      out += '"' + text.substr(i, length) + '"';
      i += length;
      continue;
    }
    if (c == '"') quoted = !quoted;
    out += c;
    if (c == '\\' && quoted && i + 1 < text.size()) out += text[++i];
    ++i;
  }
  return out;
}

std::optional<double> json_number(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_boolean() || !value.is_string()) return std::nullopt;
  const std::string text = value.get<std::string>();
  if (text == "NaN") return std::nan("");
  if (text == "Infinity") return INFINITY;
  if (text == "-Infinity") return -INFINITY;
  double number = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && at == text.data() + text.size() && !text.empty()) return number;
  return std::nullopt;
}

bool is_missing(const Json& value) {
  return value.is_null() || (value.is_string() && is_missing_word(value.get<std::string>()));
}

// Nested objects are names with slashes.
void flatten(const Json& object, const std::string& prefix, Record& record) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      flatten(value, prefix + key + "/", record);
    } else if (const std::optional<double> number = json_number(value)) {
      record.values.emplace_back(prefix + key, *number);
    } else if (is_missing(value)) {
      record.missing.push_back(prefix + key);
    } else {
      record.others.push_back(prefix + key);
    }
  }
}

// {"mode": "val", "loss": 2.5}
void take_section(const Json& row, Record& record) {
  for (const auto& [key, value] : row.items()) {
    if (value.is_string() && names_sections(key)) {
      put_in_section(record, section_named(value.get<std::string>()));
    }
  }
}

Json parse(const std::string& text, const std::string& where) {
  return golden::parse_strict_ordered_json(with_quoted_words(text), where, golden::kHandWritten);
}

std::vector<Record> rows_of(const Json& list, const std::string& where) {
  std::vector<Record> records;
  for (const Json& row : list) {
    if (!row.is_object()) {
      throw InputError(fmt::format("{}: row {}: expected an object, got {}", where, records.size(),
                                   row.type_name()));
    }
    records.emplace_back();
    flatten(row, "", records.back());
    take_section(row, records.back());
  }
  return records;
}

// {"step": [..], "loss": [..]}; columns of other lengths are left out.
Log columns_of(const Json& object) {
  std::size_t length = 0;
  for (const auto& [key, value] : object.items()) {
    if (value.is_array()) length = std::max(length, value.size());
  }
  Log log;
  std::vector<Record>& records = log.records;
  records.resize(length);
  for (const auto& [key, value] : object.items()) {
    if (!value.is_array()) continue;
    if (value.size() != length) {
      if (column_named(key).quantity == Quantity::none) continue;
      log.notes.push_back(fmt::format("'{}' is left out: it has {} values, other columns {}",
                                      golden::printable(key), value.size(), length));
      continue;
    }
    for (std::size_t i = 0; i < length; ++i) {
      if (const auto number = json_number(value[i])) {
        records[i].values.emplace_back(key, *number);
      } else if (is_missing(value[i])) {
        records[i].missing.push_back(key);
      }
    }
  }
  return log;
}

}  // namespace

Log json_records(const std::string& text, const std::string& path, std::string& format) {
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string::npos && text[start] == '[') {  // the parser reads objects
    format = "rows in JSON";
    return {rows_of(parse("{\"rows\":" + text + "}", path).at("rows"), path)};
  }
  const Json root = parse(text, path);
  if (root.contains("log_history")) {
    format = "trainer_state.json of Hugging Face";
    const Json& rows = root.at("log_history");
    if (!rows.is_array()) {
      throw InputError(
          fmt::format("{}: log_history: expected a list, got {}", path, rows.type_name()));
    }
    return {rows_of(rows, path + ": log_history")};
  }
  format = "columns in JSON";
  return columns_of(root);
}

Log jsonl_records(const std::string& text, const std::string& path) {
  Log log;
  std::vector<Record>& records = log.records;
  std::istringstream lines(text);
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const bool is_cut = lines.eof();  // no end of line behind it
    try {
      const Json row = parse(line, fmt::format("{}: line {}", path, number));
      records.emplace_back();
      flatten(row, "", records.back());
      take_section(row, records.back());
    } catch (const InputError&) {
      if (!is_cut || records.empty()) throw;
      log.notes.push_back(fmt::format("line {} is cut short and left out", number));
    }
  }
  return log;
}

}  // namespace assay::verify::training
