#include "golden/maps/mapped_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::golden {
namespace {

bool is_power_of_two(double x) {
  int exponent = 0;
  return std::fabs(std::frexp(x, &exponent)) == 0.5;
}

// A product as a program gives it that computes in the type of x: a float if x is one.
double scaled(double x, double factor) {
  const double product = x * factor;
  if (static_cast<double>(static_cast<float>(x)) != x) return product;
  return static_cast<double>(static_cast<float>(product));
}

// The first tensors of a kind and how many there are.
struct Concerned {
  int64_t tensors = 0;
  std::string first;
};

}  // namespace

struct MappedDump::Mapped {
  MappedAs as;
  std::optional<Gather> gather;  // absent: it is renamed
};

MappedDump::MappedDump(const std::string& path, Reading reading)
    : path_(path), reader_(path, reading), entries_(reader_.entries()) {
  for (std::size_t i = 0; i < entries_.size(); ++i) theirs_[entries_[i].name] = i;
}

MappedDump::~MappedDump() = default;

void MappedDump::apply(const NameMap& map, const ModelConfig& config, int64_t batch,
                       int64_t positions) {
  map_name_ = map.where();
  extents_ = axis_extents(config, batch, positions);
  entries_.clear();
  mapped_.clear();
  shadowed_.clear();
  without_source_.clear();
  std::set<std::string> of_the_map;  // theirs that a rule names
  std::set<std::string> ours;
  for (const TensorInfo& info : tensor_list(config, batch, positions)) {
    const MapEntry* entry = map.find(info.name);
    if (entry == nullptr) continue;
    const NameNumbers numbers = *numbers_of(entry->ours, info.name);
    MapEntry chosen{entry->ours, {}};
    for (const MapRule& rule : entry->rules) {
      if (rule.block && *rule.block != config.block) continue;
      const std::string from = with_numbers(rule.from, numbers);
      if (!theirs_.contains(from)) {
        without_source_.emplace(info.name, from);
        continue;
      }
      of_the_map.insert(from);
      if (chosen.rules.empty()) chosen.rules.push_back(rule);
    }
    if (chosen.rules.empty()) continue;
    without_source_.erase(info.name);
    ours.insert(info.name);
    map_one(chosen, info.name, info.shape, axes_of(config, info));
  }
  for (const DumpEntry& entry : reader_.entries()) {
    if (of_the_map.contains(entry.name)) continue;
    if (ours.contains(entry.name) || without_source_.contains(entry.name)) {
      shadowed_.push_back(entry.name);
    } else {
      entries_.push_back(entry);
    }
  }
}

void MappedDump::map_one(const MapEntry& entry, const std::string& name, const Shape& due,
                         const std::vector<Axis>& axes) {
  const MapRule& rule = entry.rules[0];
  const NameNumbers numbers = *numbers_of(entry.ours, name);
  const std::string from = with_numbers(rule.from, numbers);
  const DumpEntry& theirs = reader_.entries()[theirs_.at(from)];
  DumpEntry& mine = entries_.emplace_back(theirs);
  mine.name = name;
  auto mapped = std::make_unique<Mapped>();
  mapped->as = {.from = from,
                .axes = rule.axes_text,
                .source = theirs.shape,
                .before_mask = rule.before_mask,
                .factor = factor_value(rule.factor, extents_, map_name_ + ": " + name)};
  mapped->as.is_rounded = !is_power_of_two(mapped->as.factor);
  if (!rule.is_rename() && theirs.problem.empty()) {
    try {
      GatherRule gather = rule.gather;
      for (const auto& [axis, index] : rule.at) {
        gather.at[axis] = index.second + (index.first == '\0' ? 0 : numbers.at(index.first));
      }
      mapped->gather.emplace(
          gather, theirs.shape, axes, due, extents_,
          fmt::format("{}: {}: from {} of {}", map_name_, name, printable(from), path_));
      mine.shape = due;
      mapped->as.first_position = mapped->gather->first_position();
      mapped->as.copies = mapped->gather->copies();
      mapped->as.cut_off = mapped->gather->cut_off();
    } catch (const InputError& error) {
      mine.problem = error.what();
    }
  }
  mapped_[name] = std::move(mapped);
}

const std::vector<double>& MappedDump::source(const std::string& from) const {
  if (last_name_ != from || last_.empty()) {
    last_name_.clear();
    last_ = reader_.read(from).values;
    last_name_ = from;
  }
  return last_;
}

