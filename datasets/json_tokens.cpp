#include "datasets/json_tokens.h"

#include <nlohmann/json.hpp>

namespace assay::datasets {
namespace {

using nlohmann::json;

// Events of the parser. Lists inside of lists are rows.
class Lists : public nlohmann::json_sax<json> {
 public:
  // line_is_row: the outermost list is a row too.
  Lists(std::string where, Collector& collector, bool line_is_row)
      : where_(std::move(where)), collector_(collector), line_is_row_(line_is_row) {}

  bool found() const { return found_; }

  bool number_integer(number_integer_t value) override { return number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return number(value > INT64_MAX ? INT64_MAX : static_cast<int64_t>(value));
  }
  bool number_float(number_float_t, const string_t& text) override { return other(text); }
  bool boolean(bool value) override { return other(value ? "true" : "false"); }
  bool null() override { return other("null"); }
  bool string(string_t& text) override { return other("\"" + text + "\""); }
  bool binary(binary_t&) override { return true; }

  bool start_object(std::size_t) override {
    if (lists_ > 0) return other("an object");
    ++objects_;
    return true;
  }
  bool key(string_t& name) override {
    if (objects_ == 1) is_tokens_ = name == "input_ids" || name == "tokens";
    return true;
  }
  bool end_object() override {
    if (objects_ > 0) --objects_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (!reads()) {
      ++skipped_;
      return true;
    }
    ++lists_;
    if (lists_ > 2 || (lists_ == 2 && line_is_row_)) return other("a list");
    if (lists_ == 2 || line_is_row_) collector_.begin_row();
    found_ = true;
    return true;
  }
  bool end_array() override {
    if (skipped_ > 0) {
      --skipped_;
      return true;
    }
    if (lists_ == 2 || line_is_row_) collector_.end_row();
    --lists_;
    return !collector_.is_full();
  }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    throw InputError(
        fmt::format("{}: expected a JSON list of whole numbers, or of lists of them: {}", where_,
                    error.what()));
  }

 private:
  bool reads() const { return skipped_ == 0 && (objects_ == 0 || (objects_ == 1 && is_tokens_)); }

  bool number(int64_t value) {
    if (!reads() || lists_ == 0) return reads() ? other(std::to_string(value)) : true;
    collector_.add(value);
    return !collector_.is_full() || lists_ == 2 || line_is_row_;
  }

  // What is no list of whole numbers, where one is expected.
  bool other(const std::string& text) {
    if (!reads()) return true;
    throw InputError(fmt::format("{}: {}: expected a whole number, got {}", where_,
                                 collector_.place(), golden::printable(text)));
  }

  std::string where_;
  Collector& collector_;
  bool line_is_row_;
  bool is_tokens_ = false, found_ = false;
  int objects_ = 0, lists_ = 0, skipped_ = 0;  // that are open
};

void require_found(const Lists& lists, const std::string& where) {
  if (lists.found()) return;
  throw InputError(where +
                   ": expected a JSON list of token ids, or an object with one under \"input_ids\" "
                   "or \"tokens\"; text is to be turned into ids first");
}

}  // namespace

void read_json_tokens(std::istream& in, const std::string& path, Collector& collector) {
  Lists lists(path, collector, false);
  json::sax_parse(in, &lists);
  require_found(lists, path);
}

void read_jsonl_tokens(std::istream& in, const std::string& path, Collector& collector) {
  std::string line;
  for (int64_t number = 1; !collector.is_full() && std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{}: line {}", path, number);
    Lists lists(where, collector, true);
    json::sax_parse(line, &lists);
    require_found(lists, where);
  }
}

}  // namespace assay::datasets
