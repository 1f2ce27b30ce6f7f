#include "verify/training/readers/line_words.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <initializer_list>
#include <sstream>

#include "verify/training/readers/names.h"
#include "verify/training/readers/table.h"

namespace assay::verify::training {
namespace {

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_alnum(char c) { return is_letter(c) || is_digit(c); }

bool is_among(const std::string& word, std::initializer_list<const char*> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// A run of letters and digits, and the characters around it.
struct LineWord {
  std::string text;
  char before = ' ', behind = ' ';
};

std::vector<LineWord> words_in(const std::string& text) {
  std::vector<LineWord> words;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!is_alnum(text[i])) continue;
    std::size_t end = i;
    while (end < text.size() && is_alnum(text[end])) ++end;
    words.push_back({plain_name(text.substr(i, end - i)), i > 0 ? text[i - 1] : ' ',
                     end < text.size() ? text[end] : ' '});
    i = end;
  }
  return words;
}

// Between blanks, without the punctuation around: "val_acc" is one.
std::vector<std::string> blank_separated(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) {
    while (!word.empty() && !is_alnum(word.back())) word.pop_back();
    while (!word.empty() && !is_alnum(word.front())) word.erase(0, 1);
    std::transform(word.begin(), word.end(), word.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

// The section of the last such word.
std::string last_section(const std::vector<std::string>& words) {
  std::string section;
  for (const std::string& word : words) {
    if (!section_named(word).empty()) section = section_named(word);
  }
  return section;
}

// "on 'wiki' subset", "for test data".
std::string named_part(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i + 2 < words.size(); ++i) {
    if (!is_among(words[i], {"on", "for"})) continue;
    if (!is_among(words[i + 2], {"subset", "set", "data", "split"})) continue;
    std::string section = section_named(words[i + 1]);
    if (!section.empty()) return section;
    if (words[i + 2] == "subset") return "eval_" + plain_name(words[i + 1]);
  }
  return "";
}

// "valid", "valid on 'valid' subset", "validation loss at the end of training": words that are no
// name of a number.
std::string section_tag(const std::string& text) {
  const std::vector<std::string> words = blank_separated(text);
  if (words.empty()) return "";
  const std::string first = section_named(words.front());
  const std::string last = last_section(words);
  if (first.empty() && (words.size() > 4 || last.empty())) return "";
  std::string part = named_part(words);
  if (!part.empty() && (first != "train" || section_named(part) == "train")) return part;
  return first.empty() ? last : first;
}

// "Test set: Accuracy": a section in front of a colon that more words follow.
std::string section_before_colon(const std::string& text) {
  std::string section;
  for (std::size_t from = 0;;) {
    const std::size_t colon = text.find(':', from);
    if (colon == std::string::npos || words_in(text.substr(colon)).empty()) return section;
    const std::vector<std::string> words = blank_separated(text.substr(from, colon - from));
    const std::string here = last_section(words);
    if (words.size() <= 3 && !here.empty()) section = here;
    from = colon + 1;
  }
}

// "best val loss", "time per step", "tok/s": what the last words would be is not meant.
bool is_refused(const std::vector<LineWord>& words, std::size_t k, Quantity quantity) {
  const std::string& own = words[k].text;
  if (k == 0) return own == "s" && words.size() == 1 && words[0].behind == ' ';
  const std::string& before = words[k - 1].text;
  if (quantity == Quantity::step || quantity == Quantity::epoch) {
    if (own == "s" || own == "it") return true;
    const bool of_rate = words[k].before == '/' && section_named(before).empty();
    return of_rate || is_among(before, {"per", "time", "ms", "sec", "s", "max", "total", "warmup",
                                        "best", "tokens", "samples", "remaining", "eta"});
  }
  return is_loss(quantity) &&
         is_among(before, {"best", "min", "minimum", "lowest", "previous", "prev", "target"});
}

// "valid | epoch": the last part is the name; where it has no words the whole is.
std::size_t name_start(const std::string& words) {
  const std::size_t cut = words.find_last_of(",|;(){}[]");
  if (cut == std::string::npos) return 0;
  return words.find_first_not_of(" \t:='\"", cut + 1) == std::string::npos ? 0 : cut + 1;
}

}  // namespace

std::string plain_lines(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\r' || c == '\b') {
      plain += '\n';
    } else if (c == '\x1b' && i + 1 < text.size() && text[i + 1] == '[') {
      i += 2;
      while (i < text.size() && (text[i] < '@' || text[i] > '~')) ++i;
    } else {
      plain += c;
    }
  }
  return plain;
}

