// "key=value,key=value" of a law. Internal.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace assay::datasets {

// Each setting is asked for once; finish() complains of those that nobody asked for.
class Settings {
 public:
  Settings(const std::string& text, std::string where);

  int64_t whole(const std::string& key, int64_t otherwise, int64_t least, int64_t most);
  double number(const std::string& key, double otherwise, double least, double most);
  void finish() const;
  const std::string& where() const { return where_; }

 private:
  const std::string* find(const std::string& key);
  [[noreturn]] void fail(const std::string& key, const std::string& value,
                         const std::string& expected) const;

  std::string where_;
  std::map<std::string, std::string> values_;
  std::map<std::string, bool> asked_;
};

}  // namespace assay::datasets
