// assay map: where our tensors are in somebody else's dump.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/command.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/file/files.h"
#include "golden/file/golden_file.h"
#include "golden/maps/mapped_dump.h"
#include "golden/maps/suggest.h"
#include "reference/interpreters/value.h"
#include "reference/methods/registry.h"
#include "verify/report/report.h"
#include "verify/subjects/bindings.h"

namespace assay::cli {
namespace {

constexpr int kInconclusive = 3;

struct MapOptions {
  std::string map, golden, dump, out;
  bool force = false;
};

void list_maps() {
  for (const golden::ShippedMap& shipped : golden::shipped_maps()) {
    const auto json = nlohmann::json::parse(shipped.text);
    fmt::print("{:<18} {}\n", shipped.name, json.value("comment", ""));
  }
}

void show_map(const std::string& name) {
  golden::NameMap::load(name);  // a file that is none is told what it is
  for (const golden::ShippedMap& shipped : golden::shipped_maps()) {
    if (name == shipped.name) return fmt::print("{}", shipped.text);
  }
  fmt::print("{}", golden::read_text(name, "a map"));
}

std::string mapped_text(const golden::MappedAs& as) {
  std::string text =
      fmt::format("{} {}", golden::printable(as.from), golden::shape_text(as.source));
  if (!as.axes.empty()) text += "  " + as.axes;
  if (as.factor != 1) text += fmt::format("  times {:.6g}", as.factor);
  if (as.copies > 1) text += fmt::format("  {} equal copies", as.copies);
  if (as.cut_off > 0) text += fmt::format("  {} cut off", as.cut_off);
  if (as.first_position > 0) text += "  last position only";
  if (as.before_mask) text += "  before the mask";
  return text;
}

// What reading the dump through the map would give.
int check_map(const MapOptions& options) {
  const golden::NameMap map = golden::NameMap::load(options.map);
  const golden::GoldenReader golden(options.golden);
  golden::MappedDump dump(options.dump, golden::Reading::lenient);
  const golden::ModelConfig& config = golden.header().config;
  dump.apply(map, config, golden.batch(), golden.positions());
  std::map<std::string, const golden::DumpEntry*> entries;
  for (const golden::DumpEntry& entry : dump.entries()) entries[entry.name] = &entry;
  int64_t read = 0, problems = 0;
  std::vector<std::string> absent;
  for (const golden::TensorInfo& info :
       golden::tensor_list(config, golden.batch(), golden.positions())) {
    const auto found = entries.find(info.name);
    if (found == entries.end()) {
      absent.push_back(info.name);
      continue;
    }
    const golden::DumpEntry& entry = *found->second;
    const golden::MappedAs* as = dump.mapped(info.name);
    std::string problem = entry.problem;
    if (problem.empty() && entry.shape != info.shape) {
      problem = fmt::format("expected {}, got {}", golden::shape_text(info.shape),
                            golden::shape_text(entry.shape));
    }
    if (problem.empty()) problem = dump.unequal_copies(info.name);
    fmt::print("{:<8} {} {}  <- {}\n", problem.empty() ? "ok" : "MISFIT", info.name,
               golden::shape_text(info.shape), as == nullptr ? "its own name" : mapped_text(*as));
    if (!problem.empty()) fmt::print("         {}\n", golden::one_line(problem));
    problems += !problem.empty();
    ++read;
    entries.erase(found);
  }
  for (const std::string& name : absent) {
    const std::string from = dump.missing_source(name);
    fmt::print(
        "absent   {}{}\n", name,
        from.empty() ? "" : fmt::format("  <- {}, which is not there", golden::printable(from)));
  }
  for (const auto& [name, entry] : entries) {
    fmt::print("not read {}\n", golden::printable(name));
  }
  fmt::print("{} of {} tensors are in the dump, {} misfits, {} of the dump's are not read\n", read,
             read + static_cast<int64_t>(absent.size()), problems, entries.size());
  if (problems > 0) {
    throw InputError(fmt::format("{}: {} of its rules do not fit {}; the lines MISFIT say why",
                                 options.map, problems, options.dump));
  }
  return read == 0 ? kInconclusive : 0;
}

// All tensors of a golden file, made again where it does not hold them.
class Regenerated : public reference::Observer {
 public:
  bool wants(const reference::NodeData& node) override { return !node.name.empty(); }
  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    values_[node.name].assign(value.values().begin(), value.values().end());
    return value;
  }
  const std::vector<double>& of(const std::string& name) const { return values_.at(name); }