bool starts_number(const std::string& line, std::size_t i) {
  const auto at = [&](std::size_t k) { return k < line.size() ? line[k] : '\0'; };
  if (i > 0 && (is_alnum(line[i - 1]) || line[i - 1] == '_' || line[i - 1] == '.')) return false;
  std::size_t k = i;
  if (at(k) == '-' || at(k) == '+') ++k;
  if (is_digit(at(k))) return true;
  if (at(k) == '.' && is_digit(at(k + 1))) return true;
  for (const std::string word : {"nan", "inf", "NaN", "Inf", "NAN", "INF", "Infinity"}) {
    if (line.compare(k, word.size(), word) == 0 && !is_alnum(at(k + word.size())) &&
        at(k + word.size()) != '_') {
      return true;
    }
  }
  return false;
}

std::size_t missing_word_at(const std::string& line, std::size_t i) {
  const std::size_t before = i == 0 ? std::string::npos : line.find_last_not_of(" \t'\"", i - 1);
  if (before == std::string::npos || (line[before] != ':' && line[before] != '=')) return 0;
  for (const std::string word : {"None", "null", "N/A", "n/a", "NA", "none"}) {
    const std::size_t end = i + word.size();
    if (line.compare(i, word.size(), word) == 0 && (end >= line.size() || !is_alnum(line[end]))) {
      return word.size();
    }
  }
  return 0;
}

std::size_t behind_unit(const std::string& line, std::size_t begin) {
  std::size_t i = begin;
  if (i >= line.size() || (!is_letter(line[i]) && line[i] != '%')) return begin;
  while (i < line.size() && (is_letter(line[i]) || line[i] == '%' ||
                             (line[i] == '/' && i + 1 < line.size() && is_letter(line[i + 1])))) {
    ++i;
  }
  const bool is_name = i < line.size() && (line[i] == ':' || line[i] == '=' || line[i] == '_');
  return is_name ? begin : i;  // "2.5val_loss:2.6"
}

bool leads_to_loss(const std::string& line, std::size_t end) {
  if (end >= line.size() || (line[end] != ' ' && line[end] != '\t')) return false;
  const std::size_t word = line.find_first_not_of(" \t", end);
  if (word == std::string::npos) return false;
  const std::size_t stop = std::min(line.find_first_of(" \t:=", word), line.size());
  return is_loss(column_named(line.substr(word, stop - word)).quantity);
}

NumberPlace number_place(const std::string& line, std::size_t begin, std::size_t end) {
  const auto visible = [&](std::size_t at) { return at == std::string::npos ? ' ' : line[at]; };
  const char before = begin == 0 ? ' ' : visible(line.find_last_not_of(" \t", begin - 1));
  const char behind = visible(line.find_first_not_of(" \t", end));
  NumberPlace place;
  const bool whole = std::all_of(line.begin() + static_cast<std::ptrdiff_t>(begin),
                                 line.begin() + static_cast<std::ptrdiff_t>(end), is_digit);
  place.counts = whole && (before == '[' || behind == '/' || behind == '[');
  place.labels = place.counts || (whole && (before == '#' || behind == ':'));
  return place;
}

