// Logs that are text, as records.
#pragma once

#include <string>

#include "verify/training/readers/records.h"

namespace assay::verify::training {

// trainer_state.json of Hugging Face; a list of rows; an object of columns. Bare NaN and Infinity,
// as Python writes them, are numbers.
Log json_records(const std::string& text, const std::string& path, std::string& format);

// An object a line. A last line without an end that is no JSON is left out: the run was killed.
Log jsonl_records(const std::string& text, const std::string& path);

// A header and rows; commas, semicolons or tabs; quotes around fields. Lines that begin with # are
// passed over; the last of them is the header where numbers follow at once.
Log csv_records(const std::string& text, const std::string& path);

// Lines of words and numbers, as nanoGPT, llm.c and others print them: "iter 100: loss 2.3, time
// 5ms", "step 250: train loss 2.1, val loss 2.3", "s:250 tel:2.3", "250 val 2.3", "{'loss': 2.3}".
// A bare loss belongs to the section that its line names, "valid | loss 2.3", or a line above it,
// "Test:". "Epoch 3/40" above is the epoch of the lines below. Of the updates of a progress bar of
// Keras the last of each epoch counts. Other lines are passed over.
Log line_records(const std::string& text);

// Any of them, or an event file of TensorBoard or a folder of such, by the text and the file's
// name. `val_name` says which of several val losses counts; "": the one with most values.
Curve read_curve(const std::string& path, const std::string& val_name = "");

}  // namespace assay::verify::training
