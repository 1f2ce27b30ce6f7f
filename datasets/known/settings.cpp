#include "datasets/known/settings.h"

#include <fmt/format.h>

#include <charconv>
#include <sstream>
#include <vector>

#include "golden/contract/error.h"

namespace assay::datasets {

Settings::Settings(const std::string& text, std::string where) : where_(std::move(where)) {
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == part.size()) {
      throw InputError(fmt::format("{}: expected key=value between commas, got '{}'", where_,
                                   golden::printable(part)));
    }
    const auto [known, is_new] = values_.emplace(part.substr(0, equals), part.substr(equals + 1));
    if (!is_new) {
      throw InputError(fmt::format("{}: {} stands there twice; keep one", where_,
                                   golden::printable(known->first)));
    }
  }
}

const std::string* Settings::find(const std::string& key) {
  asked_[key] = true;
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

void Settings::fail(const std::string& key, const std::string& value,
                    const std::string& expected) const {
  throw InputError(fmt::format("{}: {}: expected {}, got '{}'", where_, key, expected,
                               golden::printable(value)));
}

int64_t Settings::whole(const std::string& key, int64_t otherwise, int64_t least, int64_t most) {
  const std::string* text = find(key);
  if (text == nullptr) return otherwise;
  int64_t value = 0;
  const char* end = text->data() + text->size();
  const auto [at, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || at != end || value < least || value > most) {
    fail(key, *text, fmt::format("a whole number in {} .. {}", least, most));
  }
  return value;
}

double Settings::number(const std::string& key, double otherwise, double least, double most) {
  const std::string* text = find(key);
  if (text == nullptr) return otherwise;
  double value = 0;
  const char* end = text->data() + text->size();
  const auto [at, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || at != end || !(value >= least && value <= most)) {
    fail(key, *text, fmt::format("a number in {} .. {}", least, most));
  }
  return value;
}

void Settings::finish() const {
  std::vector<std::string> known;
  for (const auto& [key, unused] : asked_) known.push_back(key);
  for (const auto& [key, value] : values_) {
    if (asked_.contains(key)) continue;
    throw InputError(fmt::format("{}: {}: no such setting; it has {}", where_,
                                 golden::printable(key), fmt::join(known, ", ")));
  }
}

}  // namespace assay::datasets
