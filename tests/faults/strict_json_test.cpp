// The one reader of JSON that somebody else wrote: what it refuses, where, and in what time.
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <chrono>

#include "golden/contract/config.h"
#include "golden/contract/error.h"
#include "golden/contract/json_keys.h"
#include "golden/contract/strict_json.h"

namespace assay::golden {
namespace {

std::string complaint(const std::string& text, const JsonLimits& limits = kHandWritten) {
  try {
    parse_strict_json(text, "x.json", limits);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool starts(const std::string& text, const std::string& begin) { return text.starts_with(begin); }

BOOST_AUTO_TEST_CASE(a_good_object_is_read_whatever_its_order) {
  const std::string text = R"({"b": [1, -2, 2.5], "a": {"c": null, "d": "x"}, "e": true})";
  BOOST_TEST(parse_strict_json(text, "x", kHandWritten) == nlohmann::json::parse(text));
  BOOST_TEST(parse_strict_ordered_json(text, "x", kHandWritten).dump() ==
             nlohmann::ordered_json::parse(text).dump());
}

// The place is that of the last character read.
BOOST_AUTO_TEST_CASE(complaints_name_line_and_column) {
  BOOST_TEST(complaint("{\n  \"a\": 1,\n  \"a\": 2}") ==
             "x.json: expected each key once, got 'a' twice at line 3, column 5; save it again");
  BOOST_TEST(starts(complaint("{\n\"a\": ?}"), "x.json: expected JSON, got syntax error"));
  BOOST_TEST(complaint("{\n\"a\": ?}").find("at line 2, column 6") != std::string::npos);
  BOOST_TEST(starts(complaint(""), "x.json: expected JSON, got syntax error"));
}

BOOST_AUTO_TEST_CASE(numbers_beyond_double_and_bytes_behind_the_object_are_refused) {
  BOOST_TEST(starts(complaint("{\"a\": 1e999}"), "x.json: expected JSON, got number overflow"));
  BOOST_TEST(complaint(std::string("{}\0{\"a\":1}", 10)) ==
             "x.json: expected JSON, got a NUL byte at line 1, column 3; save it again");
  BOOST_TEST(starts(complaint("{} x"), "x.json: expected JSON, got syntax error"));
  BOOST_TEST(starts(complaint("{\"a\": \"\xff\"}"), "x.json: expected JSON, got syntax error"));
}

BOOST_AUTO_TEST_CASE(what_is_no_object_is_refused) {
  for (const char* text : {"[1]", "1", "\"a\"", "null", "true"}) {
    BOOST_TEST(starts(complaint(text), "x.json: expected a JSON object, got "), text);
  }
}

// A million levels neither overflow the stack nor take long.
BOOST_AUTO_TEST_CASE(depth_and_lists_are_limited) {
  const std::string lists = "{\"a\": " + std::string(1'000'000, '[');
  BOOST_TEST(starts(complaint(lists), "x.json: expected at most 16 nested levels, got more"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  BOOST_TEST(starts(complaint(objects), "x.json: expected at most 16 nested levels, got more"));
  BOOST_TEST(complaint(R"({"a": [1, 2]})", {.depth = 2, .in_list = 2}) == "");
  BOOST_TEST(starts(complaint(R"({"a": [1, 2, 3]})", {.depth = 2, .in_list = 2}),
                    "x.json: expected at most 2 values in a list, got more"));
}

// A whole number that int64_t does not hold was read modulo 2^64.
BOOST_AUTO_TEST_CASE(whole_numbers_are_whole_and_fit) {
  for (const char* value : {"9223372036854775808", "18446744073709551615", "1.0", "1e3", "\"1\""}) {
    const nlohmann::json object =
        parse_strict_json(fmt::format("{{\"n\": {}}}", value), "x.json", kHandWritten);
    const JsonKeys keys(object, "x.json");
    BOOST_CHECK_EXCEPTION(keys.integer("n"), InputError, [](const InputError& error) {
      return starts(error.what(), "x.json: n: expected a whole number, got ");
    });
  }
}

// Twice the text takes about twice the time: at most 4 times, on a busy machine 8, and a square
// would be 64.
BOOST_AUTO_TEST_CASE(time_is_linear_in_the_text) {
  const auto seconds = [](int keys) {
    std::string text = "{\"z\":{}";
    for (int i = 0; i < keys; ++i) text += fmt::format(",\"k{}\":{{\"shape\":[1]}}", i);
    const auto start = std::chrono::steady_clock::now();
    BOOST_TEST(complaint(text + "}") == "");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  seconds(1000);
  const double few = seconds(4000), many = seconds(32'000);
  BOOST_TEST(many < 40 * few, "4,000 keys " << few << " s, 32,000 keys " << many << " s");
}

BOOST_AUTO_TEST_CASE(a_config_goes_through_it) {
  const auto refused = [](const std::string& text) {
    try {
      parse_config(text, "config.json");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  BOOST_TEST(refused("{\"hidden_size\": 1e999}").find("number overflow") != std::string::npos);
  BOOST_TEST(refused("{\"a\":" + std::string(100'000, '[')).find("nested levels") !=
             std::string::npos);
  BOOST_TEST(refused(R"({"vocab_size": 4, "vocab_size": 5})").find("'vocab_size' twice") !=
             std::string::npos);
}

}  // namespace
}  // namespace assay::golden
