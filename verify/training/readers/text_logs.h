// Logs that are text, as records.
#pragma once

#include <string>
#include <vector>

#include "verify/training/readers/records.h"

namespace assay::verify::training {

// trainer_state.json of Hugging Face; a list of rows; an object of columns. Bare NaN and Infinity,
// as Python writes them, are numbers.
std::vector<Record> json_records(const std::string& text, const std::string& path,
                                 std::string& format);

// An object a line. A last line without an end that is no JSON is left out: the run was killed.
std::vector<Record> jsonl_records(const std::string& text, const std::string& path);

// A header and rows; commas, semicolons or tabs; quotes around fields.
std::vector<Record> csv_records(const std::string& text, const std::string& path);

// Lines of words and numbers, as nanoGPT, llm.c and others print them: "iter 100: loss 2.3, time
// 5ms", "step 250: train loss 2.1, val loss 2.3", "s:250 tel:2.3", "250 val 2.3", "{'loss': 2.3}".
// Other lines are passed over.
std::vector<Record> line_records(const std::string& text);

// Any of them, or an event file of TensorBoard or a folder of such, by the text and the file's
// name.
Curve read_curve(const std::string& path);

}  // namespace assay::verify::training
