#include "golden/suites/suite.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>

#include "golden/contract/config_keys.h"
#include "golden/contract/names.h"
#include "golden/contract/strict_json.h"
#include "golden/file/files.h"
#include "golden/suites/suite_fields.h"
#include "golden/suites/suite_texts.h"

namespace assay::golden {
namespace {

constexpr std::array<std::pair<Data, const char*>, 6> kData{{{Data::drawn, "drawn"},
                                                             {Data::exact, "exact"},
                                                             {Data::large, "large"},
                                                             {Data::positive, "positive"},
                                                             {Data::raised, "raised"},
                                                             {Data::float32, "float32"}}};

// Calls `read`, and puts `where` in front of what it complains of.
template <class Read>
auto at(const std::string& where, Read&& read) {
  try {
    return read();
  } catch (const InputError& error) {
    throw InputError(where + ": " + error.what());
  }
}

SuiteSettings read_settings(SuiteFields& fields, SuiteSettings s) {
  using Texts = std::vector<std::string>;
  const std::string& where = fields.where();
  s.seed = fields.get("seed", "a whole number >= 0", s.seed);
  s.data = parse_data(fields.get("data", "a text", data_name(s.data)), where);
  s.capture = at(where, [&] {
    return parse_capture(fields.get("capture", "a text", capture_name(s.capture)));
  });
  s.gradients = fields.get("gradients", "true or false", s.gradients);
  s.equal = fields.get("equal", "true or false", s.equal);
  s.modes = fields.get("modes", "true or false", s.modes);
  s.left_out = fields.get("left_out", "a list of patterns", s.left_out);
  s.suffix = fields.get("suffix", "a text", s.suffix);
  if (fields.find("precisions") != nullptr) {
    s.precisions.clear();
    for (const std::string& text : fields.get("precisions", "a list of texts", Texts{})) {
      s.precisions.push_back(at(where, [&] { return parse_precision(text); }));
    }
    if (s.precisions.empty()) throw InputError(where + ": precisions: expected at least one");
  }
  return s;
}

// One item of "shapes".
struct CaseShape {
  int64_t batch = 1, positions = 0;
  std::vector<int64_t> left, right;
  SuiteSettings settings;

