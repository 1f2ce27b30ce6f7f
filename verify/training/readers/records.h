// A log as rows of names and numbers, whatever it was written in, and the curve that they are.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "verify/training/evidence.h"

namespace assay::verify::training {

struct Record {
  std::vector<std::pair<std::string, double>> values;  // as the file names them
  std::vector<std::string> missing;  // named, and without a number: null, an empty cell, N/A
  std::vector<std::string> others;   // of something else than a number
};

struct Log {
  std::vector<Record> records;
  std::vector<std::string> notes = {};  // what the reader of the format passed over or made of it
  std::string val_name = "";            // which of several val losses counts; "": see curve_of
  bool has_headings = false;            // epochs are those of headings, counted from 0 or from 1
  bool numbered_by_epoch = false;       // one row an epoch, and the epoch is its step
};

// A bare loss of a row that belongs to "val", "test", .. is "val_loss", "test_loss".
void put_in_section(Record& record, const std::string& section);

// Of several names for one quantity the one with most values counts; the others are noted. Rows of
// Hugging Face's last average (train_runtime) are no steps. Where the steps go back, a run was
// resumed and what it had done after that step is dropped; where they begin again with each epoch,
// or are one and the same, rows are counted. A NaN beside a number is a missing value if no row has
// both a training and a val loss; a loss that is missing at the end only is NaN, see
// missing_values.h. Throws InputError if there is no loss at all.
Curve curve_of(const Log& log, const std::string& path, const std::string& format);

}  // namespace assay::verify::training
