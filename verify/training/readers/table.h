// Lines of tables as text: fields between commas, semicolons or tabs.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace assay::verify::training {

// A whole field as a number: "2.3", "nan", "-inf".
std::optional<double> field_number(std::string field);

// What stands for a number that is not there: nothing, "null", "None", "NA", "N/A", "-".
bool is_missing_word(const std::string& field);

// Without the blanks at both ends.
std::string trimmed(const std::string& text);

// Fields of a line, trimmed; a quoted one may hold the separator, and "" a quote.
std::vector<std::string> fields_of(const std::string& line, char separator);

// What separates the names of a header.
char separator_of(const std::string& header);

}  // namespace assay::verify::training