  bool padded() const {
    return std::any_of(left.begin(), left.end(), [](int64_t n) { return n > 0; }) ||
           std::any_of(right.begin(), right.end(), [](int64_t n) { return n > 0; });
  }
};

// Of a batch that is only a number nothing is made larger than the text.
void read_padding(SuiteFields& fields, const std::string& where, CaseShape& shape) {
  const std::vector<int64_t> none;
  shape.left = fields.get("left", "a list of whole numbers", none);
  shape.right = fields.get("right", "a list of whole numbers", none);
  for (const auto& [key, pads] : {std::pair{"left", &shape.left}, {"right", &shape.right}}) {
    if (!pads->empty() && static_cast<int64_t>(pads->size()) != shape.batch) {
      throw InputError(fmt::format("{}: {}: expected one number for each of {} rows, got {}", where,
                                   key, shape.batch, pads->size()));
    }
  }
  const std::size_t rows = std::max(shape.left.size(), shape.right.size());
  shape.left.resize(rows);
  shape.right.resize(rows);
  for (std::size_t b = 0; b < rows; ++b) {
    if (shape.left[b] < 0 || shape.right[b] < 0 || shape.left[b] >= shape.positions ||
        shape.right[b] >= shape.positions - shape.left[b]) {
      throw InputError(fmt::format(
          "{}: row {}: expected padding that leaves a token of {} positions, got left {} right {}",
          where, b, shape.positions, shape.left[b], shape.right[b]));
    }
  }
}

CaseShape read_shape(const SuiteJson& json, const SuiteSettings& settings,
                     const std::string& where) {
  SuiteFields fields(json, where);
  CaseShape shape;
  shape.batch = fields.get<int64_t>("batch", "a whole number", 1);
  shape.positions = fields.get<int64_t>("positions", "a whole number", 0);
  if (shape.batch < 1 || shape.positions < 1) {
    throw InputError(fmt::format("{}: expected batch and positions >= 1, got [{},{}]", where,
                                 shape.batch, shape.positions));
  }
  at(where, [&] { return element_count({shape.batch, shape.positions}); });
  read_padding(fields, where, shape);
  shape.settings = read_settings(fields, settings);
  fields.refuse_others();
  return shape;
}

// "keep", "detach_stored", "no-detach_stored", "window-4", "full_layers-0.2"; of an object those of
// its items
std::string option_name(const std::string& key, const SuiteJson& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? key : "no-" + key;
  if (value.is_object()) {
    std::string name;
    for (const auto& [item, of_item] : value.items()) {
      name += (name.empty() ? "" : "-") + option_name(item, of_item);
    }
    return name;
  }
  if (value.is_array()) {
    std::string items;
    for (const SuiteJson& item : value) items += (items.empty() ? "" : ".") + item.dump();
    return key + "-" + items;
  }
  return key + "-" + value.dump();
}

std::string case_name(const SuiteJson& options, const std::string& block, const std::string& heads,
                      const CaseShape& shape) {
  std::string name =
      fmt::format("{}-{}-{}-b{}-t{}{}", options.at("method").get<std::string>(), block, heads,
                  shape.batch, shape.positions, shape.padded() ? "-padded" : "");
  for (const auto& [key, value] : options.items()) {
    if (key != "method") name += "-" + option_name(key, value);
  }
  if (!shape.settings.suffix.empty()) name += "-" + shape.settings.suffix;
  return name;
}

SuiteJson method_options(const SuiteJson& method, const std::string& where) {
  if (method.is_string()) return {{"method", method}};
  if (method.is_object() && method.contains("method") && method["method"].is_string()) {
    return method;
  }
  throw InputError(fmt::format("{}: methods: expected a text or an object with \"method\", got {}",
                               where, method.dump()));
}

// `all` heads of a block that has `own` key/value heads.
int64_t kv_heads(int64_t all, int64_t own, const std::string& heads, const std::string& where) {
  if (heads == "mha") return all;
  if (heads == "mqa") return 1;
  if (heads != "gqa") {
    throw InputError(fmt::format("{}: heads: expected mha, gqa or mqa, got {}", where, heads));
  }
  if (own <= 1 || own >= all) {
    throw InputError(
        fmt::format("{}: heads: gqa: expected a block with 1 < num_key_value_heads < {}, got {}",
                    where, all, own));
  }
  return own;
}

// A Llama's num_key_value_heads stands among its keys, that of a GPT-2 under "assay" with what else
// its own config.json has no keys for.
ModelConfig case_config(SuiteJson block, const std::string& heads, const SuiteJson& options,
                        const std::string& where) {
  if (!block.is_object() || !block.value("assay", SuiteJson::object()).is_object()) {
    throw InputError(fmt::format("{}: block: expected an object, \"assay\" of it another, got {}",
                                 where, block.dump()));
  }
  const SuiteJson settled = settle_config(nlohmann::json::parse(block.dump()), where);
  const bool gpt2 = settled.value("model_type", SuiteJson()) == "gpt2";
  const auto number = [&](const SuiteJson& from, const char* key) {
    return SuiteFields(from, where).get<int64_t>(key, "a whole number", 0);
  };
  const SuiteJson own = block.value("assay", SuiteJson::object());
  const int64_t count = kv_heads(number(settled, gpt2 ? "n_head" : "num_attention_heads"),
                                 number(gpt2 ? own : settled, "num_key_value_heads"), heads, where);
  // A suite's own default, whatever class the block is of.
  if (!gpt2 && !block.contains("rms_norm_eps")) block["rms_norm_eps"] = ModelConfig{}.rms_norm_eps;
  block["assay"] = own;
  block["assay"].update(options);
  (gpt2 ? block["assay"] : block)["num_key_value_heads"] = count;
  return parse_config(block.dump(), where);
}

void check_name(const std::string& name, const std::string& where) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  });
  if (!plain) {
    throw InputError(fmt::format(
        "{}: case {}: expected a name of letters, digits, '-', '.' and '_'", where, name));
  }
}

std::string text_of(const SuiteJson& item, const char* key, const std::string& where) {
  if (item.is_string()) return item.get<std::string>();
  throw InputError(fmt::format("{}: {}: expected a text, got {}", where, key, item.dump()));
}

