// Words of a command, and a child process that is spoken to by lines.
#include "verify/subjects/program.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

namespace tt = boost::test_tools;
using std::chrono::milliseconds;
using Words = std::vector<std::string>;

const ProgramLimits kPatient{.timeout = milliseconds(10'000)};

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
  Program cat({"cat"}, kPatient);
  cat.start();
  cat.send("one");
  cat.send("two");
  BOOST_TEST(cat.receive() == "one");
  BOOST_TEST(cat.receive() == "two");
}

// Whether a process of that number runs; one that has ended and nobody has waited for does not.
bool lives(int process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string number, name, state;
  return file >> number >> name >> state && state != "Z";
}

// What a program in sh does is gone, with the process whose number it says, when it has ended.
void check_is_gone(const std::string& script) {
  int child = 0;
  std::string folder;
  {
    Program shell({"sh", "-c", script}, kPatient);
    shell.start();
    folder = shell.folder();
    child = std::stoi(shell.receive());
    BOOST_TEST(lives(child));
  }
  BOOST_TEST(!lives(child));
  BOOST_TEST(!std::filesystem::exists(folder));
}

BOOST_AUTO_TEST_CASE(what_it_started_ends_with_it) { check_is_gone("sleep 1000 & echo $!; wait"); }

// Out of its process group and its session, with a parent that has ended.
BOOST_AUTO_TEST_CASE(what_left_it_ends_with_it) {
  check_is_gone("setsid sh -c '(sleep 1000 & echo $!)' < /dev/null; sleep 1000");
}

// The message of what `act` fails with.
template <class Act>
std::string failure_of(Act&& act) {
  try {
    act();
  } catch (const SubjectFailure& failure) {
    return failure.what();
  }
  return "nothing was thrown";
}

BOOST_AUTO_TEST_CASE(a_failure_has_exit_code_and_last_words) {
  Program shell({"sh", "-c", "echo lost >&2; exit 5"}, kPatient);
  shell.start();
  BOOST_TEST(failure_of([&] { shell.receive(); }) ==
             "sh: it closed its output: ended with exit code 5; its last words: lost");
  BOOST_CHECK_THROW(shell.send(std::string(100'000, 'x')), SubjectFailure);
}

BOOST_AUTO_TEST_CASE(one_that_does_not_read_is_not_waited_for) {
  ProgramLimits limits;
  limits.timeout = milliseconds(100);
  Program deaf({"sleep", "1000"}, limits);
  deaf.start();
  BOOST_TEST(failure_of([&] { deaf.send(std::string(1'000'000, 'x')); }) ==
             "sleep: it did not read a request within 0.1 s (--timeout)");
}

BOOST_AUTO_TEST_CASE(its_files_have_a_limit) {
  ProgramLimits limits = kPatient;
  limits.folder_bytes = 100'000;
  Program writer({"sh", "-c", "read folder; cat /dev/zero > $folder/answer"}, limits);
  writer.start();
  writer.send(writer.folder());
  const std::string failure = failure_of([&] { writer.receive(); });
  BOOST_TEST(failure.starts_with("sh: its files have "));
  BOOST_TEST(failure.ends_with("expected at most 100000 bytes (--max-response)"));
}

BOOST_AUTO_TEST_CASE(its_memory_has_a_limit) {
  ProgramLimits limits = kPatient;
  limits.memory_bytes = 30'000'000;
  Program hungry({"sh", "-c", "head -c 200000000 /dev/zero | tail; sleep 1000"}, limits);
  hungry.start();
  BOOST_TEST(failure_of([&] { hungry.receive(); }).ends_with("at most 30.0 MB (--memory)"));
}

// What nobody reads must not stop it, and what it says last is known.
BOOST_AUTO_TEST_CASE(a_log_of_any_length_is_taken) {
  Program loud({"sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1"},
               kPatient);
  loud.start();
  BOOST_TEST(failure_of([&] { loud.receive(); }).ends_with("xend"));
}

BOOST_AUTO_TEST_CASE(one_is_started_again_and_again) {
  Program bad({"sh", "-c", "echo said; exit 3"}, kPatient, Program::Mode::once);
  BOOST_TEST(failure_of([&] { bad.run_once(); }) ==
             "sh: it failed: ended with exit code 3; its last words: said");
  Program good({"sh", "-c", "sleep 1000 &"}, kPatient, Program::Mode::once);
  good.run_once();
  good.run_once();
}

BOOST_AUTO_TEST_CASE(what_is_no_program_is_bad_input) {
  Program none({"./no-such-program"}, kPatient);
  none.start();
  BOOST_CHECK_THROW(none.receive(), InputError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify
