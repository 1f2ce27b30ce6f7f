// The lines of a proposal, as the text of a map.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "golden/maps/name_map.h"
#include "golden/maps/suggest.h"

namespace assay::golden {
namespace {

using nlohmann::ordered_json;

struct Numbered {
  std::string text;              // "layers/{}/attn/q"
  std::vector<int64_t> numbers;  // 3
};

// A name with its numbers taken out: all of them, or those between slashes alone.
Numbered take_numbers(const std::string& name, bool between_slashes) {
  Numbered result;
  for (std::size_t i = 0; i < name.size();) {
    std::size_t end = i;
    while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
    const bool is_part = (i == 0 || name[i - 1] == '/') && (end == name.size() || name[end] == '/');
    if (end == i || end - i > 9 || (between_slashes && !is_part)) {
      result.text += name.substr(i, std::max<std::size_t>(1, end - i));
      i = std::max(i + 1, end);
      continue;
    }
    result.text += "{}";
    result.numbers.push_back(std::stoll(name.substr(i, end - i)));
    i = end;
  }
  return result;
}

std::string fill(const std::string& text, const std::vector<std::string>& parts) {
  std::string filled;
  std::size_t next = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "{}") == 0 && next < parts.size()) {
      filled += parts[next++];
      ++i;
    } else {
      filled += text[i];
    }
  }
  return filled;
}

ordered_json rule_of(const Suggestion& line, const std::string& from) {
  ordered_json rule{{"from", from}};
  if (!line.axes.empty()) rule["axes"] = line.axes;
  if (!line.part.empty()) rule["part"] = ordered_json::parse(line.part);
  if (line.cut) rule["cut"] = "V";
  if (line.last) rule["last"] = true;
  if (line.interleaved) rule["rotation"] = "interleaved";
  if (!line.factor.empty()) rule["factor"] = line.factor;
  if (line.before_mask) rule["unmasked"] = true;
  return rule.size() == 1 ? ordered_json(from) : rule;
}

// Letters that our numbers go by.
std::string letter_of(const std::string& ours, std::size_t number) {
  static const std::string kLetters = "ljk";
  static const std::string kOthers = "ngm";
  const std::string& letters = ours.starts_with("layers/") ? kLetters : kOthers;
  return std::string(1, letters[std::min(number, letters.size() - 1)]);
}

// What each number of theirs is: the same in all lines, or a number of ours and -1, 0 or 1.
std::optional<std::string> common_source(const std::vector<const Suggestion*>& lines) {
  std::vector<Numbered> ours, theirs;
  for (const Suggestion* line : lines) {
    ours.push_back(take_numbers(line->ours, true));
    theirs.push_back(take_numbers(line->from, false));
    if (theirs.back().text != theirs[0].text) return std::nullopt;
    if (line->from.find('{') != std::string::npos) return std::nullopt;
  }
  std::vector<std::string> parts;
  for (std::size_t n = 0; n < theirs[0].numbers.size(); ++n) {
    const auto holds = [&](const auto& expected) {
      for (std::size_t i = 0; i < lines.size(); ++i) {
        if (theirs[i].numbers[n] != expected(i)) return false;
      }
      return true;
    };
    std::optional<std::string> part;
    if (holds([&](std::size_t) { return theirs[0].numbers[n]; })) {
      part = std::to_string(theirs[0].numbers[n]);
    }
    for (std::size_t k = 0; k < ours[0].numbers.size() && !part; ++k) {
      for (const int64_t added : {0, 1, -1}) {
        if (!holds([&](std::size_t i) { return ours[i].numbers[k] + added; })) continue;
        part = fmt::format("{{{}{}}}", letter_of(lines[0]->ours, k),
                           added == 0  ? ""
                           : added > 0 ? "+1"
                                       : "-1");
        break;
      }
    }
    if (!part) return std::nullopt;
    parts.push_back(*part);
  }
  const std::string source = fill(theirs[0].text, parts);
  for (std::size_t i = 0; i < lines.size(); ++i) {  // "007" is no number that can be made again
    NameNumbers numbers;
    for (std::size_t k = 0; k < ours[i].numbers.size(); ++k) {
      numbers[letter_of(lines[i]->ours, k)[0]] = ours[i].numbers[k];
    }
    if (with_numbers(source, numbers) != lines[i]->from) return std::nullopt;
  }
  return source;
}

bool same_rule(const Suggestion& a, const Suggestion& b) {
  return rule_of(a, "") == rule_of(b, "");
}

}  // namespace

std::string suggested_map_text(const std::vector<Suggestion>& lines) {
  std::vector<std::string> order;  // of kinds
  std::map<std::string, std::vector<const Suggestion*>> kinds;
  for (const Suggestion& line : lines) {
    const std::string kind = take_numbers(line.ours, true).text;
    if (!kinds.contains(kind)) order.push_back(kind);
    kinds[kind].push_back(&line);
  }
  ordered_json map = ordered_json::object();
  for (const std::string& kind : order) {
    const std::vector<const Suggestion*>& all = kinds.at(kind);
    const bool alike = std::all_of(
        all.begin(), all.end(), [&](const Suggestion* line) { return same_rule(*line, *all[0]); });
    const auto source = all.size() > 1 && alike ? common_source(all) : std::nullopt;
    if (source) {
      std::vector<std::string> letters;
      for (std::size_t n = 0; n < take_numbers(all[0]->ours, true).numbers.size(); ++n) {
        letters.push_back(fmt::format("{{{}}}", letter_of(all[0]->ours, n)));
      }
      map[fill(kind, letters)] = rule_of(*all[0], *source);
      continue;
    }
    for (const Suggestion* line : all) map[line->ours] = rule_of(*line, line->from);
  }
  return map.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace assay::golden
