#include "verify/training/readers/text_logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <sstream>

#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "verify/training/readers/event_files.h"
#include "verify/training/readers/names.h"
#include "verify/training/readers/table.h"

namespace assay::verify::training {

std::vector<Record> csv_records(const std::string& text, const std::string& path) {
  std::istringstream lines(text);
  std::string line;
  int64_t number = 0;
  while (std::getline(lines, line)) {
    ++number;
    if (!trimmed(line).empty()) break;
  }
  if (line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);  // a mark of UTF-8
  const char separator = separator_of(line);
  const std::vector<std::string> header = fields_of(line, separator);
  if (std::all_of(header.begin(), header.end(),
                  [](const std::string& field) { return field_number(field).has_value(); })) {
    throw InputError(path +
                     ": line 1: expected the names of the columns, got numbers; write a "
                     "header such as step,train_loss,val_loss");
  }
  std::vector<Record> records;
  while (std::getline(lines, line)) {
    ++number;
    if (trimmed(line).empty()) continue;
    const std::vector<std::string> fields = fields_of(line, separator);
    const bool is_cut = lines.eof() && fields.size() < header.size();
    if (is_cut) break;  // the run was killed in this line
    if (fields.size() != header.size()) {
      throw InputError(fmt::format("{}: line {}: expected {} fields as in the header, got {}", path,
                                   number, header.size(), fields.size()));
    }
    records.emplace_back();
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].empty() || column_named(header[i]).quantity == Quantity::none) continue;
      const std::optional<double> value = field_number(fields[i]);
      if (!value && (fields[i] == "None" || fields[i] == "null" || fields[i] == "-")) continue;
      if (!value) {
        throw InputError(fmt::format("{}: line {}: {}: expected a number, got '{}'", path, number,
                                     golden::printable(header[i]), golden::printable(fields[i])));
      }
      records.back().values.emplace_back(header[i], *value);
    }
  }
  return records;
}

namespace {

bool starts_number(const std::string& line, std::size_t i) {
  const auto at = [&](std::size_t k) { return k < line.size() ? line[k] : '\0'; };
  const bool behind_word = i > 0 && (std::isalnum(static_cast<unsigned char>(line[i - 1])) != 0 ||
                                     line[i - 1] == '_' || line[i - 1] == '.');
  if (behind_word) return false;
  std::size_t k = i;
  if (at(k) == '-' || at(k) == '+') ++k;
  if (std::isdigit(static_cast<unsigned char>(at(k))) != 0) return true;
  if (at(k) == '.' && std::isdigit(static_cast<unsigned char>(at(k + 1))) != 0) return true;
  for (const std::string word : {"nan", "inf", "NaN", "Inf"}) {
    if (line.compare(k, word.size(), word) == 0 &&
        std::isalnum(static_cast<unsigned char>(at(k + word.size()))) == 0 &&
        at(k + word.size()) != '_') {
      return true;
    }
  }
  return false;
}

// The last words before a number that are a name: "time 5ms, train loss" is "train loss".
std::string name_before(const std::string& words) {
  std::string name = words;
  const std::size_t cut = name.find_last_of(",|;(){}[]");
  if (cut != std::string::npos &&
      name.find_first_not_of(" \t:='\"", cut + 1) != std::string::npos) {
    name = name.substr(cut + 1);
  }
  return plain_name(name);
}

// "250 val 2.3": the number in front of a loss is the step. A date is none.
bool leads_to_loss(const std::string& line, std::size_t end) {
  if (end >= line.size() || (line[end] != ' ' && line[end] != '\t')) return false;
  const std::size_t word = line.find_first_not_of(" \t", end);
  if (word == std::string::npos) return false;
  const std::size_t stop = std::min(line.find_first_of(" \t:=", word), line.size());
  const Quantity quantity = column_named(line.substr(word, stop - word)).quantity;
  return quantity == Quantity::train || quantity == Quantity::val || quantity == Quantity::fresh;
}

// "step 250: train loss 2.1, val loss 2.3": a name, then a number, and so on.
Record line_record(const std::string& line) {
  Record record;
  std::string words;
  for (std::size_t i = 0; i < line.size();) {
    if (!starts_number(line, i)) {
      words += line[i++];
      continue;
    }
    const std::size_t begin = line[i] == '+' ? i + 1 : i;
    double value = 0;
    const auto [at, error] = std::from_chars(line.data() + begin, line.data() + line.size(), value);
    if (error == std::errc::result_out_of_range) value = INFINITY;
    const auto end = static_cast<std::size_t>(at - line.data());
    std::string name = i == 0 && leads_to_loss(line, end) ? "step" : name_before(words);
    if (column_named(name).quantity == Quantity::none) {
      // Words in front of a name: "[rank0] train loss", "epoch 3 - loss".
      for (std::size_t from = name.find('_'); from != std::string::npos;
           from = name.find('_', from + 1)) {
        if (column_named(name.substr(from + 1)).quantity == Quantity::none) continue;
        name = name.substr(from + 1);
        break;
      }
    }
    if (column_named(name).quantity != Quantity::none) record.values.emplace_back(name, value);
    words.clear();
    i = std::max(end, i + 1);
  }
  return record;
}

bool has_loss(const Record& record) {
  return std::any_of(record.values.begin(), record.values.end(), [](const auto& value) {
    const Quantity quantity = column_named(value.first).quantity;
    return quantity == Quantity::train || quantity == Quantity::val || quantity == Quantity::fresh;
  });
}

}  // namespace

