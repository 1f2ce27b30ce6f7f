#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "verify/training/readers/line_words.h"
#include "verify/training/readers/names.h"
#include "verify/training/readers/table.h"
#include "verify/training/readers/text_logs.h"

namespace assay::verify::training {
namespace {

std::optional<double> number_of(const Record& record, Quantity quantity) {
  for (const auto& [name, value] : record.values) {
    if (column_named(name).quantity == quantity) return value;
  }
  return std::nullopt;
}

bool names_loss(const Record& record) {
  const auto is = [](const std::string& name) { return is_loss(column_named(name).quantity); };
  return std::any_of(record.values.begin(), record.values.end(),
                     [&](const auto& value) { return is(value.first); }) ||
         std::any_of(record.missing.begin(), record.missing.end(), is);
}

struct LineRow {
  Record record;
  std::optional<ProgressBar> bar;
  std::optional<double> epoch;  // its own, or that of the heading above
  bool under_heading = false;   // its epoch is that of a heading
};

// One line: "step 250: train loss 2.1, val loss 2.3": a name, then a number, and so on.
class LineParser {
 public:
  // `section`: of the lines around.
  LineParser(const std::string& line, std::string section)
      : line_(line), section_(std::move(section)) {}

  Record read() {
    std::string words;
    for (std::size_t i = 0; i < line_.size();) {
      const std::size_t missing = missing_word_at(line_, i);
      if (missing > 0) {
        take(words, i, i + missing, std::nullopt);
        i += missing;
        words.clear();
      } else if (starts_number(line_, i)) {
        i = read_number(words, i);
        words.clear();
      } else {
        words += line_[i++];
      }
    }
    return std::move(record_);
  }

  // Losses by the name that their section gave them.
  const std::map<std::string, int64_t>& renamed() const { return renamed_; }

 private:
  std::size_t read_number(const std::string& words, std::size_t i) {
    const std::size_t begin = line_[i] == '+' ? i + 1 : i;
    double value = 0;
    const auto [at, error] =
        std::from_chars(line_.data() + begin, line_.data() + line_.size(), value);
    if (error == std::errc::result_out_of_range) value = INFINITY;
    const std::size_t end = std::max(static_cast<std::size_t>(at - line_.data()), i + 1);
    const std::size_t next = behind_unit(line_, end);
    if (line_.compare(end, 5, "epoch") == 0) {  // "3epoch results", of ESPnet
      record_.values.emplace_back("epoch", value);
    } else if (next == end || line_[end] == '%') {
      take(words, i, end, value);
    } else {
      take_with_unit(words, i, end, value);
    }
    return next;
  }

  // A number with a unit is no step and no epoch.
  void take_with_unit(const std::string& words, std::size_t i, std::size_t end, double value) {
    const std::size_t count = record_.values.size();
    take(words, i, end, value);
    if (record_.values.size() == count) return;
    const Quantity quantity = column_named(record_.values.back().first).quantity;
    if (quantity == Quantity::step || quantity == Quantity::epoch) record_.values.pop_back();
  }

  void take(const std::string& words, std::size_t i, std::size_t end, std::optional<double> value) {
    if (i == 0 && leads_to_loss(line_, end)) {
      if (value) record_.values.emplace_back("step", *value);
      return;
    }
    NumberWords said = number_words(words, number_place(line_, i, end));
    if (!said.section_of_the_rest.empty()) section_ = said.section_of_the_rest;
    if (said.name.empty()) return;
    const std::string& section = said.section.empty() ? section_ : said.section;
    if (said.bare && !section.empty() && section != "train") {
      ++renamed_[section + "_loss"];
      said.name = section + "_loss";
    }
    if (value) {
      record_.values.emplace_back(said.name, *value);
    } else if (is_loss(column_named(said.name).quantity)) {
      record_.missing.push_back(said.name);
    }
  }

  const std::string& line_;
  std::string section_;
  Record record_;
  std::map<std::string, int64_t> renamed_;
};

// What only a row of training says.
bool speaks_of_training(const std::string& line) {
  const std::string words = "_" + plain_name(line) + "_";
  for (const char* name : {"_lr_", "_learning_rate_", "_grad_norm_", "_gnorm_"}) {
    if (words.find(name) != std::string::npos) return true;
  }
  return false;
}

class LineReader {
 public:
  void read(const std::string& line) {
    if (trimmed(line).empty()) return;
    const bool heading_counts = lines_left_ > 0 && !speaks_of_training(line);
    if (lines_left_ > 0) --lines_left_;
    LineParser parser(line, heading_counts ? section_ : "");
    LineRow row{parser.read(), progress_bar(line), {}, false};
    row.epoch = number_of(row.record, Quantity::epoch);
    if (!names_loss(row.record)) return read_heading(line, row);
    lines_left_ = 0;
    for (const auto& [name, count] : parser.renamed()) renamed_[name] += count;
    if (!row.epoch && epoch_) {
      row.epoch = epoch_;
      row.under_heading = true;
    }
    rows_.push_back(std::move(row));
  }

