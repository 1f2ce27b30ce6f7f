// The table of subjects promises what the subjects can do.
#include "cli/subjects.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "tests/golden/sample.h"

namespace assay::cli {
namespace {

golden::ModelConfig config() {
  golden::ModelConfig made = golden::preset("tiny");
  made.method = "1";
  return made;
}

// "file:PATH" with a path that is there; a program that says hello; the example of a library.
std::string name_of(const SubjectRow& row, const std::string& dump) {
  const std::string spelling = row.spelling;
  if (spelling.starts_with("exec:")) {
    return R"(exec:sh -c 'read hello; echo "{\"name\": \"polite\"}"; read bye')";
  }
  if (spelling.starts_with("lib:")) return "lib:" LLAMA_SUBJECT;
  if (spelling.starts_with("exec-once:")) {
    return R"(exec-once:sh -c 'echo "{\"name\": \"polite\"}" > "$1"')";
  }
  const std::size_t colon = spelling.find(':');
  return colon == std::string::npos ? spelling : spelling.substr(0, colon + 1) + dump;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_subject_can_do_what_its_row_says) {
  const golden::sample::TemporaryFolder folder;
  const std::string dump = folder.file("dump.h5");
  golden::sample::write(dump, golden::Capture::full);
  golden::ModelConfig model = config();
  model.method = "plain";  // which the example of a library computes
  const golden::SyntheticWeights weights(model, 1);
  int made = 0;
  for (const SubjectRow& row : subjects()) {
    BOOST_TEST_CONTEXT(row.spelling) {
      try {
        const auto subject =
            make_subject(name_of(row, dump), golden::Precision::fp32, model, weights);
        BOOST_TEST(subject->capabilities().can_run == row.can.can_run);
        BOOST_TEST(subject->capabilities().can_force == row.can.can_force);
        ++made;
      } catch (const NoDevice&) {
        BOOST_TEST(std::string(row.spelling) == "cuda");
      }
    }
  }
  BOOST_TEST(made >= 4);
}

BOOST_AUTO_TEST_CASE(a_suffix_is_taken_only_where_the_table_has_it) {
  const golden::ModelConfig model = config();
  const golden::SyntheticWeights weights(model, 1);
  for (const SubjectRow& row : subjects()) {
    if (std::string(row.spelling).find(':') != std::string::npos) continue;
    const std::string name = std::string(row.spelling) + ":stacked";
    BOOST_TEST_CONTEXT(name) {
      try {
        make_subject(name, golden::Precision::fp32, model, weights);
        BOOST_TEST(*row.suffixes != '\0');
      } catch (const NoDevice&) {
        BOOST_TEST(*row.suffixes != '\0');
      } catch (const InputError& error) {
        BOOST_TEST(*row.suffixes == '\0');
        BOOST_TEST(golden::sample::contains(error.what(), "--subject " + name + ": expected "));
      }
    }
  }
}

}  // namespace assay::cli