NumberWords number_words(const std::string& text, const NumberPlace& place) {
  NumberWords result;
  const std::size_t start = name_start(text);
  const std::string own = text.substr(start);
  std::string tags = text.substr(0, start);
  std::replace_if(
      tags.begin(), tags.end(),
      [](char c) { return std::string(",|;(){}[]").find(c) != std::string::npos; }, '\n');
  std::istringstream lines(tags);
  for (std::string part; std::getline(lines, part);) {
    const std::string section = section_tag(part);
    if (!section.empty()) result.section_of_the_rest = section;
  }
  const std::string before_colon = section_before_colon(own);
  if (!before_colon.empty()) result.section_of_the_rest = before_colon;
  result.section = result.section_of_the_rest;
  const std::vector<LineWord> words = words_in(own);
  for (std::size_t k = 0; k < words.size(); ++k) {
    std::string name;
    for (std::size_t i = k; i < words.size(); ++i) name += (i > k ? "_" : "") + words[i].text;
    const Quantity quantity = column_named(name).quantity;
    if (quantity == Quantity::none) continue;
    if (place.counts && !section_named(name).empty()) {  // "Val: [10/97]"
      result.section_of_the_rest = section_named(name);
      return result;
    }
    if (is_refused(words, k, quantity)) return result;
    result.name = name;
    if (quantity == Quantity::step || quantity == Quantity::epoch) {
      const std::string section = last_section(blank_separated(own));
      if (!section.empty()) result.section = result.section_of_the_rest = section;
    } else if (is_bare_loss(name)) {
      result.bare = true;
      std::vector<std::string> in_front;
      for (std::size_t i = 0; i < k; ++i) in_front.push_back(words[i].text);
      const std::string section = last_section(in_front);
      if (!section.empty()) result.section = section;
    }
    return result;
  }
  const std::string label = place.labels ? section_tag(own) : "";  // "Test net output #0: loss"
  if (!label.empty()) result.section_of_the_rest = label;
  return result;
}

std::string section_heading(const std::string& line) {
  std::vector<std::string> words = blank_separated(line);
  std::erase_if(words, [](const std::string& word) { return is_digit(word.front()); });
  const std::string section = last_section(words);
  if (section.empty() || words.size() > 5) return "";
  const bool pure = std::all_of(words.begin(), words.end(), [&](const std::string& word) {
    const std::string here = section_named(word);
    if (!here.empty()) return here == section;
    return is_among(
        word, {"set", "data", "error", "results", "result", "metrics", "phase", "loop", "running",
               "starting", "start", "begin", "epoch", "step", "info", "the", "on", "model"});
  });
  return pure || trimmed(line).ends_with(':') ? section : "";
}

bool is_epoch_heading(const std::string& line) {
  std::vector<std::string> words = blank_separated(line);
  std::erase_if(words, [](const std::string& word) { return is_digit(word.front()); });
  const auto others = std::count_if(words.begin(), words.end(), [](const std::string& word) {
    return !is_among(word, {"epoch", "of", "start", "starting", "begin", "training", "info"});
  });
  return others <= 1;
}

std::optional<ProgressBar> progress_bar(const std::string& line) {
  ProgressBar bar;
  const std::size_t percent = line.find("%|");
  const std::size_t second = percent == std::string::npos ? percent : line.find('|', percent + 2);
  const std::size_t from = second == std::string::npos ? 0 : second + 1;
  const std::size_t begin = line.find_first_not_of(" \t", from);
  if (begin == std::string::npos || !is_digit(line[begin])) return std::nullopt;
  const char* const last = line.data() + line.size();
  auto [at, error] = std::from_chars(line.data() + begin, last, bar.at);
  if (error != std::errc() || at == last || *at != '/') return std::nullopt;
  const auto [end, fault] = std::from_chars(at + 1, last, bar.of);
  const auto behind = static_cast<std::size_t>(end - line.data());
  const std::string rest = fault == std::errc() ? line.substr(behind) : std::string(at + 1, last);
  if (from > 0) return bar;
  if (fault != std::errc() && !rest.starts_with("Unknown")) return std::nullopt;
  const std::size_t mark = rest.find_first_not_of(" \t", fault == std::errc() ? 0 : 7);
  if (mark == std::string::npos) return std::nullopt;
  for (const char* start : {"[=", "[>", "[.", "[]", "- ", "\xe2\x94\x81", "\xe2\x94\x80"}) {
    bar.keras = bar.keras || rest.compare(mark, std::string(start).size(), start) == 0;
  }
  bar.keras = bar.keras || fault != std::errc();
  return bar.keras ? std::optional(bar) : std::nullopt;
}

}  // namespace assay::verify::training