  Log log() {
    keep_last_of_bars();
    Log log;
    log.numbered_by_epoch = is_numbered_by_epoch();
    for (LineRow& row : rows_) {
      log.has_headings = log.has_headings || row.under_heading;
      if (row.under_heading) row.record.values.emplace_back("epoch", *row.epoch);
      log.records.push_back(std::move(row.record));
    }
    for (const auto& [name, count] : renamed_) {
      log.notes.push_back(
          fmt::format("a loss in {} lines of another section than training is '{}'", count, name));
    }
    if (updates_ > 0) {
      log.notes.push_back(fmt::format(
          "{} updates of progress bars are left out: the last of each pass counts", updates_));
    }
    if (evaluations_ > 0) {
      log.notes.push_back(fmt::format(
          "{} progress bars behind that of their epoch are left out: they evaluate", evaluations_));
    }
    return log;
  }

 private:
  void read_heading(const std::string& line, const LineRow& row) {
    if (row.epoch && is_epoch_heading(line)) {
      epoch_ = row.epoch;
      lines_left_ = 0;
    }
    const std::string section = section_heading(line);
    if (section.empty()) return;
    section_ = section;
    lines_left_ = 3;
  }

  // Updates of one bar, from a to b.
  bool is_same_pass(const LineRow& a, const LineRow& b) const {
    if (!a.bar || !b.bar || a.bar->keras != b.bar->keras || a.epoch != b.epoch) return false;
    const bool other_length = a.bar->of >= 0 && b.bar->of >= 0 && a.bar->of != b.bar->of;
    if (other_length || a.bar->at > b.bar->at) return false;
    if (a.bar->at != a.bar->of) return true;
    // What follows a whole bar is another, unless it says the same once more, with its val loss.
    if (number_of(a.record, Quantity::val)) return false;
    const bool is_equal =
        number_of(a.record, Quantity::train) == number_of(b.record, Quantity::train);
    return number_of(b.record, Quantity::val) ? a.epoch || is_equal : a.epoch && is_equal;
  }

  void keep_last_of_bars() {
    std::vector<LineRow> kept;
    bool has_own = false;  // this epoch's bar of Keras
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      LineRow& row = rows_[i];
      const bool new_epoch = i == 0 || row.epoch != rows_[i - 1].epoch;
      if (new_epoch) has_own = false;
      const bool last = i + 1 == rows_.size() || !is_same_pass(row, rows_[i + 1]);
      if (row.bar && row.bar->keras) {
        if (!last) {
          ++updates_;
          continue;
        }
        if (has_own && row.under_heading) {
          ++evaluations_;
          continue;
        }
        has_own = true;
      } else if (row.bar && !last) {
        if (rows_[i + 1].bar->at == row.bar->at) {
          ++updates_;
          continue;
        }
        forget_repeated_val(row.record);
      }
      if (const auto val = number_of(row.record, Quantity::val)) last_val_ = val;
      if (names_loss(row.record)) kept.push_back(std::move(row));
    }
    rows_ = std::move(kept);
  }

  // A bar shows the val loss of the epoch before with every update.
  void forget_repeated_val(Record& record) const {
    std::erase_if(record.values, [&](const auto& value) {
      return column_named(value.first).quantity == Quantity::val && last_val_ == value.second;
    });
  }

  // The rows have no steps, the headings have epochs, and no epoch has two losses of one name.
  bool is_numbered_by_epoch() const {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const LineRow& row = rows_[i];
      if (!row.under_heading || number_of(row.record, Quantity::step)) return false;
      if (i > 0 && row.epoch != rows_[i - 1].epoch) seen.clear();
      for (const auto& [name, value] : row.record.values) {
        if (is_loss(column_named(name).quantity) && !seen.insert(name).second) return false;
      }
    }
    return !rows_.empty();
  }

  std::vector<LineRow> rows_;
  std::optional<double> epoch_, last_val_;
  std::string section_;
  int lines_left_ = 0;  // that the heading of a section is for
  std::map<std::string, int64_t> renamed_;
  int64_t updates_ = 0, evaluations_ = 0;
};

}  // namespace

Log line_records(const std::string& text) {
  std::istringstream lines(plain_lines(text));
  LineReader reader;
  for (std::string line; std::getline(lines, line);) reader.read(line);
  return reader.log();
}

}  // namespace assay::verify::training
