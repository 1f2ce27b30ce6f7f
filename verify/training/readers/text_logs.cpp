#include "verify/training/readers/text_logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "verify/training/readers/event_files.h"
#include "verify/training/readers/names.h"
#include "verify/training/readers/table.h"

namespace assay::verify::training {

namespace {

bool is_comment(const std::string& line) { return trimmed(line).starts_with('#'); }

bool are_numbers(const std::vector<std::string>& fields) {
  return std::all_of(fields.begin(), fields.end(),
                     [](const std::string& field) { return field_number(field).has_value(); });
}

class TableReader {
 public:
  TableReader(const std::string& text, const std::string& path) : lines_(text), path_(path) {}

  Log read() {
    const bool has_row = read_header();
    for (const std::string& name : header_) {
      are_known_.push_back(column_named(name).quantity != Quantity::none);
      are_sections_.push_back(names_sections(name));
    }
    if (has_row) read_row();
    while (next()) read_row();
    if (comments_ > 0) log_.notes.push_back(fmt::format("{} lines of comment", comments_));
    return std::move(log_);
  }

 private:
  // The next line that is neither empty nor a comment.
  bool next() {
    while (std::getline(lines_, line_)) {
      ++number_;
      if (number_ == 1 && line_.starts_with("\xef\xbb\xbf")) line_.erase(0, 3);  // UTF-8
      if (trimmed(line_).empty()) continue;
      if (!is_comment(line_)) return true;
      comment_ = trimmed(line_);
      ++comments_;
    }
    return false;
  }

  // True if a row of numbers has been read: the header was a comment.
  bool read_header() {
    const bool any = next();
    const std::string words = comment_.empty() ? "" : trimmed(comment_.substr(1));
    separator_ = separator_of(any ? line_ : words);
    header_ = fields_of(line_, separator_);
    if (any && !are_numbers(header_)) return false;
    if (!words.empty()) {  // "# step,loss", as numpy.savetxt writes it
      const std::vector<std::string> names = fields_of(words, separator_);
      if (any && names.size() == header_.size() && !are_numbers(names)) {
        header_ = names;
        --comments_;
        return true;
      }
    }
    throw InputError(
        fmt::format("{}: line {}: expected the names of the columns, got {}; write a "
                    "header such as step,train_loss,val_loss",
                    path_, number_, any ? "numbers" : "comments"));
  }

  void read_row() {
    const std::vector<std::string> fields = fields_of(line_, separator_);
    if (lines_.eof() && fields.size() < header_.size()) return say_cut();
    if (fields.size() != header_.size()) {
      throw InputError(fmt::format("{}: line {}: expected {} fields as in the header, got {}",
                                   path_, number_, header_.size(), fields.size()));
    }
    log_.records.emplace_back();
    std::string section;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      read_cell(i, fields[i], log_.records.back());
      const std::string named = are_sections_[i] ? section_named(fields[i]) : "";
      if (!named.empty()) section = named;
    }
    Record& record = log_.records.back();
    put_in_section(record, section);
    const bool has_loss =
        std::any_of(record.values.begin(), record.values.end(),
                    [](const auto& value) { return is_loss(column_named(value.first).quantity); });
    if (!lines_.eof() || has_loss || !fields.back().empty()) return;
    log_.records.pop_back();
    say_cut();
  }

  // The run was killed in this line, which has no end.
  void say_cut() {
    log_.notes.push_back(fmt::format("line {} is cut short and left out", number_));
  }

  void read_cell(std::size_t column, const std::string& field, Record& record) const {
    const std::string& name = header_[column];
    const bool known = are_known_[column];
    if (is_missing_word(field)) {
      if (known) record.missing.push_back(name);
      return;
    }
    if (!known) {
      record.others.push_back(name);
      return;
    }
    const std::optional<double> value = field_number(field);
    if (!value) {
      throw InputError(fmt::format("{}: line {}: {}: expected a number, got '{}'", path_, number_,
                                   golden::printable(name), golden::printable(field)));
    }
    record.values.emplace_back(name, *value);
  }

  std::istringstream lines_;
  std::string path_, line_, comment_;
  std::vector<std::string> header_;
  std::vector<bool> are_known_, are_sections_;  // by column
  char separator_ = ',';
  int64_t number_ = 0, comments_ = 0;
  Log log_;
};

}  // namespace

Log csv_records(const std::string& text, const std::string& path) {
  return TableReader(text, path).read();
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

// The first line that is no comment; of nothing but comments and numbers the last comment.
std::string first_line_of_table(const std::string& text) {
  std::istringstream lines(text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text);
  std::string comment;
  for (std::string line; std::getline(lines, line);) {
    if (trimmed(line).empty()) continue;
    if (is_comment(line)) {
      comment = trimmed(trimmed(line).substr(1));
      continue;
    }
    const bool numbers = are_numbers(fields_of(line, separator_of(line)));
    return numbers && !comment.empty() ? comment : trimmed(line);
  }
  return comment;
}

void refuse_binary(const std::string& text, const std::string& path) {
  if (text.find('\0') == std::string::npos) return;
  throw InputError(path +
                   ": expected a curve as text (trainer_state.json, CSV, JSONL, a log), got "
                   "bytes; arrays are read from .npz, .npy, .safetensors, .h5");
}

}  // namespace

Curve read_curve(const std::string& path, const std::string& val_name) {
  if (is_event_file(path) || !event_files_in(path).empty()) return read_event_curve(path, val_name);
  // A run of 'assay train' writes a row a step.
  const uint64_t most_bytes = uint64_t{1} << (path.ends_with("curves.jsonl") ? 32 : 26);
  const std::string text = golden::read_text(path, "a curve", most_bytes);
  refuse_binary(text, path);
  const auto curve = [&](Log log, const std::string& format) {
    log.val_name = val_name;
    return curve_of(log, path, format);
  };
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string::npos) throw InputError(path + ": empty: expected a curve");
  const std::size_t second = text.find_first_not_of(" \t\r\n", start + 1);
  const bool python = text[start] == '{' && second != std::string::npos && text[second] == '\'';
  if ((text[start] == '{' || path.ends_with(".jsonl")) && !python && looks_like_jsonl(path, text)) {
    return curve(jsonl_records(text, path), "rows in JSON, one a line");
  }
  const bool list = text[start] == '[' && second != std::string::npos &&
                    (text[second] == '{' || text[second] == ']');
  if (((text[start] == '{' && !python) || list) || path.ends_with(".json")) {
    std::string format;
    Log log = json_records(text, path, format);
    return curve(std::move(log), format);
  }
  const std::string first_line = first_line_of_table(text);
  if (looks_like_csv(path, first_line)) return curve(csv_records(text, path), "table");
  return curve(line_records(text), "lines of a log");
}

}  // namespace assay::verify::training
