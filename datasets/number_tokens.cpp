#include "datasets/number_tokens.h"

#include <charconv>
#include <cstring>
#include <limits>
#include <vector>

namespace assay::datasets {
namespace {

constexpr std::size_t kLongestNumber = 40;         // characters of one that a message shows
constexpr int64_t kLongestRow = int64_t{1} << 24;  // numbers; a longer line is a stream

class NumberReader {
 public:
  NumberReader(std::istream& in, const std::string& path, Collector& collector)
      : in_(in), path_(path), collector_(collector) {
    if (collector.is_stream()) kind_ = Kind::stream;  // rows are parts of it
  }

  bool read() {
    constexpr int kEnd = std::istream::traits_type::eof();
    for (int c = first(); c != kEnd && !collector_.is_full(); c = in_.get()) {
      if (c == '\n') {
        end_line();
      } else if (c != 0 && std::strchr(" \t\r,;", c) != nullptr) {
        end_word();
      } else {
        if (kind_ == Kind::one_line) settle(Kind::rows);
        if (word_.size() <= kLongestNumber) word_ += static_cast<char>(c);
      }
    }
    if (!collector_.is_full()) end_line();
    if (kind_ == Kind::unknown || kind_ == Kind::one_line) settle(Kind::stream);
    return kind_ == Kind::rows;
  }

 private:
  // one_line: the first line has ended and held several numbers.
  enum class Kind { unknown, one_line, stream, rows };

  // The first character behind a mark of UTF-8.
  int first() {
    int c = in_.get();
    if (c != 0xef) return c;
    const bool mark = in_.get() == 0xbb && in_.get() == 0xbf;
    if (mark) return in_.get();
    throw InputError(path_ +
                     ": expected numbers, got bytes that are no text; --tokens-format says "
                     "what they are");
  }

  void end_word() {
    if (word_.empty()) return;
    int64_t value = 0;
    const char* begin = word_.data() + (word_.front() == '+' ? 1 : 0);
    const char* end = word_.data() + word_.size();
    const auto [at, error] = std::from_chars(begin, end, value);
    const bool too_large = error == std::errc::result_out_of_range;
    const bool too_long = word_.size() > kLongestNumber;
    if ((error != std::errc() && !too_large) || at != end || too_long) {
      throw InputError(fmt::format(
          "{}: number {}: expected a whole number, got '{}'; --tokens-format text reads bytes",
          path_, read_, golden::printable(word_)));
    }
    ++read_;
    if (too_large) value = std::numeric_limits<int64_t>::max();
    if (kind_ == Kind::stream) {
      collector_.add(value);
    } else if (static_cast<int64_t>(line_.size()) < collector_.wanted()) {
      line_.push_back(value);
    }
    word_.clear();
    const bool is_enough = static_cast<int64_t>(line_.size()) == collector_.wanted() &&
                           (collector_.batch() == 1 || read_ > kLongestRow);
    if (kind_ == Kind::unknown && is_enough) settle(Kind::stream);  // one row is a stream as well
  }

  void end_line() {
    end_word();
    if (line_.empty()) return;
    if (kind_ == Kind::rows) give();
    if (kind_ == Kind::unknown && line_.size() == 1) settle(Kind::stream);
    if (kind_ == Kind::unknown) kind_ = Kind::one_line;
  }

  // Of the first line it is known what it was.
  void settle(Kind kind) {
    kind_ = kind;
    give();
  }

  void give() {
    if (kind_ == Kind::rows) collector_.begin_row();
    for (const int64_t value : line_) collector_.add(value);
    if (kind_ == Kind::rows) collector_.end_row();
    line_.clear();
  }

  std::istream& in_;
  const std::string& path_;
  Collector& collector_;
  Kind kind_ = Kind::unknown;
  std::string word_;
  std::vector<int64_t> line_;  // that is not given yet
  int64_t read_ = 0;           // numbers
};

}  // namespace

bool read_number_tokens(std::istream& in, const std::string& path, Collector& collector) {
  return NumberReader(in, path, collector).read();
}

}  // namespace assay::datasets