const DumpEntry& MappedDump::readable(const std::string& name) const {
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const DumpEntry& e) { return e.name == name; });
  if (!entry->problem.empty()) throw InputError(entry->problem);
  return *entry;
}

void MappedDump::read(const std::string& name, std::span<double> out) const {
  const auto found = mapped_.find(name);
  if (found == mapped_.end()) return reader_.read(name, out);
  const Mapped& mapped = *found->second;
  readable(name);
  if (mapped.gather) {
    mapped.gather->run(source(mapped.as.from), out);
  } else {
    reader_.read(mapped.as.from, out);
  }
  if (mapped.as.factor == 1) return;
  for (double& x : out) x = scaled(x, mapped.as.factor);
}

Tensor MappedDump::read(const std::string& name) const {
  if (!mapped_.contains(name)) return reader_.read(name);
  const golden::Shape& shape = readable(name).shape;
  Tensor tensor{shape, std::vector<double>(static_cast<std::size_t>(element_count(shape)))};
  read(name, tensor.values);
  return tensor;
}

std::string MappedDump::missing_source(const std::string& name) const {
  const auto found = without_source_.find(name);
  return found == without_source_.end() ? "" : found->second;
}

const MappedAs* MappedDump::mapped(const std::string& name) const {
  const auto found = mapped_.find(name);
  return found == mapped_.end() ? nullptr : &found->second->as;
}

std::string MappedDump::unequal_copies(const std::string& name) const {
  const auto found = mapped_.find(name);
  if (found == mapped_.end() || found->second->as.copies == 1) return "";
  const Mapped& mapped = *found->second;
  const int64_t first = mapped.gather->first_unequal(source(mapped.as.from));
  if (first < 0) return "";
  return fmt::format(
      "{} copies of each element in {}: expected all of them to be equal, got "
      "another one of element {}; a map that names the axis on the right takes none "
      "for a copy",
      mapped.as.copies, printable(mapped.as.from), first);
}

std::vector<std::string> MappedDump::notes(const std::set<std::string>& names) const {
  if (map_name_.empty()) return {};
  std::map<std::string, Concerned> concerned;
  int64_t read = 0;
  const auto note = [&](const std::string& name, const std::string& text) {
    Concerned& all = concerned[text];
    if (all.tensors++ == 0) all.first = name;
  };
  for (const DumpEntry& entry : entries_) {
    const MappedAs* as = mapped(entry.name);
    if (as == nullptr || !names.contains(entry.name)) continue;
    ++read;
    if (as->first_position > 0) {
      note(entry.name,
           fmt::format("only position {} is there: no other is judged", as->first_position));
    }
    if (as->cut_off > 0) {
      note(entry.name, fmt::format("{} of padding are cut off: not judged", as->cut_off));
    }
    if (as->copies > 1) note(entry.name, fmt::format("{} equal copies are one", as->copies));
    if (as->before_mask) {
      note(entry.name, "stands before the mask: what it excludes is not judged");
    }
    if (as->factor != 1) {
      note(entry.name, fmt::format("times {:.6g}, {}", as->factor,
                                   as->is_rounded ? "rounded as the program would: judged, and no "
                                                    "other tensor is judged by it"
                                                  : "exact"));
    }
  }
  std::vector<std::string> lines{
      fmt::format("map {}: {} tensors are read through it", printable(map_name_), read)};
  for (const auto& [text, all] : concerned) {
    lines.push_back(fmt::format("map: {}{}: {}", all.first,
                                all.tensors > 1 ? fmt::format(" and {} more", all.tensors - 1) : "",
                                text));
  }
  for (const std::string& name : shadowed_) {
    const MappedAs* as = mapped(name);
    lines.push_back(
        fmt::format("map: {} stands in the dump too, and is not read: the map takes it from {}{}",
                    printable(name), printable(as == nullptr ? missing_source(name) : as->from),
                    as == nullptr ? ", which is not there" : ""));
  }
  if (!without_source_.empty()) {
    const auto& [name, from] = *without_source_.begin();
    lines.push_back(
        fmt::format("map: the sources of {} tensors are not in the dump, first {} of {}",
                    without_source_.size(), printable(from), name));
  }
  return lines;
}

}  // namespace assay::golden
