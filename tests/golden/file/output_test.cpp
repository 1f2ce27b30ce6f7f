// Outputs: what a name leads to is written, and nothing else is harmed.
#include "golden/file/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <thread>

#include "golden/file/files.h"
#include "tests/golden/sample.h"

namespace assay::golden {
namespace {

using namespace sample;
namespace fs = std::filesystem;

void put(const std::string& path, const std::string& text, bool force = true) {
  PartialFile target(path, force, 0);
  put_bytes(target.written(), text);
  target.put_in_place();
}

std::size_t files_in(const TemporaryFolder& folder) {
  const fs::directory_iterator all(folder.path());
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_symbolic_link_keeps_its_place) {
  const TemporaryFolder folder;
  fs::create_directory(folder.file("data"));
  put_bytes(folder.file("data/real"), "old");
  fs::create_symlink("data/real", folder.file("link"));
  put(folder.file("link"), "new");
  BOOST_TEST(fs::is_symlink(folder.file("link")));
  BOOST_TEST(bytes_of(folder.file("data/real")) == "new");
  BOOST_TEST(contains(complaint([&] { put(folder.file("link"), "x", false); }), "exists; --force"));
  BOOST_TEST(files_in(folder) == 2u);
}

BOOST_AUTO_TEST_CASE(a_link_that_leads_nowhere_is_refused_before_anything_is_written) {
  const TemporaryFolder folder;
  fs::create_symlink("missing", folder.file("link"));
  BOOST_TEST(complaint([&] { check_target(folder.file("link"), true, 0); }) ==
             folder.file("link") + ": a symbolic link to " + folder.file("missing") +
                 ", which does not exist; make or name the file that it should lead to");
  fs::create_symlink("circle", folder.file("circle"));
  BOOST_TEST(contains(complaint([&] { check_target(folder.file("circle"), true, 0); }), "circles"));
}

BOOST_AUTO_TEST_CASE(what_is_no_regular_file_is_written_through) {
  const TemporaryFolder folder;
  const std::string pipe = folder.file("pipe");
  BOOST_REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  std::string got;
  std::thread reader([&] { got = bytes_of(pipe); });
  put(pipe, "through", false);  // nothing is replaced, so nothing needs force
  reader.join();
  BOOST_TEST(got == "through");
  BOOST_TEST(fs::is_fifo(pipe));
  put("/dev/null", "lost", false);
  BOOST_TEST(fs::is_character_file("/dev/null"));
  BOOST_TEST(files_in(folder) == 1u);
}

BOOST_AUTO_TEST_CASE(a_descriptor_of_this_process_is_written_to_as_it_stands) {
  const TemporaryFolder folder;
  const int file = ::open(folder.file("log").c_str(), O_WRONLY | O_CREAT, 0600);
  BOOST_REQUIRE(::write(file, "first ", 6) == 6);
  put("/dev/fd/" + std::to_string(file), "second");
  BOOST_REQUIRE(::write(file, " third", 6) == 6);
  ::close(file);
  BOOST_TEST(bytes_of(folder.file("log")) == "first second third");
}

BOOST_AUTO_TEST_CASE(a_device_that_is_full_is_an_error) {
  if (!fs::exists("/dev/full")) return;
  BOOST_TEST(contains(complaint([] { put("/dev/full", "text"); }),
                      "/dev/full: cannot be written: No space left on device"));
}

BOOST_AUTO_TEST_CASE(an_input_is_never_an_output_by_whatever_name) {
  const TemporaryFolder folder;
  const std::string input = folder.file("g.h5");
  put_bytes(input, "golden");
  fs::create_hard_link(input, folder.file("hard"));
  fs::create_symlink(input, folder.file("soft"));
  for (const std::string& name :
       {input, folder.file("hard"), folder.file("soft"), folder.path() + "/./g.h5"}) {
    BOOST_TEST(contains(complaint([&] {
                          require_apart({{"--json", name}}, {"", input});
                        }),
                        "--json " + name + ": is the input " + input));
  }
  BOOST_TEST(complaint([&] { require_apart({{"--json", folder.file("new")}}, {input}); }) == "");
  put_bytes(folder.file("config.json"), "{}");
  put_bytes(folder.file("r.json"), "{}");
  const auto in_folder = [&](const char* name) {
    return complaint([&] { require_apart({{"--json", folder.file(name)}}, {folder.path()}); });
  };
  BOOST_TEST(contains(in_folder("config.json"), "is the input"));
  BOOST_TEST(in_folder("r.json") == "");  // a checkpoint's folder holds other files, too
}

BOOST_AUTO_TEST_CASE(two_outputs_are_two_files) {
  const TemporaryFolder folder;
  const std::string path = folder.file("r");
  BOOST_TEST(contains(complaint([&] {
                        require_apart({{"--json", path}, {"--junit", path}}, {});
                      }),
                      "--junit " + path + ": expected a file of its own, got that of --json"));
  BOOST_TEST(complaint([&] {
               require_apart({{"--json", "/dev/null"}, {"--junit", "/dev/null"}}, {});
             }) == "");
}

BOOST_AUTO_TEST_CASE(a_foreign_file_needs_force) {
  const TemporaryFolder folder;
  const Output output{"--json", folder.file("r.json")};
  const auto said = [&](bool force) {
    return complaint([&] { require_own(output, {"{\"mine\""}, force); });
  };
  BOOST_TEST(said(false) == "");
  put_bytes(output.path, "");
  BOOST_TEST(said(false) == "");
  put_bytes(output.path, "{\"mine\": 1}");
  BOOST_TEST(said(false) == "");
  put_bytes(output.path, "{\"theirs\": 1}");
  BOOST_TEST(
      contains(said(false), "r.json: the file exists and is not one that this option wrote"));
  BOOST_TEST(said(true) == "");
}

}  // namespace assay::golden
