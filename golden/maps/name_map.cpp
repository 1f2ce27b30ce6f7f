#include "golden/maps/name_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/json_keys.h"
#include "golden/contract/names.h"
#include "golden/contract/strict_json.h"
#include "golden/contract/tensor_meanings.h"
#include "golden/file/files.h"

namespace assay::golden {
namespace {

using nlohmann::json;

constexpr JsonLimits kMapLimits{.depth = 4, .in_list = 16};
constexpr uint64_t kMostMapBytes = 1 << 20;
constexpr int64_t kMostParts = 1024;

const std::vector<std::string> kRuleKeys{"from", "axes",   "part",     "range",    "at",   "cut",
                                         "last", "factor", "rotation", "unmasked", "block"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Position behind a "{x}", "{x+1}" or "{x-1}" that begins at `at`; 0 if there is none.
std::size_t placeholder_end(const std::string& text, std::size_t at) {
  if (text[at] != '{' || at + 2 >= text.size()) return 0;
  if (std::isalpha(static_cast<unsigned char>(text[at + 1])) == 0) return 0;
  if (text[at + 2] == '}') return at + 3;
  if (at + 4 >= text.size() || text[at + 4] != '}' || text[at + 3] != '1') return 0;
  return text[at + 2] == '+' || text[at + 2] == '-' ? at + 5 : 0;
}

// Letters of the placeholders of a pattern. Throws InputError for a brace that is none.
std::string letters_of(const std::string& pattern, bool with_offset, const std::string& where) {
  std::string letters;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '{' && pattern[i] != '}') continue;
    const std::size_t end = pattern[i] == '{' ? placeholder_end(pattern, i) : 0;
    if (end == 0 || (!with_offset && end != i + 3)) {
      throw InputError(fmt::format("{}: expected {{l}}{}, got '{}'", where,
                                   with_offset ? ", {l+1} or {l-1}" : "",
                                   printable(pattern.substr(i, 5))));
    }
    letters += pattern[i + 1];
    i = end - 1;
  }
  return letters;
}

// One key of the map.
class RuleReader {
 public:
  RuleReader(const std::string& ours, const std::string& where)
      : letters_(letters_of(ours, false, where)),
        layer_(numbers_of("layers/{l}/", ours.substr(0, ours.find('/', 7) + 1))),
        where_(where) {}

  MapRule read(const json& value) const {
    MapRule rule;
    if (value.is_string()) {
      rule.from = source(value.get<std::string>());
      return rule;
    }
    if (!value.is_object()) {
      throw InputError(fmt::format("{}: expected a name, or an object with \"from\", got {}",
                                   where_, value.type_name()));
    }
    const JsonKeys keys(value, where_);
    keys.only(kRuleKeys);
    if (!keys.has("from")) throw InputError(where_ + ": key \"from\" is missing");
    rule.from = source(keys.text("from", ""));
    rule.axes_text = keys.text("axes", "");
    if (keys.has("axes")) rule.gather.axes = parse_axes(rule.axes_text, where_);
    rule.gather.part = two(keys, "part");
    rule.gather.range = two(keys, "range");
    rule.gather.last = keys.boolean("last", false);
    rule.before_mask = keys.boolean("unmasked", false);
    read_indices(value, rule);
    index_layers(rule);
    read_cut(value, rule);
    read_words(keys, value, rule);
    check_numbers(rule);
    return rule;
  }

 private:
  std::string source(const std::string& from) const {
    if (from.empty()) throw InputError(where_ + ": from: expected a tensor's name, got ''");
    for (const char letter : letters_of(from, true, where_ + ": from")) {
      if (letters_.find(letter) != std::string::npos) continue;
      throw InputError(fmt::format("{}: from: {{{}}} stands in '{}' and not in our name", where_,
                                   letter, printable(from)));
    }
    return from;
  }

  std::optional<std::pair<int64_t, int64_t>> two(const JsonKeys& keys, const char* key) const {
    if (!keys.has(key)) return std::nullopt;
    const std::vector<int64_t> numbers = keys.integers(key);
    if (numbers.size() != 2) {
      throw InputError(
          fmt::format("{}: {}: expected two numbers, got {}", where_, key, numbers.size()));
    }
    return std::pair{numbers[0], numbers[1]};
  }

  void check_numbers(const MapRule& rule) const {
    const auto& part = rule.gather.part;
    if (part && (part->second < 1 || part->second > kMostParts || part->first < 0 ||
                 part->first >= part->second)) {
      throw InputError(fmt::format("{}: part: expected [i, n] with 0 <= i < n <= {}, got [{}, {}]",
                                   where_, kMostParts, part->first, part->second));
    }
    if (part && rule.gather.range) {
      throw InputError(where_ + ": expected part or range, got both");
    }
  }

