#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "golden/contract/names.h"
#include "golden/contract/precision.h"
#include "golden/file/golden_file.h"

namespace assay::cli {
namespace {

// The matrices of /dependence, if there are any: how many are 0 above the diagonal.
void show_dependences(const golden::GoldenReader& reader) {
  int all = 0, causal = 0;
  std::string first;  // with a future
  for (const golden::ManifestRow& row : reader.manifest()) {
    if (row.role != "dependence") continue;
    ++all;
    const std::vector<uint8_t> may_depend = reader.read_uint8(row.path);
    const int64_t positions = row.shape[0];
    bool future = false;
    for (int64_t i = 0; i < positions * positions; ++i) {
      future = future || (i % positions > i / positions && may_depend[static_cast<std::size_t>(i)]);
    }
    causal += !future;
    if (future && first.empty()) first = row.path;
  }
  if (all == 0) return;
  fmt::print("\ndependence: of {} tensors {} see no position after their own{}\n", all, causal,
             first.empty() ? "" : ", not so " + first);
}

// Tensors with NaN or infinities; those of a mask are negative and stand in scores alone.
void show_nonfinite(const golden::GoldenReader& reader) {
  int tensors = 0;
  std::string first;
  for (const golden::ManifestRow& row : reader.manifest()) {
    const bool masked = golden::is_attention_matrix(row.path.substr(row.path.find('/', 1) + 1));
    if (row.stats.nonfinite == 0 || masked) continue;
    if (tensors++ == 0) first = row.path;
  }
  if (tensors == 0) return;
  fmt::print(
      "\nnot finite: {} tensors hold NaN or infinities, first {}: nothing can be judged by "
      "them\n",
      tensors, first);
}

void inspect(const std::string& path, const std::string& pattern) {
  const golden::GoldenReader reader(path);
  fmt::print("{}\n  schema      assay-golden 1, capture {}\n  created     {}\n", path,
             golden::capture_name(reader.capture()), reader.created());
  fmt::print("  method      {}, tokens [{},{}], seed {}\n", reader.header().config.method,
             reader.batch(), reader.positions(), reader.header().seed);
  fmt::print("  config      {}\n  provenance  {}\n", golden::to_json(reader.header().config),
             reader.header().provenance);
  fmt::print("  config hash {}\n  root hash   {}\n\n", reader.config_hash(), reader.root_hash());
  fmt::print("{:<44} {:<9} {:<18} {:>11} {:>11} {:>11} {:>6}\n", "dataset", "type", "shape", "min",
             "max", "rms", "zeros");
  for (const golden::ManifestRow& row : reader.manifest()) {
    if (!golden::matches(pattern, row.path)) continue;
    fmt::print("{:<44} {:<9} {:<18} {:>11.4g} {:>11.4g} {:>11.4g} {:>5.1f}%{}\n", row.path,
               golden::dtype_name(row.dtype), golden::shape_text(row.shape), row.stats.min,
               row.stats.max, row.stats.rms, 100 * row.stats.zero_share,
               row.stored ? "" : "  (not stored)");
  }
  show_dependences(reader);
  show_nonfinite(reader);
  const uint64_t bytes = reader.check_all();
  fmt::print("\nintegrity: {} datasets declared, {:.1f} MB read, every hash as in the manifest\n",
             reader.manifest().size(), static_cast<double>(bytes) / 1e6);
}

}  // namespace

void add_inspect(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand("inspect", "show a golden file and check its integrity");
  auto path = std::make_shared<std::string>();
  auto pattern = std::make_shared<std::string>();
  command->add_option("file", *path, "golden file")->required();
  add_only_option(*command, *pattern, "datasets to list, e.g. '*/attn/*'");
  command->callback([path, pattern] { inspect(*path, *pattern); });
}

}  // namespace assay::cli
