#include "golden/generate/suite_hashes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "golden/contract/error.h"
#include "golden/generate/generate_suite.h"

namespace assay::golden {
namespace {

namespace fs = std::filesystem;

// A folder that goes away with its owner.
class Scratch {
 public:
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "assay-suite-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      throw InputError(pattern + ": cannot be made: expected room for golden files; set TMPDIR");
    }
    path_ = pattern;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The suite with nothing kept but hashes.
Suite hashes_only(Suite suite) {
  for (SuiteCase& c : suite.cases) c.settings.capture = Capture::hash;
  return suite;
}

// "; first differing tensor /forward/..", or what stands in the way of saying so.
std::string first_difference(const SuiteCase& c, const std::string& committed,
                             const std::string& folder) {
  const std::string path = case_path(folder, c);
  if (folder.empty() || !fs::exists(path)) return "";
  const GoldenReader kept(path);
  if (kept.root_hash() != committed) {
    return fmt::format("; {} has root hash {} and cannot say where", path, kept.root_hash());
  }
  const Scratch scratch;
  SuiteCase again = c;
  again.settings.capture = Capture::hash;
  generate_case(again, case_path(scratch.path(), c), false);
  const GoldenReader made(case_path(scratch.path(), c));
  for (const ManifestRow& row : made.manifest()) {
    const ManifestRow* before = kept.find(row.path);
    if (before == nullptr) return fmt::format("; {} is not in {}", row.path, path);
    if (before->hash != row.hash) {
      return fmt::format("; first differing tensor {}: expected {}, got {}", row.path, before->hash,
                         row.hash);
    }
  }
  return "; every tensor of this build agrees: config or seed differ, or tensors are missing";
}

}  // namespace

std::vector<CaseHash> suite_hashes(const Suite& suite, int jobs) {
  const Scratch scratch;
  GenerateSuiteRequest request;
  request.folder = scratch.path();
  request.jobs = jobs;
  std::vector<CaseHash> hashes;
  for (const CaseOutcome& outcome : generate_suite(hashes_only(suite), request)) {
    if (outcome.state == CaseState::failed) throw InputError(outcome.problem);
    hashes.push_back({outcome.name, outcome.root_hash});
  }
  return hashes;
}

std::string hash_lines(const std::vector<CaseHash>& hashes) {
  std::string text;
  for (const CaseHash& line : hashes) text += fmt::format("{}  {}\n", line.root_hash, line.name);
  return text;
}

std::vector<CaseHash> parse_hash_lines(const std::string& text, const std::string& where) {
  std::vector<CaseHash> hashes;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool hash = line.size() > 34 && line.substr(32, 2) == "  " &&
                      line.find_first_not_of("0123456789abcdef") == 32;
    if (!hash) {
      throw InputError(fmt::format("{}: line {}: expected \"<32 hex digits>  <case>\", got \"{}\"",
                                   where, hashes.size() + 1, line));
    }
    hashes.push_back({line.substr(34), line.substr(0, 32)});
  }
  return hashes;
}

std::vector<std::string> differing_hashes(const Suite& suite, const std::vector<CaseHash>& computed,
                                          const std::vector<CaseHash>& committed, bool whole,
                                          const std::string& folder) {
  std::map<std::string, std::string> due;
  for (const CaseHash& line : committed) due[line.name] = line.root_hash;
  std::vector<std::string> differences;
  for (std::size_t i = 0; i < computed.size(); ++i) {
    const CaseHash& got = computed[i];
    const auto expected = due.find(got.name);
    if (expected == due.end()) {
      differences.push_back(
          fmt::format("{}: no committed root hash, got {}; 'assay suite hashes {}' "
                      "prints the lines to commit",
                      got.name, got.root_hash, suite.name));
    } else if (expected->second != got.root_hash) {
      differences.push_back(
          fmt::format("{}: root hash: expected {}, got {}{}", got.name, expected->second,
                      got.root_hash, first_difference(suite.cases[i], expected->second, folder)));
    }
    if (expected != due.end()) due.erase(expected);
  }
  if (whole) {
    for (const auto& [name, hash] : due) {
      differences.push_back(
          fmt::format("{}: root hash {} is committed, but the suite has no such "
                      "case",
                      name, hash));
    }
  }
  return differences;
}

}  // namespace assay::golden
