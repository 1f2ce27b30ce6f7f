#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <sstream>

#include "cli/serving/trace.h"
#include "golden/contract/error.h"
#include "golden/contract/strict_json.h"
#include "verify/training/readers/table.h"

namespace assay::cli {
namespace {

using TraceJson = nlohmann::json;

constexpr golden::JsonLimits kTraceLimits{.depth = 16, .in_list = std::size_t{1} << 27};

[[noreturn]] void expected(const std::string& where, const std::string& name, const char* what,
                           const TraceJson& got) {
  throw InputError(fmt::format("{}: {}: expected {}, got {}", where, golden::printable(name), what,
                               golden::printable(got.dump().substr(0, 60))));
}

struct Entry {
  std::string name;
  TraceName what;
  const TraceJson* value = nullptr;
};

// Under these names requests and replies of serving interfaces hold further objects.
bool is_part(const std::string& name, const TraceJson& value) {
  static const std::set<std::string> kParts{
      "body",       "request",       "response", "usage",           "params",        "payload",
      "parameters", "usageMetadata", "data",     "sampling_params", "usage_metadata"};
  return value.is_object() && kParts.contains(name);
}

// The best key of each field, an object's own before those of its parts; null is as if it were not
// there.
std::map<TraceField, Entry> entries_of(const TraceJson& object) {
  std::map<TraceField, Entry> entries;
  for (const auto& [name, value] : object.items()) {
    const TraceName what = trace_name(name);
    if (what.field == TraceField::none || value.is_null() || is_part(name, value)) continue;
    const auto [known, is_new] = entries.try_emplace(what.field, Entry{name, what, &value});
    if (!is_new && what.priority < known->second.what.priority)
      known->second = {name, what, &value};
  }
  for (const auto& [name, value] : object.items()) {
    if (is_part(name, value)) entries.merge(entries_of(value));
  }
  return entries;
}

double token_of(const TraceJson& value, const std::string& where, const std::string& name) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  if (number == std::floor(number)) return number;
  expected(where, name, "whole numbers", value);
}

bool is_int32(double token) { return std::fabs(token) < 0x1p31; }

void read_prompt(const Entry& entry, TraceRow& row) {
  const TraceJson& value = *entry.value;
  if (value.is_array()) {
    for (const TraceJson& item : value) {
      const double token = token_of(item, row.where, entry.name);
      if (!is_int32(token)) row.far_token = token;  // the server's to reject
      row.tokens.push_back(is_int32(token) ? static_cast<int32_t>(token) : 0);
    }
    row.prompt_tokens = static_cast<int64_t>(row.tokens.size());
  } else if (value.is_string()) {
    row.text = value.get<std::string>();
    row.prompt_tokens = static_cast<int64_t>(row.text->size());
  } else if (value.is_number()) {
    row.prompt_tokens = trace_count(value.get<double>(), row.where, entry.name);
  } else {
    expected(row.where, entry.name, "a list of tokens, a number of them, or text", value);
  }
}

int64_t count_of(const Entry& entry, const std::string& where) {
  if (entry.value->is_array()) return static_cast<int64_t>(entry.value->size());
  if (entry.value->is_string()) {
    return static_cast<int64_t>(entry.value->get_ref<const std::string&>().size());
  }
  if (!entry.value->is_number()) expected(where, entry.name, "a number of tokens", *entry.value);
  return trace_count(entry.value->get<double>(), where, entry.name);
}

double time_of(const Entry& entry, const std::string& where, double time_unit_s) {
  const double unit_s = entry.what.unit_s > 0 ? entry.what.unit_s : time_unit_s;
  const TraceJson& value = *entry.value;
  std::optional<double> seconds;
  if (value.is_number() && std::isfinite(value.get<double>())) {
    seconds = value.get<double>() * unit_s;
  } else if (value.is_string()) {
    seconds = trace_seconds(value.get<std::string>(), unit_s);
  }
  if (!seconds) expected(where, entry.name, "a number or a date", value);
  return *seconds;
}

// Plain numbers of arrivals are seconds; Mooncake's, beside the hashes of blocks, milliseconds.
// (Traces of the same keys in seconds name the conversation, too.)
double unit_of(const TraceJson& object) {
  const bool mooncake = object.is_object() && object.contains("hash_ids") &&
                        !object.contains("chat_id") && object.contains("timestamp") &&
                        object["timestamp"].is_number_integer();
  return mooncake ? 1e-3 : 1;
}

const char* unit_text(const TraceSource& source, double unit_s) {
  return source.time_unit_s || unit_s == 1 ? "" : ", in ms as Mooncake's are";
}

// ------------------------------------------------------------------------------------------------
// conversations

struct Turn {
  bool is_reply = false;
  std::string text;
  std::optional<int64_t> tokens;  // where the file counts them
};

// A text, or parts of which some are text.
std::string text_of_turn(const TraceJson& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (!content.is_array()) return text;
  for (const TraceJson& part : content) {
    if (part.is_string()) text += part.get<std::string>();
    if (!part.is_object() || !part.contains("text") || !part["text"].is_string()) continue;
    text += part["text"].get<std::string>();
  }
  return text;
}

Turn turn_of(const TraceJson& value, const std::string& where) {
  if (!value.is_object()) expected(where, "conversations", "objects with from and value", value);
  Turn turn;
  for (const auto& [name, field] : value.items()) {
    if (name == "from" || name == "role") {
      const std::string who = field.is_string() ? field.get<std::string>() : "";
      turn.is_reply = who == "gpt" || who == "assistant" || who == "model" || who == "bot" ||
                      who == "chatgpt" || who == "bing" || who == "bard";
    } else if (name == "value" || name == "content" || name == "text") {
      turn.text = text_of_turn(field);
    } else if (name == "tokens" || name == "token_count" || name == "num_tokens" ||
               name == "length" || name == "n_tokens") {
      if (field.is_array()) turn.tokens = static_cast<int64_t>(field.size());
      if (field.is_number()) turn.tokens = trace_count(field.get<double>(), where, name);
    }
  }
  return turn;
}

// The first reply and what stands before it; all of it, where the number of new tokens is said by
// itself. Without either the request has no new tokens.
void read_conversation(const Entry& entry, bool counted_apart, TraceRow& row) {
  if (!entry.value->is_array()) expected(row.where, entry.name, "a list of turns", *entry.value);
  std::string text;
  bool counted = false;
  for (const TraceJson& value : *entry.value) {
    const Turn turn = turn_of(value, row.where);
    const int64_t tokens = turn.tokens.value_or(static_cast<int64_t>(turn.text.size()));
    if (turn.is_reply && row.prompt_tokens > 0 && !counted_apart) {
      row.new_tokens = tokens;
      break;
    }
    counted = counted || turn.tokens.has_value();
    text += turn.text;
    row.prompt_tokens += tokens;
  }
  if (!counted) row.text = text;
}

TraceRow row_of(const TraceJson& object, const std::string& where, double time_unit_s) {
  if (!object.is_object()) expected(where, "request", "an object", object);
  const std::map<TraceField, Entry> entries = entries_of(object);
  const auto find = [&](TraceField field) -> const Entry* {
    const auto entry = entries.find(field);
    return entry == entries.end() ? nullptr : &entry->second;
  };
  TraceRow row;
  row.where = where;
  const Entry* const prompt = find(TraceField::prompt);
  const Entry* const count = find(TraceField::new_tokens);
  const bool of_turns = prompt != nullptr && prompt->value->is_array() && !prompt->value->empty() &&
                        prompt->value->front().is_object();
  const Entry* const conversation = of_turns ? prompt : find(TraceField::conversation);
  if (conversation != nullptr && (prompt == nullptr || of_turns)) {
    read_conversation(*conversation, count != nullptr, row);
  } else if (prompt == nullptr) {
    throw InputError(where +
                     ": expected a prompt: a list of tokens under 'tokens', or a number of "
                     "them under 'prompt_tokens'");
  } else {
    read_prompt(*prompt, row);
    if (count == nullptr) {
      throw InputError(where + ": expected a number of new tokens under 'max_new_tokens'");
    }
  }
  if (count != nullptr) row.new_tokens = count_of(*count, where);
  if (const Entry* id = find(TraceField::id)) {
    row.id = id->value->is_string() ? id->value->get<std::string>() : id->value->dump();
  }
  if (const Entry* arrival = find(TraceField::arrival)) {
    row.arrival_s = time_of(*arrival, where, time_unit_s);
  }
  if (const Entry* cancel = find(TraceField::cancel)) {
    row.cancel_s = time_of(*cancel, where, time_unit_s);
  }
  if (const Entry* stop = find(TraceField::stop_token)) {
    const double token = token_of(*stop->value, where, stop->name);
    row.stop_token = is_int32(token) ? static_cast<int64_t>(token) : INT64_MAX;
  }
  return row;
}

std::string names_text(const TraceJson& object) {
  std::string text;
  if (!object.is_object()) return text;
  for (const auto& [field, entry] : entries_of(object)) {
    text += (text.empty() ? " with " : ", ") + golden::printable(entry.name);
  }
  return text;
}

// Lists of lengths, request by request, as vLLM's benchmark leaves them; none where there are none.
std::vector<TraceRow> rows_of_columns(const TraceJson& object, const std::string& where,
                                      double time_unit_s) {
  const auto list_of = [&](std::initializer_list<const char*> names) -> const TraceJson* {
    for (const char* name : names) {
      if (object.is_object() && object.contains(name) && object[name].is_array()) {
        return &object[name];
      }
    }
    return nullptr;
  };
  const TraceJson* const prompts = list_of({"input_lens", "prompt_lens"});
  const TraceJson* const counts = list_of({"output_lens", "generated_lens"});
  const TraceJson* const starts = list_of({"start_times", "arrival_times"});
  std::vector<TraceRow> rows;
  if (prompts == nullptr || counts == nullptr) return rows;
  if (prompts->size() != counts->size() ||
      (starts != nullptr && starts->size() != counts->size())) {
    throw InputError(fmt::format("{}: expected lists of one length, got {} prompts and {} outputs",
                                 where, prompts->size(), counts->size()));
  }
  for (std::size_t i = 0; i < counts->size(); ++i) {
    TraceJson request{{"input_len", (*prompts)[i]}, {"output_len", (*counts)[i]}};
    if (starts != nullptr) request["arrival"] = (*starts)[i];
    rows.push_back(row_of(request, fmt::format("{}: request {}", where, i), time_unit_s));
  }
  return rows;
}

}  // namespace