void expand(const SuiteJson& entry, const SuiteJson& blocks, const SuiteSettings& defaults,
            const std::string& where, Suite& suite) {
  SuiteFields fields(entry, where);
  const SuiteSettings settings = read_settings(fields, defaults);
  std::vector<CaseShape> shapes;
  for (const SuiteJson& shape : fields.list("shapes")) {
    shapes.push_back(
        read_shape(shape, settings, fmt::format("{}: shape {}", where, shapes.size())));
  }
  const auto add = [&](const SuiteJson& options, const std::string& block, const std::string& heads,
                       const CaseShape& shape) {
    SuiteCase c;
    c.name = case_name(options, block, heads, shape);
    check_name(c.name, where);
    c.config = case_config(blocks[block], heads, options,
                           fmt::format("suite {}: case {}", suite.name, c.name));
    c.batch = shape.batch;
    c.positions = shape.positions;
    at(fmt::format("suite {}: case {}", suite.name, c.name),
       [&] { check_sizes(c.config, c.batch, c.positions); });
    c.left = shape.left;
    c.right = shape.right;
    c.settings = shape.settings;
    suite.cases.push_back(std::move(c));
  };
  for (const SuiteJson& method : fields.list("methods")) {
    const SuiteJson options = method_options(method, where);
    for (const SuiteJson& item : fields.list("blocks")) {
      const std::string block = text_of(item, "blocks", where);
      if (!blocks.contains(block)) {
        throw InputError(fmt::format("{}: blocks: {}: no such block", where, block));
      }
      for (const SuiteJson& heads : fields.list("heads")) {
        for (const CaseShape& shape : shapes) {
          add(options, block, text_of(heads, "heads", where), shape);
        }
      }
    }
  }
  fields.refuse_others();
}

void refuse_duplicates(const Suite& suite, const std::string& where) {
  std::set<std::string> names;
  for (const SuiteCase& c : suite.cases) {
    if (names.insert(c.name).second) continue;
    throw InputError(fmt::format(
        "{}: case {}: stands in it twice; tell the two apart with \"suffix\"", where, c.name));
  }
}

}  // namespace

Data parse_data(const std::string& text, const std::string& where) {
  for (const auto& [data, name] : kData) {
    if (text == name) return data;
  }
  throw InputError(fmt::format(
      "{}: data: expected drawn, exact, large, positive, raised or float32, got {}", where, text));
}

std::string data_name(Data data) { return kData[static_cast<std::size_t>(data)].second; }

Suite parse_suite(const std::string& json_text, const std::string& name, const std::string& where) {
  const SuiteJson document = parse_strict_ordered_json(json_text, where, kHandWritten);
  SuiteFields fields(document, where);
  if (const auto version = fields.get<int64_t>("assay_suite", "a whole number", 0); version != 1) {
    throw InputError(fmt::format("{}: assay_suite: expected 1, got {}", where, version));
  }
  Suite suite{name, fields.get<std::string>("about", "a text", ""), {}};
  SuiteSettings defaults;
  if (const SuiteJson* given = fields.find("defaults")) {
    SuiteFields settings(*given, where + ": defaults");
    defaults = read_settings(settings, defaults);
    settings.refuse_others();
  }
  const SuiteJson& blocks = fields.required("blocks");
  const SuiteFields object(blocks, where + ": blocks");  // or InputError
  int index = 0;
  for (const SuiteJson& entry : fields.list("entries")) {
    expand(entry, blocks, defaults, fmt::format("{}: entry {}", where, index++), suite);
  }
  fields.refuse_others();
  refuse_duplicates(suite, where);
  return suite;
}

Suite load_suite(const std::string& name) {
  if (name.ends_with(".json")) {
    return parse_suite(read_text(name, "a suite file"), std::filesystem::path(name).stem().string(),
                       name);
  }
  for (const EmbeddedText& text : kSuiteTexts) {
    if (name == text.name) return parse_suite(text.text, name, "suite " + name);
  }
  throw InputError(fmt::format("suite {}: no such suite; have {}, or a file ending in .json", name,
                               fmt::join(suite_names(), ", ")));
}

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  for (const EmbeddedText& text : kSuiteTexts) names.push_back(text.name);
  return names;
}

Suite selected(Suite suite, const std::string& pattern) {
  std::erase_if(suite.cases, [&](const SuiteCase& c) { return !matches(pattern, c.name); });
  if (suite.cases.empty()) {
    throw InputError(fmt::format("suite {}: no case matches {}; 'assay suite list {}' lists them",
                                 suite.name, pattern, suite.name));
  }
  return suite;
}

std::string committed_hashes(const std::string& suite_name) {
  for (const EmbeddedText& text : kHashTexts) {
    if (suite_name == text.name) return text.text;
  }
  return "";
}

}  // namespace assay::golden
