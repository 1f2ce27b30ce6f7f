// Token lists in JSON.
#pragma once

#include <istream>
#include <string>

#include "datasets/collector.h"

namespace assay::datasets {

// [1, 2], [[1, 2], [3, 4]], or an object that has one of them under "input_ids" or "tokens". Reads
// no further than the collector needs.
void read_json_tokens(std::istream& in, const std::string& path, Collector& collector);

// One list or object a line, each a row.
void read_jsonl_tokens(std::istream& in, const std::string& path, Collector& collector);

}  // namespace assay::datasets
