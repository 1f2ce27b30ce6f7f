#include "cli/serving/trace.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "datasets/format.h"
#include "datasets/source.h"
#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "verify/training/readers/table.h"

namespace assay::cli {
namespace {

// Letters and digits alone, lower case: "Context Tokens" and "context_tokens" are one name.
std::string letters_of(const std::string& name) {
  std::string letters;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) letters += static_cast<char>(std::tolower(byte));
  }
  return letters;
}

// Names under which traces hold a text, too.
bool may_be_text(const std::string& letters) {
  return letters == "prompt" || letters == "input" || letters == "inputs" || letters == "output" ||
         letters == "completion" || letters == "response";
}

struct NamesOfField {
  TraceField field;
  std::vector<const char*> names;
};

const std::vector<NamesOfField>& names_of_fields() {
  static const std::vector<NamesOfField> kNames{
      {TraceField::id, {"id", "customid", "requestid", "reqid", "uuid"}},
      {TraceField::arrival,
       {"arrivals", "arrivalms", "arrival", "arrivaltime", "arrivaltimes", "arrivaltimems",
        "arrivedat", "arrivaltimestamp", "timestamp", "timestampms", "timestamps", "time",
        "starttime", "requesttime", "requesttimestamp", "createdat", "created", "datetime",
        "date"}},
      {TraceField::prompt,
       {"tokens",          "prompttokenids",   "inputids",        "contexttokens",
        "prompttokens",    "inputtokens",      "requesttokens",   "numprefilltokens",
        "numprompttokens", "numinputtokens",   "promptlength",    "promptlen",
        "inputlength",     "inputlen",         "contextlength",   "contextlen",
        "promptsize",      "prompttokencount", "inputtokencount", "numberinputtokens",
        "prefilltokens",   "prompt",           "inputs",          "input"}},
      {TraceField::new_tokens,
       {"maxnewtokens",
        "generatedtokens",
        "newtokens",
        "outputtokens",
        "completiontokens",
        "responsetokens",
        "numdecodetokens",
        "numgeneratedtokens",
        "numoutputtokens",
        "outputlength",
        "outputlen",
        "generatedlength",
        "generationlength",
        "responselength",
        "completionlength",
        "expectedoutputlen",
        "outputtokencount",
        "candidatestokencount",
        "numberoutputtokens",
        "decodetokens",
        "tokensize",
        "maxtokens",
        "maxcompletiontokens",
        "maxoutputtokens",
        "output",
        "completion",
        "response"}},
      {TraceField::stop_token, {"stoptoken", "stoptokenid", "eostokenid"}},
      {TraceField::cancel, {"cancels", "cancelms", "cancel", "canceltime", "cancelledat"}},
      {TraceField::conversation, {"conversations", "conversation", "messages"}},
  };
  return kNames;
}

// Digits only, so many of them; -1 for anything else.
int digits_at(const std::string& text, std::size_t from, std::size_t count) {
  int value = -1;
  if (from + count > text.size()) return -1;
  const char* const first = text.data() + from;
  const auto [end, error] = std::from_chars(first, first + count, value);
  return error == std::errc() && end == first + count && *first != '-' ? value : -1;
}

// "Z", "+01:00", "-0800", "": seconds east of UTC.
std::optional<double> zone_seconds(const std::string& zone) {
  if (zone.empty() || zone == "Z" || zone == "z" || zone == "UTC") return 0;
  if (zone[0] != '+' && zone[0] != '-') return std::nullopt;
  const bool colon = zone.size() == 6 && zone[3] == ':';
  if (!colon && zone.size() != 5) return std::nullopt;
  const int hours = digits_at(zone, 1, 2), minutes = digits_at(zone, colon ? 4 : 3, 2);
  if (hours < 0 || minutes < 0) return std::nullopt;
  return (zone[0] == '-' ? -60.0 : 60.0) * (60 * hours + minutes);
}

// "2023-11-16 18:17:03.9799600", with a zone or without.
std::optional<double> date_seconds(const std::string& text) {
  const int year = digits_at(text, 0, 4), month = digits_at(text, 5, 2),
            day = digits_at(text, 8, 2);
  const int hour = digits_at(text, 11, 2), minute = digits_at(text, 14, 2),
            second = digits_at(text, 17, 2);
  if (std::min({year, month, day, hour, minute, second}) < 0) return std::nullopt;
  const bool shaped = text[4] == text[7] && (text[4] == '-' || text[4] == '/') &&
                      (text[10] == ' ' || text[10] == 'T') && text[13] == ':' && text[16] == ':';
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!shaped || !date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  std::size_t at = 19;
  double fraction = 0, digit = 0.1;
  if (at < text.size() && text[at] == '.') {
    for (++at; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0; ++at) {
      fraction += digit * (text[at] - '0');
      digit /= 10;
    }
  }
  const std::optional<double> zone = zone_seconds(verify::training::trimmed(text.substr(at)));
  if (!zone) return std::nullopt;
  using std::chrono::sys_days;
  constexpr std::chrono::year_month_day kFirst{std::chrono::year(2020), std::chrono::January,
                                               std::chrono::day(1)};
  const auto days = (sys_days(date) - sys_days(kFirst)).count();
  return 86400.0 * static_cast<double>(days) + 3600.0 * hour + 60.0 * minute + second + fraction -
         *zone;
}

