#include "golden/contract/strict_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "golden/contract/error.h"

namespace assay::golden {
namespace {

// Characters of a text that tell how far they were read.
class Characters {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Characters(const char* at, const char** read) : at_(at), read_(read) {}
  const char& operator*() const { return *at_; }
  Characters& operator++() {
    *read_ = ++at_;
    return *this;
  }
  bool operator==(const Characters& other) const { return at_ == other.at_; }
  bool operator!=(const Characters& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** read_;
};

// Builds the value from the parser's events and refuses what is not to be read.
template <class Json>
class Builder : public nlohmann::json_sax<Json> {
 public:
  using typename nlohmann::json_sax<Json>::number_integer_t;
  using typename nlohmann::json_sax<Json>::number_unsigned_t;
  using typename nlohmann::json_sax<Json>::number_float_t;
  using typename nlohmann::json_sax<Json>::string_t;
  using typename nlohmann::json_sax<Json>::binary_t;

  Builder(const std::string& text, const std::string& where, const JsonLimits& limits)
      : text_(text), where_(where), limits_(limits) {}

  Json parse() {
    const char *begin = text_.data(), *end = begin + text_.size();
    read_ = begin;
    // The parser takes a NUL for the end of the text and would not see what stands behind it.
    const auto nul = std::find(begin, end, '\0');
    if (nul != end) fail_at(static_cast<std::size_t>(nul - begin), "JSON", "a NUL byte");
    Json::sax_parse(Characters(begin, &read_), Characters(end, &read_), this);
    return std::move(root_);
  }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // JSON as text has none
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) fail("each key once", "'" + name + "' twice");
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The first letter of a word that is none of JSON's has been read.
    const auto at = read_ == text_.data() ? 0 : static_cast<std::size_t>(read_ - text_.data()) - 1;
    for (const char* word : {"Infinity", "NaN"}) {
      if (text_.compare(at, std::strlen(word), word) != 0) continue;
      fail("JSON", std::string(word) + ", which Python writes and JSON does not have");
    }
    const std::string said = error.what();  // "[json.exception.. at line 1, column 2: what"
    const std::size_t column = said.find("column "), colon = said.find(": ", column);
    const std::size_t kind = said.find("] ");  // of an exception without a place
    fail("JSON", column != std::string::npos && colon != std::string::npos ? said.substr(colon + 2)
                 : kind != std::string::npos                               ? said.substr(kind + 2)
                                                                           : said);
    return false;
  }

 private:
  bool open(Json&& empty) {
    if (open_.size() >= static_cast<std::size_t>(limits_.depth)) {
      fail(fmt::format("at most {} nested levels", limits_.depth), "more");
    }
    open_.push_back(place(std::move(empty)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  template <class Value>
  bool add(Value&& value) {
    place(Json(std::forward<Value>(value)));
    return true;
  }

  Json* place(Json&& value) {
    if (open_.empty()) {
      if (!value.is_object()) fail("a JSON object", value.type_name());
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    if (parent.size() >= limits_.in_list) {
      fail(fmt::format("at most {} values in a list", limits_.in_list), "more");
    }
    parent.push_back(std::move(value));
    return &parent.back();
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    const auto read = static_cast<std::size_t>(read_ - text_.data());
    fail_at(read == 0 ? 0 : read - 1, expected, got);
  }

  [[noreturn]] void fail_at(std::size_t at, const std::string& expected,
                            const std::string& got) const {
    const auto begin = text_.begin(), here = begin + static_cast<std::ptrdiff_t>(at);
    const auto line = 1 + std::count(begin, here, '\n');
    const std::size_t newline = at == 0 ? std::string::npos : text_.rfind('\n', at - 1);
    const std::size_t column = newline == std::string::npos ? at + 1 : at - newline;
    throw InputError(fmt::format("{}: expected {}, got {} at line {}, column {}; save it again",
                                 where_, expected, printable(got), line, column));
  }

  const std::string& text_;
  const std::string& where_;
  const JsonLimits& limits_;
  const char* read_ = nullptr;
  Json root_;
  std::vector<Json*> open_;  // objects and lists around the next value; none of them moves
  std::string key_;          // of the next value
};

}  // namespace

nlohmann::json parse_strict_json(const std::string& text, const std::string& where,
                                 const JsonLimits& limits) {
  return Builder<nlohmann::json>(text, where, limits).parse();
}

nlohmann::ordered_json parse_strict_ordered_json(const std::string& text, const std::string& where,
                                                 const JsonLimits& limits) {
  return Builder<nlohmann::ordered_json>(text, where, limits).parse();
}

}  // namespace assay::golden
