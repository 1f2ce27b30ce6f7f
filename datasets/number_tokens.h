// Whole numbers written out, as in .csv files.
#pragma once

#include <istream>
#include <string>

#include "datasets/collector.h"

namespace assay::datasets {

// Numbers between blanks, commas and semicolons. Where the first line holds several and a second
// line follows, each line is a row; otherwise, and where the first line holds more than 2^24, they
// are one stream. Returns whether there are rows. Reads no further than the collector and that
// decision need, and keeps no more of a line than the collector does.
bool read_number_tokens(std::istream& in, const std::string& path, Collector& collector);

}  // namespace assay::datasets
