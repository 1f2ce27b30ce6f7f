#include "verify/training/readers/missing_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <set>

#include "golden/contract/error.h"
#include "verify/training/readers/column_choice.h"
#include "verify/training/readers/names.h"

namespace assay::verify::training {
namespace {

bool has_no_number(const Record& row, const std::string& name) {
  return std::find(row.missing.begin(), row.missing.end(), name) != row.missing.end();
}

bool has_any_loss(const Record& row) {
  return std::any_of(row.values.begin(), row.values.end(),
                     [](const auto& value) { return is_loss(column_named(value.first).quantity); });
}

std::set<std::string> names_in(const Record& row) {
  std::set<std::string> names(row.others.begin(), row.others.end());
  for (const auto& [name, value] : row.values) names.insert(name);
  return names;
}

// A row that does no step of its own: a summary.
bool is_at_step_of(const Record& row, const Record& other) {
  return std::any_of(row.values.begin(), row.values.end(), [&](const auto& value) {
    return column_named(value.first).quantity == Quantity::step &&
           std::find(other.values.begin(), other.values.end(), value) != other.values.end();
  });
}

// What rows without the loss look like, before and behind the last number.
struct Gaps {
  int64_t numbers = 0, last = -1;          // rows with a number; the last of them
  int64_t longest = 0, inside = 0;         // without any loss, between numbers
  int64_t beside_others = 0, leading = 0;  // before the last number; before the first
  std::vector<std::size_t> tail;           // without any loss, behind the last number
  int64_t tail_beside_others = 0;
};

Gaps gaps_of(const std::vector<const Record*>& rows, const std::string& name) {
  Gaps gaps;
  std::vector<std::size_t> open;
  int64_t beside = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (value_of(*rows[i], name)) {
      const auto length = static_cast<int64_t>(open.size());
      (gaps.numbers > 0 ? gaps.inside : gaps.leading) += length;
      if (gaps.numbers > 0) gaps.longest = std::max(gaps.longest, length);
      gaps.beside_others += beside;
      ++gaps.numbers;
      gaps.last = static_cast<int64_t>(i);
      open.clear();
      beside = 0;
    } else if (has_no_number(*rows[i], name)) {
      if (has_any_loss(*rows[i])) {
        ++beside;
      } else {
        open.push_back(i);
      }
    }
  }
  gaps.tail = std::move(open);
  gaps.tail_beside_others = beside;
  return gaps;
}

}  // namespace

MissingValues missing_values(const std::vector<const Record*>& rows, const std::string& name) {
  MissingValues result{std::vector<bool>(rows.size()), ""};
  const bool any = std::any_of(rows.begin(), rows.end(),
                               [&](const Record* row) { return has_no_number(*row, name); });
  if (!any) return result;
  Gaps gaps = gaps_of(rows, name);
  const std::string quoted = "'" + golden::printable(name) + "'";
  if (gaps.last < 0) return result;
  const Record& last = *rows[static_cast<std::size_t>(gaps.last)];
  const std::set<std::string> usual = names_in(last);
  std::erase_if(gaps.tail, [&](std::size_t i) {
    const std::set<std::string> names = names_in(*rows[i]);
    return is_at_step_of(*rows[i], last) ||
           !std::includes(usual.begin(), usual.end(), names.begin(), names.end());
  });
  const auto tail = static_cast<int64_t>(gaps.tail.size());
  const bool lost = tail > 2 * gaps.longest && gaps.tail_beside_others == 0;
  if (lost) {
    for (const std::size_t i : gaps.tail) result.are_nan[i] = true;
    result.note = fmt::format(
        "{} has no number in the last {} of {} rows, and had one before: taken for NaN, which "
        "pandas and JavaScript write so",
        quoted, tail, rows.size());
  } else if (gaps.tail_beside_others > 0 && gaps.beside_others == 0) {
    result.note = fmt::format("{} has no number in the last {} of {} rows, which have another loss",
                              quoted, gaps.tail_beside_others + tail, rows.size());
  } else if (tail > 0 && gaps.beside_others == 0) {
    result.note =
        fmt::format("{} has no number in the last {} of {} rows, and in up to {} in a row before",
                    quoted, tail, rows.size(), gaps.longest);
  }
  if (gaps.inside + gaps.leading > 0 && (lost || result.note.empty())) {
    result.note += fmt::format(
        "{}{} has no number in {} of {} rows before its last, nor has any "
        "other loss",
        result.note.empty() ? "" : "; ", quoted, gaps.inside + gaps.leading, rows.size());
  }
  return result;
}

}  // namespace assay::verify::training
