// Traces of requests: when each came, how long its prompt was and how much was generated.
//
//   JSONL      an object a line: id, arrival, prompt (a list of tokens, a number of them, or text),
//              number of new tokens, and if wanted stop_token and cancel_s
//   CSV        a header and rows: Azure's LLM inference traces (TIMESTAMP, ContextTokens,
//              GeneratedTokens), BurstGPT's, Vidur's, and any with such columns
//   JSON       a list of such objects, or of conversations (ShareGPT): the first reply is the
//              request, its prompt is what stands before; or lists of lengths (results of vLLM's
//              benchmark)
//
// docs/serving.md lists the names that are known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace assay::cli {

struct TraceRow {
  std::string id;  // "" where the trace names none
  std::optional<double> arrival_s;
  std::vector<int32_t> tokens;      // of the prompt, where the trace has them
  std::optional<std::string> text;  // of the prompt, likewise
  int64_t prompt_tokens = 0;        // always: of text its bytes
  int64_t new_tokens = 0;
  std::optional<double> far_token;  // one of the prompt that no int32 holds: 0 stands for it
  std::optional<int64_t> stop_token;
  std::optional<double> cancel_s;  // on the axis of arrivals
  std::string where;               // "trace.csv: line 7"
};

struct Trace {
  std::vector<TraceRow> rows;  // as they stand in the file
  std::string read_as;         // "CSV with TIMESTAMP, ContextTokens, GeneratedTokens"
};

// path: of a file or a pipe; "-" is standard input.
// time_unit_s: of arrivals that are plain numbers and whose name does not say it; without it
// seconds, and milliseconds where the trace is Mooncake's. most: rows that are kept. Throws
// InputError, with file and line, for a file that is no trace, rows without a number where one is
// due, arrivals of some rows only, and arrivals that lie further apart than kTraceSeconds. What is
// wrong with a request by itself (no tokens, too many) is said by the server.
Trace read_trace(const std::string& path, std::optional<double> time_unit_s,
                 std::optional<int64_t> most);

// Seconds that a replay spans at most; a double then holds 100 ns.
inline constexpr double kTraceSeconds = 1e9;

// ------------------------------------------------------------------------------------------------
// what the readers share

enum class TraceField { none, id, arrival, prompt, new_tokens, stop_token, cancel, conversation };

struct TraceName {
  TraceField field = TraceField::none;
  int priority = 0;   // of several names for one field in one row the lowest counts
  double unit_s = 0;  // of a time whose name says it; 0: it does not
  bool may_be_text = false;
};

// What a column or a key is, in any spelling: "ContextTokens", "Request tokens", "arrival_ms".
TraceName trace_name(const std::string& name);

// "12.5", "2023-11-16 18:17:03.9799600", "2024-05-10T00:00:00.009930+00:00": seconds. Dates are
// counted from 2020 in UTC: a double then holds 100 ns.
std::optional<double> trace_seconds(const std::string& text, double time_unit_s);

// A whole number of tokens. Throws InputError "where: name: expected ..".
int64_t trace_count(double value, const std::string& where, const std::string& name);

struct TraceSource {
  const std::string& text;
  const std::string& path;
  std::optional<double> time_unit_s;
};

std::vector<TraceRow> read_csv_trace(const TraceSource& source, std::string& read_as);
std::vector<TraceRow> read_json_trace(const TraceSource& source, std::string& read_as);
std::vector<TraceRow> read_jsonl_trace(const TraceSource& source, std::string& read_as);

}  // namespace assay::cli
