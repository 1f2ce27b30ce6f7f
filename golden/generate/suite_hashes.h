// The root hashes of a suite: what a build computes, against what is committed. A root hash covers
// every value of the golden file and not how much of it is kept, so the files themselves need not
// be.
#pragma once

#include <string>
#include <vector>

#include "golden/suites/suite.h"

namespace assay::golden {

struct CaseHash {
  std::string name;
  std::string root_hash;
};

// Generates every case into a folder that is removed again. Throws InputError for a case that
// fails.
std::vector<CaseHash> suite_hashes(const Suite& suite, int jobs);

// Lines "<root hash>  <case>", as they are committed, in the order of the suite.
std::string hash_lines(const std::vector<CaseHash>& hashes);
// Throws InputError naming the line for anything else.
std::vector<CaseHash> parse_hash_lines(const std::string& text, const std::string& where);

// What differs, a line each: other hashes, cases of the suite without a line, lines without a case
// (checked if `whole`, that is unless a pattern selected cases). A golden file "<folder>/<case>.h5"
// whose root hash is the committed one names the first tensor that differs; folder "": none.
std::vector<std::string> differing_hashes(const Suite& suite, const std::vector<CaseHash>& computed,
                                          const std::vector<CaseHash>& committed, bool whole,
                                          const std::string& folder);

}  // namespace assay::golden