// Times from the first one on; all rows have one or none has. What they say, in words.
std::string settle_arrivals(std::vector<TraceRow>& rows) {
  const auto has = [](const TraceRow& row) { return row.arrival_s.has_value(); };
  const bool any = std::any_of(rows.begin(), rows.end(), has);
  if (!any) return ", without arrivals";
  for (const TraceRow& row : rows) {
    if (has(row)) continue;
    throw InputError(row.where + ": expected an arrival as in other rows, got none");
  }
  double first = *rows.front().arrival_s, last_s = 0;
  for (const TraceRow& row : rows) first = std::min(first, *row.arrival_s);
  for (TraceRow& row : rows) {
    *row.arrival_s -= first;
    if (row.cancel_s) *row.cancel_s -= first;
    last_s = std::max(last_s, *row.arrival_s);
    if (*row.arrival_s <= kTraceSeconds) continue;
    throw InputError(fmt::format(
        "{}: expected an arrival within {:g} s of the first, got one {:g} s behind it; --time-unit "
        "says what a number counts",
        row.where, kTraceSeconds, *row.arrival_s));
  }
  return fmt::format(", arrivals over {:g} s", last_s);
}

// "-" is standard input. What is no file, as a pipe, is read to its end.
std::string text_of_trace(const std::string& path) {
  constexpr uint64_t kMostBytes = uint64_t{1} << 31;
  const bool standard = path == "-";
  std::error_code ignored;
  const auto type = std::filesystem::status(path, ignored).type();
  const bool streamed = type == std::filesystem::file_type::fifo ||
                        type == std::filesystem::file_type::socket ||
                        type == std::filesystem::file_type::character;
  if (!standard && !streamed) return golden::read_text(path, "a trace of requests", kMostBytes);
  std::optional<datasets::Source> source;
  if (standard) source.emplace(STDIN_FILENO, "standard input");
  if (!standard) source.emplace(path);
  std::string text;
  for (int c = source->sbumpc(); c != std::streambuf::traits_type::eof(); c = source->sbumpc()) {
    text += static_cast<char>(c);
    if (text.size() <= kMostBytes) continue;
    throw InputError(fmt::format("{}: expected a trace of requests of at most {} bytes, got more",
                                 source->path(), kMostBytes));
  }
  return text;
}

// Files that are known and no trace; lines that end in CR alone end in LF.
void prepare_text(std::string& text, const std::string& path) {
  const char* const foreign = datasets::foreign_file(text);
  const bool utf16 = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff");
  const char* const what = foreign != nullptr               ? foreign
                           : text.starts_with("PK\x03\x04") ? "a zip archive: unpack it first"
                           : utf16                          ? "UTF-16: save it as UTF-8"
                                                            : nullptr;
  if (what != nullptr) {
    throw InputError(fmt::format("{}: expected a trace of requests, got {}", path, what));
  }
  if (text.find('\n') == std::string::npos) std::replace(text.begin(), text.end(), '\r', '\n');
}

}  // namespace

TraceName trace_name(const std::string& name) {
  const std::string letters = letters_of(name);
  for (const NamesOfField& row : names_of_fields()) {
    for (std::size_t i = 0; i < row.names.size(); ++i) {
      if (letters != row.names[i]) continue;
      const bool time = row.field == TraceField::arrival || row.field == TraceField::cancel;
      // "arrival_s" and "timestamps" differ by what stands in front of the last letter alone.
      const bool seconds = time && name.size() > 2 && name.ends_with("_s");
      const double unit_s = time && letters.ends_with("ms") ? 1e-3 : seconds ? 1.0 : 0.0;
      return {row.field, static_cast<int>(i), unit_s, may_be_text(letters)};
    }
  }
  return {};
}

std::optional<double> trace_seconds(const std::string& text, double time_unit_s) {
  const std::optional<double> number = verify::training::field_number(text);
  if (number) return std::isfinite(*number) ? std::optional(*number * time_unit_s) : std::nullopt;
  return date_seconds(text);
}

int64_t trace_count(double value, const std::string& where, const std::string& name) {
  if (value >= 0 && value <= 0x1p53 && value == std::floor(value)) {
    return static_cast<int64_t>(value);
  }
  throw InputError(fmt::format("{}: {}: expected a whole number of tokens, got {}", where,
                               golden::printable(name), value));
}

Trace read_trace(const std::string& given, std::optional<double> time_unit_s,
                 std::optional<int64_t> most) {
  std::string text = text_of_trace(given);
  const std::string path = given == "-" ? "standard input" : given;
  prepare_text(text, path);
  const TraceSource source{text, path, time_unit_s};
  const std::size_t start = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (start == std::string::npos) throw InputError(path + ": empty: expected a trace of requests");
  Trace trace;
  const std::size_t end = std::min(text.find('\n', start), text.size());
  const std::string first = verify::training::trimmed(text.substr(start, end - start));
  const bool goes_on = text.find_first_not_of(" \t\r\n", end) != std::string::npos;
  const bool whole_object = first.front() == '{' && first.back() == '}' && goes_on;
  if (text[start] == '{' && (whole_object || path.ends_with(".jsonl"))) {
    trace.rows = read_jsonl_trace(source, trace.read_as);
  } else if (text[start] == '[' || text[start] == '{') {
    trace.rows = read_json_trace(source, trace.read_as);
  } else {
    trace.rows = read_csv_trace(source, trace.read_as);
  }
  if (trace.rows.empty()) throw InputError(path + ": expected requests, got none");
  if (most && static_cast<int64_t>(trace.rows.size()) > *most) {
    trace.rows.resize(static_cast<std::size_t>(*most));
  }
  trace.read_as += settle_arrivals(trace.rows);
  return trace;
}

}  // namespace assay::cli
