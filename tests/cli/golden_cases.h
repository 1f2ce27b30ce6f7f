// The cases of suite ci as golden files, one at a time.
#pragma once

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "golden/file/golden_file.h"
#include "golden/generate/generate_suite.h"
#include "tests/golden/sample.h"

namespace assay::verdict_test {

// check(name, golden) for every case that one of the patterns selects; each has to select some.
template <class Check>
void for_cases(const std::vector<std::string>& patterns, const Check& check) {
  for (const std::string& pattern : patterns) {
    const golden::Suite suite = golden::selected(golden::load_suite("ci"), pattern);
    BOOST_TEST(suite.cases.size() >= 1u, pattern);
    for (const golden::SuiteCase& c : suite.cases) {
      const golden::sample::TemporaryFolder folder;
      golden::generate_case(c, folder.file("g.h5"), false);
      BOOST_TEST_CONTEXT(c.name) check(c.name, golden::GoldenReader(folder.file("g.h5")));
    }
  }
}

}  // namespace assay::verdict_test