  void read_indices(const json& value, MapRule& rule) const {
    const auto found = value.find("at");
    if (found == value.end() || found->is_null()) return;
    if (!found->is_object()) {
      throw InputError(fmt::format("{}: at: expected an object of axes and indices, got {}", where_,
                                   found->type_name()));
    }
    for (const auto& [axis, index] : found->items()) {
      if (index.is_number_integer() && index >= 0 && index < kMostElements) {
        rule.at[axis] = {'\0', index.get<int64_t>()};
        continue;
      }
      const std::string text = index.is_string() ? index.get<std::string>() : index.dump();
      const std::string braced = "{" + text + "}";
      if (!index.is_string() || placeholder_end(braced, 0) != braced.size() ||
          letters_.find(text[0]) == std::string::npos) {
        throw InputError(
            fmt::format("{}: at: {}: expected a whole number, or a letter of our name "
                        "such as l, l+1 or l-1, got {}",
                        where_, printable(axis), printable(text)));
      }
      const int64_t added = text.size() == 1 ? 0 : text[1] == '+' ? 1 : -1;
      rule.at[axis] = {text[0], added};
    }
  }

  // Layers that are stacked: axis L on the left alone is indexed by the layer.
  void index_layers(MapRule& rule) const {
    const bool of_any_layer = letters_.find('l') != std::string::npos;
    if (!rule.gather.axes || !(of_any_layer || layer_)) return;
    const auto has = [](const std::vector<Axis>& axes) {
      const std::vector<std::string> names = names_in(axes, 0);
      return std::find(names.begin(), names.end(), "L") != names.end();
    };
    if (has(rule.gather.axes->left) && !has(rule.gather.axes->right)) {
      rule.at.emplace("L",
                      of_any_layer ? std::pair{'l', int64_t{0}} : std::pair{'\0', layer_->at('l')});
    }
  }

  void read_cut(const json& value, MapRule& rule) const {
    const auto found = value.find("cut");
    if (found == value.end() || found->is_null()) return;
    const json list = found->is_string() ? json::array({*found}) : *found;
    for (const json& axis : list) {
      if (!list.is_array() || !axis.is_string()) {
        throw InputError(fmt::format("{}: cut: expected an axis' name, or a list of them, got {}",
                                     where_, found->dump()));
      }
      rule.gather.cut.push_back(axis.get<std::string>());
    }
  }

  void read_words(const JsonKeys& keys, const json& value, MapRule& rule) const {
    const std::string rotation = keys.text("rotation", "half");
    if (rotation != "half" && rotation != "interleaved") {
      throw InputError(fmt::format("{}: rotation: expected half or interleaved, got {}", where_,
                                   printable(rotation)));
    }
    rule.gather.interleaved = rotation == "interleaved";
    if (keys.has("block")) {
      rule.block = parse_block_name(keys.text("block", ""), where_ + ": block:");
    }
    const auto factor = value.find("factor");
    if (factor == value.end() || factor->is_null()) return;
    if (!factor->is_string() && !factor->is_number()) {
      throw InputError(
          fmt::format("{}: factor: expected a number or a text such as 1/sqrt(Dh), "
                      "got {}",
                      where_, factor->dump()));
    }
    rule.factor =
        factor->is_string() ? factor->get<std::string>() : fmt::format("{}", factor->get<double>());
    // With any extents: what is spelled wrong is found when the map is read.
    factor_value(rule.factor, axis_extents(preset("tiny"), 1, 1), where_ + ": factor");
  }

  const std::string letters_;
  const std::optional<NameNumbers> layer_;  // of a name that spells it out
  const std::string& where_;
};

// Our pattern with a number for each placeholder.
std::string example_of(const std::string& ours) {
  NameNumbers numbers;
  for (const char letter : letters_of(ours, false, ours)) numbers[letter] = letter == 'j' ? 0 : 1;
  return with_numbers(ours, numbers);
}

// A named tensor that a slip of the pen is near to.
std::string nearest_tensor(const std::string& ours) {
  std::string nearest;
  std::size_t most = 0;
  for (const TensorMeaning& row : tensor_meanings()) {
    if (row.name.find('[') != std::string::npos) continue;
    const auto differ = std::mismatch(row.name.begin(), row.name.end(), ours.begin(), ours.end());
    const auto same = static_cast<std::size_t>(differ.first - row.name.begin());
    if (same > most) most = same, nearest = row.name;
  }
  return nearest.empty() ? "embed" : nearest;
}

}  // namespace

