// Reads keys of one JSON object; every complaint names the file and the key.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace assay::golden {

// A getter with `absent` gives that for a key that is missing or null; the others require the key.
// All throw InputError "where: key: expected .., got ..".
class JsonKeys {
 public:
  // `object` must outlive the keys.
  JsonKeys(const nlohmann::json& object, std::string where);

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  int64_t integer(const char* key) const;
  int64_t integer(const char* key, int64_t absent) const {
    return has(key) ? integer(key) : absent;
  }
  std::vector<int64_t> integers(const char* key) const;
  double number(const char* key) const;
  double number(const char* key, double absent) const { return has(key) ? number(key) : absent; }
  bool boolean(const char* key, bool absent) const;
  std::string text(const char* key, const std::string& absent) const;
  JsonKeys object(const char* key) const { return {required(key), where_ + ": " + key}; }
  const std::string& where() const { return where_; }

  // Refuses an object with any other key.
  void only(const std::vector<std::string>& known) const;

 private:
  const nlohmann::json& required(const char* key) const;
  [[noreturn]] void refuse(const char* key, const char* expected) const;

  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace assay::golden
