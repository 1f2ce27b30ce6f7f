// What the words between the numbers of a line of a log say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace assay::verify::training {

// Without the colours of a terminal; carriage returns and backspaces, by which a progress bar
// writes over itself, are ends of lines.
std::string plain_lines(const std::string& text);

bool starts_number(const std::string& line, std::size_t i);

// "None", "null", "N/A" behind a colon or '=': how many characters; 0 if there is none.
std::size_t missing_word_at(const std::string& line, std::size_t i);

// Behind a unit at i that is written at the number in front of it: "ms/step", "it/s", "%".
std::size_t behind_unit(const std::string& line, std::size_t i);

// "250 val 2.3": the number in front of a loss is the step. A date is none.
bool leads_to_loss(const std::string& line, std::size_t end);

// The words in front of a number, cut at , | ; ( ) { } [ ].
struct NumberWords {
  std::string name;                 // as column_named takes it; "" if it is none of ours
  bool bare = false;                // a loss that has no set in its name
  std::string section;              // that these words put the loss in; "" if they do not
  std::string section_of_the_rest;  // of what stands behind, too
};

// What a number looks like from around: k of "[k/N]" counts, and it is a label as 0 of "#0:" is.
struct NumberPlace {
  bool counts = false, labels = false;
};
NumberPlace number_place(const std::string& line, std::size_t begin, std::size_t end);

NumberWords number_words(const std::string& words, const NumberPlace& place);

// A line without a loss that says whose the next one is: "Test Error:", "Validating...".
std::string section_heading(const std::string& line);

// "Epoch 3/40", "=== Epoch 3 ===": whether the line says nothing else.
bool is_epoch_heading(const std::string& line);

// k and N of a progress bar, of Keras ("120/120 [====] - ", "120/120 - 26s") or of tqdm.
struct ProgressBar {
  int64_t at = 0, of = -1;  // -1: not known yet
  bool keras = false;
};
std::optional<ProgressBar> progress_bar(const std::string& line);

}  // namespace assay::verify::training
