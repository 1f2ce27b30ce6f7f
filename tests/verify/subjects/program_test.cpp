// Words of a command, and a child process that is spoken to by lines.
#include "verify/subjects/program.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "golden/contract/error.h"
#include "tests/golden/sample.h"

namespace assay::verify {
namespace {

namespace tt = boost::test_tools;
using std::chrono::milliseconds;
using Words = std::vector<std::string>;

constexpr milliseconds kPatience{10'000};

BOOST_AUTO_TEST_SUITE(programs)

BOOST_AUTO_TEST_CASE(words_are_those_of_a_shell) {
  const auto check = [](const std::string& command, const Words& due) {
    BOOST_TEST(split_words(command) == due, tt::per_element());
  };
  check("python3 model.py", {"python3", "model.py"});
  check("  a\t b\n", {"a", "b"});
  check("a 'b c' \"d e\"", {"a", "b c", "d e"});
  check("a''b \"\" c", {"ab", "", "c"});
  check(R"(a\ b 'c\d' "e\"f")", {"a b", R"(c\d)", "e\"f"});
  check("a $HOME *.py", {"a", "$HOME", "*.py"});
  BOOST_CHECK_THROW(split_words("a 'b"), InputError);
  BOOST_CHECK_THROW(split_words(" "), InputError);
}

BOOST_AUTO_TEST_CASE(lines_go_both_ways) {
  const golden::sample::TemporaryFolder folder;
  Program cat({"cat"}, folder.file("log"));
  cat.send("one");
  cat.send("two");
  BOOST_TEST(cat.receive(kPatience) == "one");
  BOOST_TEST(cat.receive(kPatience) == "two");
}

// Whether a process of that number runs; one that has ended and that nobody has waited for does not.
bool lives(int process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string number, name, state;
  return file >> number >> name >> state && state != "Z";
}

BOOST_AUTO_TEST_CASE(what_it_started_ends_with_it) {
  const golden::sample::TemporaryFolder folder;
  int child = 0;
  {
    Program shell({"sh", "-c", "sleep 1000 & echo $!; wait"}, folder.file("log"));
    child = std::stoi(shell.receive(kPatience));
    BOOST_TEST(lives(child));
  }
  for (int i = 0; i < 1000 && lives(child); ++i) ::usleep(1000);
  BOOST_TEST(!lives(child));
}

BOOST_AUTO_TEST_CASE(a_failure_has_exit_code_and_last_words) {
  const golden::sample::TemporaryFolder folder;
  Program shell({"sh", "-c", "echo lost >&2; exit 5"}, folder.file("log"));
  try {
    shell.receive(kPatience);
    BOOST_ERROR("nothing was thrown");
  } catch (const SubjectFailure& failure) {
    BOOST_TEST(std::string(failure.what()) ==
               "sh: it closed its output: ended with exit code 5; its last words: lost");
  }
  BOOST_CHECK_THROW(shell.send(std::string(100'000, 'x')), SubjectFailure);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify
