#include "verify/training/readers/table.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace assay::verify::training {

std::optional<double> field_number(std::string field) {
  if (!field.empty() && field.front() == '+') field.erase(0, 1);
  if (field == "1.#QNAN" || field == "-1.#QNAN" || field == "-1.#IND" || field == "1.#IND") {
    return std::nan("");  // of Microsoft's C
  }
  double value = 0;
  const auto [at, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error == std::errc::result_out_of_range) return INFINITY;
  if (error != std::errc() || at != field.data() + field.size() || field.empty()) {
    return std::nullopt;
  }
  return value;
}

bool is_missing_word(const std::string& field) {
  std::string lower;
  for (const char c : field) lower += static_cast<char>(std::tolower(static_cast<uint8_t>(c)));
  for (const char* word : {"", "null", "none", "nil", "na", "n/a", "#n/a", "#na", "<na>", "-", "--",
                           "undefined", "missing"}) {
    if (lower == word) return true;
  }
  return false;
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::vector<std::string> fields_of(const std::string& line, char separator) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"') {
        fields.back() += line[++i];
      } else {
        quoted = !quoted;
      }
    } else if (line[i] == separator && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  for (std::string& field : fields) field = trimmed(field);
  return fields;
}

char separator_of(const std::string& header) {
  char best = ',';
  int64_t most = 0;
  for (const char c : {',', '\t', ';'}) {
    const int64_t count = std::count(header.begin(), header.end(), c);
    if (count > most) {
      most = count;
      best = c;
    }
  }
  return best;
}

}  // namespace assay::verify::training