std::optional<NameNumbers> numbers_of(const std::string& pattern, const std::string& name) {
  NameNumbers numbers;
  std::size_t n = 0;
  for (std::size_t p = 0; p < pattern.size(); ++p) {
    if (pattern[p] == '{' && p + 2 < pattern.size() && pattern[p + 2] == '}') {
      const std::size_t first = n;
      while (n < name.size() && is_digit(name[n])) ++n;
      if (n == first || n - first > 9) return std::nullopt;
      const int64_t number = std::stoll(name.substr(first, n - first));
      const auto [known, is_new] = numbers.emplace(pattern[p + 1], number);
      if (!is_new && known->second != number) return std::nullopt;
      p += 2;
    } else if (n >= name.size() || pattern[p] != name[n++]) {
      return std::nullopt;
    }
  }
  if (n != name.size()) return std::nullopt;
  return numbers;
}

std::string with_numbers(const std::string& pattern, const NameNumbers& numbers) {
  std::string name;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const std::size_t end = placeholder_end(pattern, i);
    const auto found = end == 0 ? numbers.end() : numbers.find(pattern[i + 1]);
    if (found == numbers.end()) {
      name += pattern[i];
      continue;
    }
    const int64_t added = end == i + 3 ? 0 : pattern[i + 2] == '+' ? 1 : -1;
    if (found->second + added < 0) return "";
    name += std::to_string(found->second + added);
    i = end - 1;
  }
  return name;
}

bool MapRule::is_rename() const {
  return !gather.axes && !gather.part && !gather.range && at.empty() && gather.cut.empty() &&
         !gather.last && !gather.interleaved;
}

NameMap NameMap::parse(const std::string& json_text, const std::string& where) {
  NameMap map;
  map.where_ = where;
  const nlohmann::ordered_json object = parse_strict_ordered_json(json_text, where, kMapLimits);
  for (const auto& item : object.items()) {
    const std::string& ours = item.key();
    const std::string at = fmt::format("{}: {}", where, printable(ours));
    if (ours == "comment" && item.value().is_string()) continue;
    const RuleReader reader(ours, at);
    if (!is_tensor_name(example_of(ours))) {
      throw InputError(
          fmt::format("{}: no tensor has such a name; near it is {} ('assay tensors' "
                      "lists them)",
                      at, nearest_tensor(ours)));
    }
    const json value = json(item.value());
    MapEntry& entry = map.entries_.emplace_back(MapEntry{ours, {}});
    if (value.is_array()) {
      for (const json& rule : value) entry.rules.push_back(reader.read(rule));
    } else {
      entry.rules.push_back(reader.read(value));
    }
    if (entry.rules.empty()) throw InputError(at + ": expected a name, got an empty list");
  }
  if (map.entries_.empty()) throw InputError(where + ": expected a name of ours, got an empty map");
  return map;
}

NameMap NameMap::load(const std::string& name_or_path) {
  for (const ShippedMap& shipped : shipped_maps()) {
    if (name_or_path == shipped.name) return parse(shipped.text, shipped.name);
  }
  if (name_or_path.find_first_of("./") == std::string::npos) {
    std::string names;
    for (const ShippedMap& shipped : shipped_maps()) {
      names += (names.empty() ? "" : ", ") + std::string(shipped.name);
    }
    throw InputError(fmt::format("map {}: no such map; have {}; a file's name has a '.' or '/'",
                                 printable(name_or_path), names));
  }
  return parse(read_text(name_or_path, "a map", kMostMapBytes), name_or_path);
}

const MapEntry* NameMap::find(const std::string& name) const {
  const MapEntry* first = nullptr;
  for (const MapEntry& entry : entries_) {
    if (entry.ours == name) return &entry;
    if (first == nullptr && numbers_of(entry.ours, name)) first = &entry;
  }
  return first;
}

double factor_value(const std::string& factor, const std::map<std::string, int64_t>& extents,
                    const std::string& where) {
  const auto fail = [&]() -> double {
    throw InputError(
        fmt::format("{}: expected a number that is not 0, or 1/sqrt(Dh), sqrt(Dh), "
                    "1/Dh, Dh, got {}",
                    where, printable(factor)));
  };
  std::string text = factor;
  const bool inverse = text.starts_with("1/");
  if (inverse) text.erase(0, 2);
  const bool root = text.starts_with("sqrt(") && text.ends_with(")");
  if (root) text = text.substr(5, text.size() - 6);
  double value = 0;
  if (const auto known = extents.find(text); known != extents.end()) {
    value = static_cast<double>(known->second);
  } else {
    char* end = nullptr;
    value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') return fail();
  }
  if (root) value = std::sqrt(value);
  if (inverse) value = 1 / value;
  return std::isfinite(value) && value != 0 ? value : fail();
}

}  // namespace assay::golden
