// Which of the columns of a log is its training loss, its val loss and so on.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verify/training/readers/names.h"
#include "verify/training/readers/records.h"

namespace assay::verify::training {

// The name that counts for each quantity.
struct Choice {
  std::map<Quantity, std::string> names;
  std::map<Quantity, std::vector<std::string>> others;  // names that do not count
  std::map<std::string, std::string> layers;            // name -> layer
};

// `val_name`: the val loss that was asked for, as plain_name has it; "" for any.
Choice chosen_names(const std::vector<const Record*>& records, const std::string& val_name);

// "training", "val", .. as notes say it.
const char* quantity_name(Quantity quantity);

std::optional<double> value_of(const Record& record, const std::string& name);

// The losses of other sets, or by other names, that nothing judges; "" where there are none.
std::string others_note(const Choice& choice, Quantity quantity,
                        const std::vector<const Record*>& records);

}  // namespace assay::verify::training