std::vector<Record> line_records(const std::string& text) {
  std::string lines_text = text;
  std::replace(lines_text.begin(), lines_text.end(), '\r', '\n');  // progress bars
  std::istringstream lines(lines_text);
  std::vector<Record> records;
  for (std::string line; std::getline(lines, line);) {
    Record record = line_record(line);
    if (has_loss(record)) records.push_back(std::move(record));
  }
  return records;
}

namespace {

bool looks_like_csv(const std::string& path, const std::string& first_line) {
  if (path.ends_with(".csv") || path.ends_with(".tsv")) return true;
  const std::vector<std::string> fields = fields_of(first_line, separator_of(first_line));
  int64_t known = 0;
  for (const std::string& field : fields) {
    if (field_number(field)) return false;
    known += column_named(field).quantity != Quantity::none ? 1 : 0;
  }
  return fields.size() > 1 && known > 1;
}

bool looks_like_jsonl(const std::string& path, const std::string& text) {
  if (path.ends_with(".jsonl") || path.ends_with(".ndjson")) return true;
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  const std::size_t end = text.find('\n', start);
  if (text[start] != '{' || end == std::string::npos) return false;
  const std::size_t next = text.find_first_not_of(" \t\r\n", end);
  const std::size_t last = text.find_last_not_of(" \t\r", end - 1);
  return text[last] == '}' && next != std::string::npos && text[next] == '{';
}

void refuse_binary(const std::string& text, const std::string& path) {
  if (text.find('\0') == std::string::npos) return;
  throw InputError(path +
                   ": expected a curve as text (trainer_state.json, CSV, JSONL, a log), got "
                   "bytes; arrays are read from .npz, .npy, .safetensors, .h5");
}

}  // namespace

Curve read_curve(const std::string& path) {
  if (is_event_file(path) || !event_files_in(path).empty()) return read_event_curve(path);
  // A run of 'assay train' writes a row a step.
  const uint64_t most_bytes = uint64_t{1} << (path.ends_with("curves.jsonl") ? 32 : 26);
  const std::string text = golden::read_text(path, "a curve", most_bytes);
  refuse_binary(text, path);
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string::npos) throw InputError(path + ": empty: expected a curve");
  const std::size_t second = text.find_first_not_of(" \t\r\n", start + 1);
  const bool python = text[start] == '{' && second != std::string::npos && text[second] == '\'';
  if ((text[start] == '{' || path.ends_with(".jsonl")) && !python && looks_like_jsonl(path, text)) {
    return curve_of(jsonl_records(text, path), path, "rows in JSON, one a line");
  }
  const bool list = text[start] == '[' && second != std::string::npos &&
                    (text[second] == '{' || text[second] == ']');
  if (((text[start] == '{' && !python) || list) || path.ends_with(".json")) {
    std::string format;
    const std::vector<Record> records = json_records(text, path, format);
    return curve_of(records, path, format);
  }
  const std::string first_line = text.substr(start, text.find('\n', start) - start);
  if (looks_like_csv(path, first_line)) return curve_of(csv_records(text, path), path, "table");
  return curve_of(line_records(text), path, "lines of a log");
}

}  // namespace assay::verify::training
