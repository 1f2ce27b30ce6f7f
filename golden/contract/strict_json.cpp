#include "golden/contract/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "golden/contract/error.h"

namespace assay::golden {
namespace {

using nlohmann::json;

// Sees each event of the parser.
class Watch {
 public:
  Watch(const std::string& where, const JsonLimits& limits) : where_(where), limits_(limits) {}

  void see(int depth, json::parse_event_t event, const json& parsed) {
    using Event = json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= limits_.depth) {
        fail(fmt::format("at most {} nested levels", limits_.depth), "more");
      }
      open_.push_back({event == Event::array_start, 0, {}});
    } else if (event == Event::object_end || event == Event::array_end) {
      open_.pop_back();
    } else if (event == Event::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_.back().keys.insert(key).second) fail("each key once", "'" + key + "' twice");
    } else if (!open_.empty() && open_.back().is_list && ++open_.back().values > limits_.in_list) {
      fail(fmt::format("at most {} values in a list", limits_.in_list), "more");
    }
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw InputError(
        fmt::format("{}: expected {}, got {}; save it again", where_, expected, printable(got)));
  }

 private:
  struct Open {
    bool is_list;
    std::size_t values;          // seen so far, of a list
    std::set<std::string> keys;  // seen so far, of an object
  };

  const std::string& where_;
  const JsonLimits& limits_;
  std::vector<Open> open_;
};

}  // namespace

json parse_strict_json(const std::string& text, const std::string& where,
                       const JsonLimits& limits) {
  Watch watch(where, limits);
  json parsed;
  try {
    parsed = json::parse(text, [&](int depth, json::parse_event_t event, const json& value) {
      watch.see(depth, event, value);
      return true;
    });
  } catch (const json::exception& error) {
    watch.fail("JSON", error.what());
  }
  if (!parsed.is_object()) watch.fail("a JSON object", parsed.type_name());
  return parsed;
}

}  // namespace assay::golden