std::vector<TraceRow> read_jsonl_trace(const TraceSource& source, std::string& read_as) {
  const std::string& path = source.path;
  std::istringstream lines(source.text);
  std::vector<TraceRow> rows;
  double unit_s = 1;
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    if (verify::training::trimmed(line).empty()) continue;
    const std::string where = fmt::format("{}: line {}", path, number);
    const TraceJson object = golden::parse_strict_json(line, where, kTraceLimits);
    if (rows.empty()) {
      unit_s = source.time_unit_s.value_or(unit_of(object));
      read_as = "an object a line" + names_text(object) + unit_text(source, unit_s);
    }
    const std::vector<TraceRow> columns = rows_of_columns(object, where, unit_s);
    rows.insert(rows.end(), columns.begin(), columns.end());
    if (columns.empty()) rows.push_back(row_of(object, where, unit_s));
  }
  return rows;
}

std::vector<TraceRow> read_json_trace(const TraceSource& source, std::string& read_as) {
  const std::string& path = source.path;
  std::string own = source.text;
  if (own.starts_with("\xef\xbb\xbf")) own.erase(0, 3);
  const bool is_list = own[own.find_first_not_of(" \t\r\n")] == '[';
  if (is_list) own = "{\"requests\":" + own + "}";
  const TraceJson root = golden::parse_strict_json(own, path, kTraceLimits);
  const TraceJson* list = nullptr;
  for (const auto& [name, value] : root.items()) {
    if (value.is_array() && (list == nullptr || value.size() > list->size())) list = &value;
  }
  const std::map<TraceField, Entry> own_entries = entries_of(root);
  const bool one = !is_list && (own_entries.contains(TraceField::prompt) ||
                                own_entries.contains(TraceField::conversation));
  if (!one && list == nullptr) {
    throw InputError(path + ": expected a list of requests, got an object without one");
  }
  const TraceJson& first = one || list->empty() ? root : list->front();
  const double unit_s = source.time_unit_s.value_or(unit_of(first));
  std::vector<TraceRow> rows = rows_of_columns(root, path, unit_s);
  read_as = rows.empty() ? "a list of objects" + names_text(first) + unit_text(source, unit_s)
                         : "lists of lengths";
  if (!rows.empty()) return rows;
  if (one) {
    rows.push_back(row_of(root, path, unit_s));
  } else {
    for (const TraceJson& object : *list) {
      rows.push_back(row_of(object, fmt::format("{}: request {}", path, rows.size()), unit_s));
    }
  }
  return rows;
}

}  // namespace assay::cli
