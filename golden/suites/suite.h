// Suites: lists of cases that golden files are made from and subjects are judged on, as JSON.
//
//   {"assay_suite": 1, "about": "what it is for",
//    "defaults": {settings}, "blocks": {"llama": {config.json keys}, ..}, "entries": [entry, ..]}
//
// An entry is a product of four lists, each of at least one item; methods vary slowest, shapes
// fastest, and the cases stand in this order:
//
//   methods  "plain", or the object that config.json has under "assay":
//            {"method": "1", "residual": "keep"}
//   blocks   names of "blocks"
//   heads    mha (Hkv = H), gqa (the block's own Hkv, 1 < Hkv < H), mqa (Hkv = 1)
//   shapes   {"batch": 3, "positions": 33, "left": [0,5,0], "right": [2,0,0]}: padding of each row,
//            absent: none; settings may stand here too
//
// Settings may stand in "defaults", in an entry and in a shape; the later one wins:
//
//   seed         1     of weights and tokens
//   data         "drawn"     where weights and tokens come from, golden/suites/suite_data.h
//   capture      "full"      hash, stats, full
//   gradients    false       also every gradient of the loss
//   precisions   ["fp32", "bf16"]   what `suite verify` judges when it is not told
//   equal        false       judged by equality with the golden value in the storage type, no bound
//   modes        false       run in other ways too (verify/judge/modes.h)
//   left_out     []          patterns of checkpoints that are not judged, with a reason in "about"
//   suffix       ""          appended to the name
//
// A case is called <method>-<block>-<heads>-b<batch>-t<positions>[-padded][-<option>..][-<suffix>],
// "1-llama-gqa-b3-t33-keep". Two cases of one name, an unknown key, method or option are errors
// that name suite, case and key.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/file/golden_file.h"

namespace assay::golden {

// Weights and tokens of a case; golden/suites/suite_data.h says what each is.
enum class Data { drawn, exact, large, positive, raised, float32 };

Data parse_data(const std::string& text, const std::string& where);
std::string data_name(Data data);

struct SuiteSettings {
  uint64_t seed = 1;
  Data data = Data::drawn;
  Capture capture = Capture::full;
  bool gradients = false;
  std::vector<Precision> precisions{Precision::fp32, Precision::bf16};
  bool equal = false;
  bool modes = false;
  std::vector<std::string> left_out;
  std::string suffix;
};

struct SuiteCase {
  std::string name;
  ModelConfig config;
  int64_t batch = 1;
  int64_t positions = 0;
  std::vector<int64_t> left, right;  // [B] padded positions at each end of a row; or empty: none
  SuiteSettings settings;

  int64_t left_of(std::size_t row) const { return left.empty() ? 0 : left[row]; }
  int64_t right_of(std::size_t row) const { return right.empty() ? 0 : right[row]; }
};

struct Suite {
  std::string name;
  std::string about;
  std::vector<SuiteCase> cases;  // in order, names distinct
};

// where: "suite ci", the start of every message.
Suite parse_suite(const std::string& json_text, const std::string& name, const std::string& where);

// A suite that comes with the program, or a file whose name ends in .json.
Suite load_suite(const std::string& name_or_path);
std::vector<std::string> suite_names();

// The cases whose name matches the pattern (golden/contract/names.h). Throws InputError if there is
// none.
Suite selected(Suite suite, const std::string& pattern);

// "ci.hashes" of the suites that come with the program: lines "<root hash>  <case>"; "" if there is
// none.
std::string committed_hashes(const std::string& suite_name);

// Everything that decides what the golden file of a case holds, hashed: config, seed, shape,
// padding, data, capture, gradients, schema and the version of the reference's values.
std::string recipe_hash(const SuiteCase& suite_case, int golden_version);

// Bytes of the golden file's datasets.
uint64_t estimated_file_bytes(const SuiteCase& suite_case);
// Upper bound of the bytes that are live while the case is generated.
//
// Every named tensor has at most two unnamed ones of its size beside it (a product before its heads
// are split, and the split before it is rotated; raw and scaled scores), but no more than two
// thirds of all are live together, for a layer's own are freed before the next one's exist: 2 x
// named. With gradients all three are kept and each has a gradient: 6 x named. Weights are bound
// once, their gradients and a float32 copy for the file come on top: 3 x weights.
uint64_t estimated_live_bytes(const SuiteCase& suite_case);

}  // namespace assay::golden