 private:
  std::map<std::string, std::vector<double>> values_;
};

golden::Suggestions suggest(const MapOptions& options) {
  const golden::GoldenReader golden(options.golden);
  const golden::ModelConfig& config = golden.header().config;
  const golden::DumpReader dump(options.dump, golden::Reading::lenient);
  Regenerated made;
  const bool stored = golden.capture() == golden::Capture::full;
  if (!stored) {
    const auto graph = reference::build_model(config, golden.batch(), golden.positions());
    const verify::Batch batch = verify::read_batch(golden);
    reference::evaluate(*graph, verify::bind(batch, golden), made);
  }
  return golden::suggest_map(
      config, golden.batch(), golden.positions(),
      [&](const std::string& name) {
        return stored ? golden.read_tensor("/forward/" + name).values : made.of(name);
      },
      dump);
}

void print_line(const golden::Suggestion& line) {
  std::string text = line.axes;
  if (!line.part.empty()) text += "  part " + line.part;
  if (!line.factor.empty()) text += "  times " + line.factor;
  if (line.interleaved) text += "  rotation interleaved";
  if (line.cut) text += "  cut V";
  if (line.last) text += "  last position only";
  if (line.before_mask) text += "  before the mask";
  const std::string next =
      line.next > 0 ? fmt::format("next best {:.1g}", line.next) : "no other is near";
  fmt::print("{:<9} {} <- {} {}{}{}  (error {:.1g}, {})\n", golden::sureness_name(line.sureness),
             line.ours, golden::printable(line.from), golden::shape_text(line.theirs),
             text.empty() ? "" : "  ", text, line.error, next);
}

int suggest_map(const MapOptions& options) {
  if (!options.out.empty()) {
    golden::require_apart({{"--out", options.out}}, {options.golden, options.dump});
    golden::check_target(options.out, options.force, 0);
  }
  const golden::Suggestions all = suggest(options);
  for (const golden::Suggestion& line : all.lines) print_line(line);
  for (const std::string& name : all.not_found) fmt::print("not found {}\n", name);
  for (const std::string& name : all.not_used) {
    fmt::print("not used  {}\n", golden::printable(name));
  }
  const auto count = [&](golden::Sureness sureness) {
    return std::count_if(all.lines.begin(), all.lines.end(),
                         [&](const auto& line) { return line.sureness == sureness; });
  };
  fmt::print(
      "{} of {} tensors found: {} certain, {} likely, {} doubtful; {} of the dump's are not "
      "used\n",
      all.lines.size(), all.lines.size() + all.not_found.size(), count(golden::Sureness::certain),
      count(golden::Sureness::likely), count(golden::Sureness::doubtful), all.not_used.size());
  if (all.lines.empty()) {
    fmt::print(
        "no map: no tensor of the dump holds the values of one of the golden file's; was it "
        "made from these tokens and weights?\n");
    return kInconclusive;
  }
  if (options.out.empty()) return 0;
  verify::write_report(golden::suggested_map_text(all.lines), options.out);
  fmt::print("{} written; 'assay compare {} {} --map {}' judges by it\n", options.out,
             options.golden, options.dump, options.out);
  return 0;
}

void add_files(CLI::App& command, MapOptions& options) {
  command.add_option("golden", options.golden, "golden file")->required();
  command.add_option("dump", options.dump, "HDF5, .npz or .safetensors file")->required();
}

}  // namespace

void add_map(CLI::App& app, Outcome& outcome) {
  CLI::App* map = app.add_subcommand("map", "where our tensors are in somebody else's dump");
  map->require_subcommand(1);
  auto options = std::make_shared<MapOptions>();
  map->add_subcommand("list", "the maps that are there by name")->callback(list_maps);
  CLI::App* show = map->add_subcommand("show", "print a map");
  show->add_option("map", options->map, "a name of 'assay map list', or a file")->required();
  show->callback([options] { show_map(options->map); });
  CLI::App* check = map->add_subcommand("check", "what would be read of a dump through a map");
  check->add_option("map", options->map, "a name of 'assay map list', or a file")->required();
  add_files(*check, *options);
  check->callback([options, &outcome] { outcome.exit_code = check_map(*options); });
  CLI::App* suggest_command =
      map->add_subcommand("suggest", "propose a map, by shapes and then by values");
  add_files(*suggest_command, *options);
  suggest_command->add_option("--out", options->out, "file to write the map to");
  suggest_command->add_flag("--force", options->force, "replace an existing file");
  suggest_command->callback([options, &outcome] { outcome.exit_code = suggest_map(*options); });
}

}  // namespace assay::cli
