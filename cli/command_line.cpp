#include "cli/command_line.h"

namespace assay::cli {
namespace {

// In single quotes where a shell would read more than the characters.
std::string quoted(const std::string& word) {
  static const std::string kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string typed_command(int argc, const char* const* argv) {
  std::string line = "assay";
  for (int i = 1; i < argc; ++i) line += " " + quoted(argv[i]);
  return line;
}

std::string judging_command(const JudgeOptions& options) {
  const std::string file = "file:";
  std::string line =
      options.subject.starts_with(file)
          ? "assay compare " + quoted(options.golden_path) + " " +
                quoted(options.subject.substr(file.size()))
          : "assay verify " + quoted(options.golden_path) + " --subject " + quoted(options.subject);
  line += " --precision " + golden::precision_name(options.precision);
  if (!options.checkpoint.empty()) line += " --weights " + quoted(options.checkpoint);
  if (options.equal) line += " --equal";
  if (options.modes) line += " --modes";
  if (options.decoding == verify::Decoding::asked) line += " --decode";
  if (options.decoding == verify::Decoding::off) line += " --no-decode";
  if (!options.elsewhere.map.empty()) line += " --map " + quoted(options.elsewhere.map);
  for (const std::string& pattern : options.left_out) line += " --leave-out " + quoted(pattern);
  for (const std::string& pattern : options.required) line += " --require " + quoted(pattern);
  if (options.strict) line += " --strict";
  return line;
}

}  // namespace assay::cli
