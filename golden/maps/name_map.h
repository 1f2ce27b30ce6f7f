// A map says, for each of our names, where its values are in somebody else's tensors: JSON, one
// key a name or a pattern of names, {l} for a layer and any other letter for a number.
//
//   {"layers/{l}/attn_norm": "model.layers.{l}.input_layernorm",
//    "layers/{l}/attn/v": {"from": "h.{l}.attn.qkv", "part": [2, 3],
//                          "axes": "T (three Hkv Dh) -> B Hkv T Dh"}}
//
// docs/maps.md is the whole of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "golden/contract/config.h"
#include "golden/maps/gather.h"

namespace assay::golden {

// Numbers of a name, by their letter in its pattern: {"l": 3}.
using NameNumbers = std::map<char, int64_t>;

// "layers/{l}/attn/q" of "layers/3/attn/q"; nothing where it does not match.
std::optional<NameNumbers> numbers_of(const std::string& pattern, const std::string& name);

// The inverse; also {l+1} and {l-1}. "" for a number below 0.
std::string with_numbers(const std::string& pattern, const NameNumbers& numbers);

struct MapRule {
  std::string from;                                    // a pattern of their names
  GatherRule gather;                                   // but for indices, which are in `at`
  std::map<std::string, std::pair<char, int64_t>> at;  // axis: number's letter, and what is added
  std::string axes_text;                               // as it was written
  std::string factor = "1";                            // of our values: a number, "1/sqrt(Dh)", ..
  bool before_mask = false;                            // scores before the mask
  std::optional<BlockKind> block = std::nullopt;       // only of such models

  bool is_rename() const;  // nothing else is asked for
};

// Ours as a pattern, and the rules of which the first whose tensor is there counts.
struct MapEntry {
  std::string ours;
  std::vector<MapRule> rules;
};

class NameMap {
 public:
  // Throws InputError beginning with `where` for what is no map: JSON, keys, names that no model
  // has, axes.
  static NameMap parse(const std::string& json_text, const std::string& where);

  // A name without a '.' and a '/' is one of the shipped maps, else it is a file.
  static NameMap load(const std::string& name_or_path);

  const std::string& where() const { return where_; }
  const std::vector<MapEntry>& entries() const { return entries_; }

  // The entry of one of our names: the one that is spelled so, else the first pattern that matches.
  const MapEntry* find(const std::string& name) const;

 private:
  std::string where_;
  std::vector<MapEntry> entries_;
};

// The value of MapRule::factor.
double factor_value(const std::string& factor, const std::map<std::string, int64_t>& extents,
                    const std::string& where);

// The maps of golden/maps/, compiled in.
struct ShippedMap {
  const char* name;
  const char* text;
};
std::span<const ShippedMap> shipped_maps();

}  // namespace assay::golden
