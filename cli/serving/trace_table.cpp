#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "cli/serving/trace.h"
#include "golden/contract/error.h"
#include "verify/training/readers/table.h"

namespace assay::cli {
namespace {

namespace table = verify::training;

struct TraceColumn {
  std::size_t index = 0;
  std::string name;
  TraceName what;
};

// The best column of each field.
std::map<TraceField, TraceColumn> columns_of(const std::vector<std::string>& header,
                                             const std::string& where) {
  std::map<TraceField, TraceColumn> columns;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const TraceName what = trace_name(header[i]);
    if (what.field == TraceField::none) continue;
    const auto [known, is_new] = columns.try_emplace(what.field, TraceColumn{i, header[i], what});
    if (!is_new && what.priority < known->second.what.priority) {
      known->second = {i, header[i], what};
    }
  }
  for (const TraceField due : {TraceField::prompt, TraceField::new_tokens}) {
    if (columns.contains(due)) continue;
    throw InputError(fmt::format(
        "{}: expected columns of arrival, prompt tokens and generated tokens, as in "
        "TIMESTAMP,ContextTokens,GeneratedTokens, got {}",
        where, golden::printable(fmt::format("{}", fmt::join(header, ",")).substr(0, 200))));
  }
  return columns;
}

// Rows of a table: lines, and further ones while a quoted field goes on.
class RecordReader {
 public:
  explicit RecordReader(const std::string& text) : lines_(text) {}

  bool next(std::string& record) {
    first_ = read_ + 1;
    if (!take(record)) return false;
    bool open = quotes(record) % 2 != 0;
    for (std::string more; open && take(more); record += '\n' + more) {
      open = quotes(more) % 2 == 0;
    }
    return true;
  }
  int64_t line() const { return first_; }  // where the last one begins, from 1

 private:
  static std::ptrdiff_t quotes(const std::string& text) {
    return std::count(text.begin(), text.end(), '"');
  }
  bool take(std::string& text) {
    const bool there = static_cast<bool>(std::getline(lines_, text));
    read_ += there ? 1 : 0;
    return there;
  }

  std::istringstream lines_;
  int64_t read_ = 0, first_ = 0;
};

class TableReader {
 public:
  TableReader(std::map<TraceField, TraceColumn> columns, double time_unit_s)
      : columns_(std::move(columns)), time_unit_s_(time_unit_s) {}

  TraceRow read(const std::vector<std::string>& fields, const std::string& where) const {
    TraceRow row;
    row.where = where;
    if (const auto id = columns_.find(TraceField::id); id != columns_.end()) {
      row.id = fields[id->second.index];
    }
    if (const std::string* text = text_of(TraceField::prompt, fields)) {
      row.text = *text;
      row.prompt_tokens = static_cast<int64_t>(text->size());
    } else {
      row.prompt_tokens = count(TraceField::prompt, fields, where);
    }
    const std::string* const reply = text_of(TraceField::new_tokens, fields);
    row.new_tokens = reply != nullptr ? static_cast<int64_t>(reply->size())
                                      : count(TraceField::new_tokens, fields, where);
    row.arrival_s = time(TraceField::arrival, fields, where);
    row.cancel_s = time(TraceField::cancel, fields, where);
    if (has(TraceField::stop_token, fields)) {
      row.stop_token = count(TraceField::stop_token, fields, where);
    }
    return row;
  }

 private:
  // Where a column may hold text, and does; else nullptr.
  const std::string* text_of(TraceField field, const std::vector<std::string>& fields) const {
    const TraceColumn& column = columns_.at(field);
    const std::string& text = fields[column.index];
    return column.what.may_be_text && !table::field_number(text) ? &text : nullptr;
  }
  bool has(TraceField field, const std::vector<std::string>& fields) const {
    const auto column = columns_.find(field);
    return column != columns_.end() && !fields[column->second.index].empty();
  }
  int64_t count(TraceField field, const std::vector<std::string>& fields,
                const std::string& where) const {
    const TraceColumn& column = columns_.at(field);
    const std::string& text = fields[column.index];
    const std::optional<double> value = table::field_number(text);
    if (value) return trace_count(*value, where, column.name);
    throw InputError(fmt::format("{}: {}: expected a whole number of tokens, got '{}'", where,
                                 golden::printable(column.name), golden::printable(text)));
  }
  std::optional<double> time(TraceField field, const std::vector<std::string>& fields,
                             const std::string& where) const {
    if (!has(field, fields)) return std::nullopt;
    const TraceColumn& column = columns_.at(field);
    const double unit_s = column.what.unit_s > 0 ? column.what.unit_s : time_unit_s_;
    const std::optional<double> seconds = trace_seconds(fields[column.index], unit_s);
    if (seconds) return seconds;
    throw InputError(fmt::format(
        "{}: {}: expected a number or a date such as 2023-11-16 18:17:03.97"
        ", got '{}'",
        where, golden::printable(column.name), golden::printable(fields[column.index])));
  }

  std::map<TraceField, TraceColumn> columns_;
  double time_unit_s_;
};

}  // namespace

std::vector<TraceRow> read_csv_trace(const TraceSource& source, std::string& read_as) {
  const std::string& path = source.path;
  RecordReader records(source.text);
  std::string line;
  while (records.next(line)) {
    if (line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);  // a mark of UTF-8
    const std::string words = table::trimmed(line);
    if (!words.empty() && !words.starts_with('#')) break;
  }
  const int64_t number = records.line();
  const char separator = table::separator_of(line);
  const std::vector<std::string> header = table::fields_of(line, separator);
  const auto columns = columns_of(header, fmt::format("{}: line {}", path, number));
  read_as = "table";
  const char* between = " with ";
  for (const auto& [field, column] : columns) {
    read_as += between + golden::printable(column.name);
    between = ", ";
  }
  const TableReader reader(columns, source.time_unit_s.value_or(1));
  std::vector<TraceRow> rows;
  while (records.next(line)) {
    if (table::trimmed(line).empty()) continue;
    const std::string where = fmt::format("{}: line {}", path, records.line());
    const std::vector<std::string> fields = table::fields_of(line, separator);
    if (fields.size() != header.size()) {
      throw InputError(fmt::format("{}: expected {} fields as in the header, got {}", where,
                                   header.size(), fields.size()));
    }
    rows.push_back(reader.read(fields, where));
  }
  return rows;
}

}  // namespace assay::cli
