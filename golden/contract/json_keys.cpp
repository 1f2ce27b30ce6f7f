#include "golden/contract/json_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"

namespace assay::golden {

JsonKeys::JsonKeys(const nlohmann::json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) throw InputError(where_ + ": expected a JSON object");
}

namespace {

// A whole number that int64_t holds.
bool is_whole(const nlohmann::json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX});
}

}  // namespace

int64_t JsonKeys::integer(const char* key) const {
  if (!is_whole(required(key))) refuse(key, "a whole number");
  return object_[key].get<int64_t>();
}

std::vector<int64_t> JsonKeys::integers(const char* key) const {
  const nlohmann::json& list = required(key);
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_whole)) {
    refuse(key, "a list of whole numbers");
  }
  return list.get<std::vector<int64_t>>();
}

double JsonKeys::number(const char* key) const {
  if (!required(key).is_number()) refuse(key, "a number");
  return object_[key].get<double>();
}

bool JsonKeys::boolean(const char* key, bool absent) const {
  if (!has(key)) return absent;
  if (!object_[key].is_boolean()) refuse(key, "true or false");
  return object_[key].get<bool>();
}

std::string JsonKeys::text(const char* key, const std::string& absent) const {
  if (!has(key)) return absent;
  if (!object_[key].is_string()) refuse(key, "a string");
  return object_[key].get<std::string>();
}

void JsonKeys::only(const std::vector<std::string>& known) const {
  for (const auto& item : object_.items()) {
    if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
    throw InputError(
        fmt::format("{}: {}: no such option; have {}", where_, item.key(), fmt::join(known, ", ")));
  }
}

const nlohmann::json& JsonKeys::required(const char* key) const {
  if (!has(key)) throw InputError(fmt::format("{}: key \"{}\" is missing", where_, key));
  return object_[key];
}

void JsonKeys::refuse(const char* key, const char* expected) const {
  throw InputError(
      fmt::format("{}: {}: expected {}, got {}", where_, key, expected, object_[key].dump()));
}

}  // namespace assay::golden
