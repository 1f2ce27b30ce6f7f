#include <fmt/format.h>

#include <cmath>
#include <map>
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

// The best key of each field; null is as if it were not there.
std::map<TraceField, Entry> entries_of(const TraceJson& object) {
  std::map<TraceField, Entry> entries;
  for (const auto& [name, value] : object.items()) {
    const TraceName what = trace_name(name);
    if (what.field == TraceField::none || value.is_null()) continue;
    const auto [known, is_new] = entries.try_emplace(what.field, Entry{name, what, &value});
    if (!is_new && what.priority < known->second.what.priority)
      known->second = {name, what, &value};
  }
  return entries;
}

int32_t token_of(const TraceJson& value, const std::string& where, const std::string& name) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  // What no vocabulary holds is the server's to reject.
  if (number == std::floor(number) && std::fabs(number) < 0x1p31) {
    return static_cast<int32_t>(number);
  }
  expected(where, name, "whole numbers", value);
}

void read_prompt(const Entry& entry, TraceRow& row) {
  const TraceJson& value = *entry.value;
  if (value.is_array()) {
    for (const TraceJson& token : value)
      row.tokens.push_back(token_of(token, row.where, entry.name));
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

// ------------------------------------------------------------------------------------------------
// conversations

struct Turn {
  bool is_reply = false;
  std::string text;
  std::optional<int64_t> tokens;  // where the file counts them
};

Turn turn_of(const TraceJson& value, const std::string& where) {
  if (!value.is_object()) expected(where, "conversations", "objects with from and value", value);
  Turn turn;
  for (const auto& [name, field] : value.items()) {
    if (name == "from" || name == "role") {
      const std::string who = field.is_string() ? field.get<std::string>() : "";
      turn.is_reply = who == "gpt" || who == "assistant" || who == "model" || who == "bot" ||
                      who == "chatgpt" || who == "bing" || who == "bard";
    } else if (name == "value" || name == "content" || name == "text") {
      if (field.is_string()) turn.text = field.get<std::string>();
    } else if (name == "tokens" || name == "token_count" || name == "num_tokens" ||
               name == "length" || name == "n_tokens") {
      if (field.is_array()) turn.tokens = static_cast<int64_t>(field.size());
      if (field.is_number()) turn.tokens = trace_count(field.get<double>(), where, name);
    }
  }
  return turn;
}

// The first reply and what stands before it. Without one the request has no new tokens.
void read_conversation(const Entry& entry, TraceRow& row) {
  if (!entry.value->is_array()) expected(row.where, entry.name, "a list of turns", *entry.value);
  std::string text;
  bool counted = false;
  for (const TraceJson& value : *entry.value) {
    const Turn turn = turn_of(value, row.where);
    const int64_t tokens = turn.tokens.value_or(static_cast<int64_t>(turn.text.size()));
    if (turn.is_reply && row.prompt_tokens > 0) {
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
  if (const Entry* conversation = find(TraceField::conversation);
      conversation != nullptr && prompt == nullptr) {
    read_conversation(*conversation, row);
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
    row.stop_token = token_of(*stop->value, where, stop->name);
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

}  // namespace

std::vector<TraceRow> read_jsonl_trace(const std::string& text, const std::string& path,
                                       double time_unit_s, std::string& read_as) {
  std::istringstream lines(text);
  std::vector<TraceRow> rows;
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    if (verify::training::trimmed(line).empty()) continue;
    const std::string where = fmt::format("{}: line {}", path, number);
    const TraceJson object = golden::parse_strict_json(line, where, kTraceLimits);
    if (rows.empty()) read_as = "an object a line" + names_text(object);
    rows.push_back(row_of(object, where, time_unit_s));
  }
  return rows;
}

std::vector<TraceRow> read_json_trace(const std::string& text, const std::string& path,
                                      double time_unit_s, std::string& read_as) {
  std::string own = text;
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
  std::vector<TraceRow> rows;
  if (one) {
    rows.push_back(row_of(root, path, time_unit_s));
  } else {
    for (const TraceJson& object : *list) {
      rows.push_back(row_of(object, fmt::format("{}: request {}", path, rows.size()), time_unit_s));
    }
    if (!list->empty()) read_as = names_text(list->front());
  }
  read_as = "a list of objects" + read_as;
  return rows;
}

}  // namespace assay::cli
