// Reads one JSON object of a suite: every complaint names the place and the key, and a key that
// nobody asked for is a complaint of its own.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "golden/contract/error.h"

namespace assay::golden {

using SuiteJson = nlohmann::ordered_json;  // entries of "blocks" and options keep their order

class SuiteFields {
 public:
  SuiteFields(const SuiteJson& object, std::string where)
      : object_(object), where_(std::move(where)) {
    if (!object.is_object()) {
      throw InputError(fmt::format("{}: expected an object, got {}", where_, object.dump()));
    }
  }

  // nullptr for a key that is absent.
  const SuiteJson* find(const char* key) {
    asked_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  const SuiteJson& required(const char* key) {
    const SuiteJson* value = find(key);
    if (value == nullptr) throw InputError(fmt::format("{}: key \"{}\" is missing", where_, key));
    return *value;
  }

  // The key's value, or `absent`. `kind` is what a reader of the message expects.
  template <class T>
  T get(const char* key, const char* kind, T absent) {
    const SuiteJson* value = find(key);
    if (value == nullptr) return absent;
    if (!holds<T>(*value)) {
      throw InputError(
          fmt::format("{}: {}: expected {}, got {}", where_, key, kind, value->dump()));
    }
    return value->get<T>();
  }

  // A list with at least one item.
  const SuiteJson& list(const char* key) {
    const SuiteJson& value = required(key);
    if (!value.is_array() || value.empty()) {
      throw InputError(fmt::format("{}: {}: expected a list with at least one item, got {}", where_,
                                   key, value.dump()));
    }
    return value;
  }

  // Throws for the first key that was not asked for.
  void refuse_others() const {
    for (const auto& [key, value] : object_.items()) {
      if (asked_.contains(key)) continue;
      throw InputError(fmt::format("{}: {}: unknown key; have {}", where_, key,
                                   fmt::join(asked_.begin(), asked_.end(), ", ")));
    }
  }

  const std::string& where() const { return where_; }

 private:
  template <class T>
  static bool holds(const SuiteJson& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return value.is_boolean();
    } else if constexpr (std::is_unsigned_v<T>) {
      return value.is_number_unsigned();
    } else if constexpr (std::is_integral_v<T>) {
      return value.is_number_integer() &&
             (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
    } else if constexpr (std::is_same_v<T, std::string>) {
      return value.is_string();
    } else {  // a vector
      return value.is_array() && std::all_of(value.begin(), value.end(), [](const SuiteJson& item) {
               return holds<typename T::value_type>(item);
             });
    }
  }

  const SuiteJson& object_;
  std::string where_;
  std::set<std::string> asked_;
};

}  // namespace assay::golden
