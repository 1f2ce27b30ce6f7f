#include "verify/training/readers/column_choice.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "golden/contract/error.h"

namespace assay::verify::training {

const char* quantity_name(Quantity quantity) {
  switch (quantity) {
    case Quantity::step:
      return "step";
    case Quantity::epoch:
      return "epoch";
    case Quantity::train:
      return "training";
    case Quantity::val:
      return "val";
    case Quantity::fresh:
      return "fresh";
    case Quantity::grad_norm:
      return "gradient norm";
    default:
      return "loss scale";
  }
}

Choice chosen_names(const std::vector<const Record*>& records, const std::string& val_name) {
  std::map<std::string, int64_t> counts;
  for (const Record* record : records) {
    for (const auto& [name, value] : record->values) ++counts[name];
  }
  Choice choice;
  std::map<Quantity, std::pair<int64_t, int>> best;
  for (const auto& [name, count] : counts) {
    const Column column = column_named(name);
    if (column.quantity == Quantity::none) continue;
    if (column.quantity == Quantity::layer_norm) {
      choice.layers[name] = column.layer;
      continue;
    }
    const bool is_wanted = column.quantity == Quantity::val && plain_name(name) == val_name;
    const std::pair<int64_t, int> rank{is_wanted ? INT64_MAX : count, -column.priority};
    const auto known = best.find(column.quantity);
    if (known != best.end() && known->second >= rank) {
      choice.others[column.quantity].push_back(name);
      continue;
    }
    if (known != best.end()) {
      choice.others[column.quantity].push_back(choice.names[column.quantity]);
    }
    best[column.quantity] = rank;
    choice.names[column.quantity] = name;
  }
  return choice;
}

std::optional<double> value_of(const Record& record, const std::string& name) {
  for (const auto& [known, value] : record.values) {
    if (known == name) return value;
  }
  return std::nullopt;
}

std::string others_note(const Choice& choice, Quantity quantity,
                        const std::vector<const Record*>& records) {
  const auto others = choice.others.find(quantity);
  if (others == choice.others.end()) return "";
  std::vector<std::string> said;
  for (const std::string& name : others->second) {
    std::size_t count = 0;
    double last = 0;
    for (const Record* record : records) {
      const std::optional<double> value = value_of(*record, name);
      if (!value) continue;
      ++count;
      last = *value;
    }
    said.push_back(
        fmt::format("'{}' ({} values, the last {:.4g})", golden::printable(name), count, last));
  }
  return fmt::format("the {} loss is '{}'; not looked at: {}{}", quantity_name(quantity),
                     golden::printable(choice.names.at(quantity)), fmt::join(said, ", "),
                     quantity == Quantity::val ? "; --val-name says which is" : "");
}

}  // namespace assay::verify::training
