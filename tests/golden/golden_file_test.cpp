#include "golden/file/golden_file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tbb/global_control.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>

#include "golden/file/files.h"
#include "tests/golden/sample.h"

namespace assay::golden {
namespace {

using namespace sample;
namespace fs = std::filesystem;

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  return names;
}

BOOST_AUTO_TEST_CASE(what_is_written_reads_back_bit_for_bit) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  const std::string root = sample::write(path, Capture::full);
  const GoldenReader golden(path);
  BOOST_TEST(golden.root_hash() == root);
  BOOST_TEST(golden.header().seed == kSeed);
  BOOST_TEST(to_json(golden.header().config) == to_json(preset("tiny")));
  BOOST_TEST(golden.header().provenance == header().provenance);
  BOOST_TEST(golden.batch() == 2);
  BOOST_TEST(golden.positions() == 5);
  BOOST_TEST(golden.read_int32("/inputs/tokens") == tokens());
  BOOST_TEST(golden.read_uint8("/inputs/attention_mask") == mask());
  BOOST_TEST(same_bits(golden.read_tensor("/forward/embed").values, hidden().values));
  BOOST_TEST(
      same_bits(golden.read_tensor("/forward/layers/1/attn/scores").values, scores().values));
  BOOST_TEST(golden.read_tensor("/forward/loss").shape.empty());
  BOOST_TEST(golden.read_tensor("/forward/loss").values.at(0) == 0.1);
  for (const TensorInfo& info : weights(preset("tiny"))) {
    std::vector<double> values(static_cast<std::size_t>(element_count(info.shape)));
    golden.read(info.name, values);
    BOOST_TEST(same_bits(values, weight(preset("tiny"), info).values));
  }
  uint64_t bytes = 0;
  for (const ManifestRow& row : golden.manifest()) {
    bytes += static_cast<uint64_t>(element_count(row.shape)) * dtype_bytes(row.dtype);
  }
  BOOST_TEST(golden.check_all() == bytes);
}

BOOST_AUTO_TEST_CASE(weights_are_float32_exactly_if_that_loses_nothing) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  const std::vector<double> exact{0.5, -0.0, 3.0}, inexact{0.5, 0.1, 3.0};
  {
    GoldenWriter writer(path, header(), Capture::full, false);
    writer.write_weight("exact", {{3}, exact});
    writer.write_weight("inexact", {{3}, inexact});
    writer.finish();
  }
  const GoldenReader golden(path);
  BOOST_TEST((golden.find("/weights/exact")->dtype == DType::float32));
  BOOST_TEST((golden.find("/weights/inexact")->dtype == DType::float64));
  BOOST_TEST(same_bits(golden.read_tensor("/weights/exact").values, exact));
  BOOST_TEST(same_bits(golden.read_tensor("/weights/inexact").values, inexact));
}

BOOST_AUTO_TEST_CASE(a_file_without_datasets_and_an_empty_dataset_read_back) {
  const TemporaryFolder folder;
  GoldenWriter(folder.file("none.h5"), header(), Capture::full, false).finish();
  BOOST_TEST(GoldenReader(folder.file("none.h5")).check_all() == 0u);
  {
    GoldenWriter writer(folder.file("empty.h5"), header(), Capture::full, false);
    writer.write_forward("nothing", {{0, 4}, {}});
    writer.finish();
  }
  const GoldenReader golden(folder.file("empty.h5"));
  BOOST_TEST(golden.read_tensor("/forward/nothing").shape == (Shape{0, 4}));
}

// Large enough for several chunks of the statistics, whose sum would depend on their order.
BOOST_AUTO_TEST_CASE(root_hash_and_statistics_do_not_depend_on_capture_threads_or_run) {
  const TemporaryFolder folder;
  Tensor big{{301, 1021}, std::vector<double>(301 * 1021)};
  for (std::size_t i = 0; i < big.values.size(); ++i) {
    big.values[i] = std::sin(static_cast<double>(i)) * std::exp2(static_cast<double>(i % 61));
  }
  const auto write_big = [&](const std::string& name, Capture capture, std::size_t threads) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    GoldenWriter writer(folder.file(name), header(), capture, false);
    fill(writer);
    writer.write_forward("big", big.view());
    return writer.finish();
  };
  const std::string root = write_big("full1.h5", Capture::full, 1);
  BOOST_TEST(write_big("full2.h5", Capture::full, 2) == root);
  BOOST_TEST(write_big("again.h5", Capture::full, 2) == root);
  BOOST_TEST(write_big("stats.h5", Capture::stats, 2) == root);
  BOOST_TEST(write_big("hash.h5", Capture::hash, 2) == root);
  const GoldenReader one(folder.file("full1.h5")), two(folder.file("full2.h5")),
      stats(folder.file("stats.h5")), hash(folder.file("hash.h5"));
  for (std::size_t i = 0; i < one.manifest().size(); ++i) {
    const Statistics &a = one.manifest()[i].stats, &b = two.manifest()[i].stats,
                     &c = stats.manifest()[i].stats;
    BOOST_TEST(a.rms == b.rms);
    BOOST_TEST(a.rms == c.rms);
    BOOST_TEST(a.min == c.min);
    BOOST_TEST(a.max == c.max);
    BOOST_TEST(hash.manifest()[i].stats.rms == 0.0);
    BOOST_TEST(hash.manifest()[i].hash == one.manifest()[i].hash);
  }
  BOOST_TEST(fs::file_size(folder.file("stats.h5")) < 64u * 1024);
}

BOOST_AUTO_TEST_CASE(weights_outside_of_the_file_are_drawn_again_and_checked) {
  const TemporaryFolder folder;
  for (const Capture capture : {Capture::hash, Capture::stats}) {
    const std::string path = folder.file(capture_name(capture));
    sample::write(path, capture);
    const GoldenReader golden(path);
    BOOST_TEST((golden.capture() == capture));
    BOOST_TEST(golden.read_int32("/inputs/tokens") == tokens());
    for (const TensorInfo& info : weights(preset("tiny"))) {
      std::vector<double> values(static_cast<std::size_t>(element_count(info.shape)));
      golden.read(info.name, values);
      BOOST_TEST(same_bits(values, weight(preset("tiny"), info).values));
    }
    BOOST_TEST(contains(complaint([&] { golden.read_tensor("/forward/embed"); }),
                        "/forward/embed: only its hash is in the file"));
  }
}

// As weights of a checkpoint would: the seed says nothing about them.
BOOST_AUTO_TEST_CASE(weights_that_the_seed_does_not_give_are_an_error) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  const TensorInfo info = weights(preset("tiny"))[0];
  Tensor changed = weight(preset("tiny"), info);
  changed.values[17] *= 2;
  {
    GoldenWriter writer(path, header(), Capture::stats, false);
    writer.write_weight(info.name, changed.view());
    writer.finish();
  }
  std::vector<double> out(changed.values.size());
  const std::string said = complaint([&] { GoldenReader(path).read(info.name, out); });
  BOOST_TEST(contains(said, path + ": /weights/" + info.name));
  BOOST_TEST(contains(said, "weights are not in the file and the seed does not give them"));
}

BOOST_AUTO_TEST_CASE(reading_what_is_not_there_names_file_and_dataset) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  sample::write(path, Capture::full);
  const GoldenReader golden(path);
  BOOST_TEST(golden.find("/forward/none") == nullptr);
  BOOST_TEST(complaint([&] { golden.read_tensor("/forward/none"); }) ==
             path + ": /forward/none: no such dataset in the manifest");
  BOOST_TEST(complaint([&] { golden.read_tensor("/inputs/tokens"); }) ==
             path + ": /inputs/tokens: expected float64 elements, got int32");
  std::vector<double> short_by_one(63 * 32);
  BOOST_TEST(complaint([&] { golden.read("model.embed_tokens.weight", short_by_one); }) ==
             path +
                 ": /weights/model.embed_tokens.weight: expected 2016 elements, got 2048 [64,32]");
}

BOOST_AUTO_TEST_CASE(writing_wrong_shapes_or_twice_is_an_error) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  GoldenWriter writer(path, header(), Capture::full, false);
  const std::vector<double> six(6);
  BOOST_TEST(complaint([&] {
               writer.write_forward("x", {{2, 2}, six});
             }) == path + ": /forward/x: expected 4 elements for [2,2], got 6");
  writer.write_forward("y", {{2, 3}, six});
  BOOST_TEST(complaint([&] {
               writer.write_forward("y", {{2, 3}, six});
             }) == path + ": /forward/y: written twice");
  BOOST_TEST(contains(complaint([&] { writer.write_forward("", {{2, 3}, six}); }), "empty part"));
}

BOOST_AUTO_TEST_CASE(existing_file_is_kept_unless_forced) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  put_bytes(path, "precious");
  BOOST_TEST(complaint([&] { sample::write(path, Capture::full); }) ==
             path + ": the file exists; --force replaces it");
  BOOST_TEST(bytes_of(path) == "precious");
  sample::write(path, Capture::full, true);
  BOOST_TEST(GoldenReader(path).check_all() > 0u);
  BOOST_TEST(names_in(folder.path()).size() == 1u);
}

BOOST_AUTO_TEST_CASE(file_that_appears_while_writing_is_kept) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  GoldenWriter writer(path, header(), Capture::full, false);
  fill(writer);
  put_bytes(path, "precious");
  BOOST_TEST(contains(complaint([&] { writer.finish(); }), "cannot be put in place"));
  BOOST_TEST(bytes_of(path) == "precious");
}

BOOST_AUTO_TEST_CASE(targets_that_cannot_work_are_errors_at_once) {
  const TemporaryFolder folder;
  const auto create = [&](const std::string& path, uint64_t bytes) {
    return complaint([&] { GoldenWriter(path, header(), Capture::full, false, bytes); });
  };
  BOOST_TEST(contains(create(folder.file("none/g.h5"), 0), "no such folder"));
  BOOST_TEST(contains(create(folder.path(), 0), "got a directory"));
  put_bytes(folder.file("plain"), "");
  BOOST_TEST(contains(create(folder.file("plain/g.h5"), 0), "expected a folder, got a file"));
  BOOST_TEST(contains(create(folder.file("g.h5"), uint64_t{1} << 60),
                      "not enough space in " + folder.path() + ": expected 1152921504606846976"));
  BOOST_TEST(names_in(folder.path()).size() == 1u);
}

BOOST_AUTO_TEST_CASE(read_only_folder_is_an_error_at_once) {
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec |
                                     fs::perms::others_read | fs::perms::others_exec);
  const uid_t before = geteuid();
  const bool lowered = before != 0 || seteuid(65534) == 0;  // root may write anywhere
  const std::string said =
      complaint([&] { GoldenWriter(folder.file("g.h5"), header(), Capture::full, false); });
  if (before == 0) BOOST_REQUIRE(seteuid(0) == 0);
  fs::permissions(folder.path(), fs::perms::owner_all);
  BOOST_REQUIRE(lowered);
  BOOST_TEST(contains(said, "cannot be written to: Permission denied"));
}

BOOST_AUTO_TEST_CASE(nothing_stays_of_a_writer_that_does_not_finish) {
  const TemporaryFolder folder;
  {
    GoldenWriter writer(folder.file("g.h5"), header(), Capture::full, false);
    fill(writer);
    BOOST_TEST(names_in(folder.path()).size() == 1u);
  }
  BOOST_TEST(names_in(folder.path()).empty());
}

// The killed child has no chance to clean up; what it leaves never has the final name.
BOOST_AUTO_TEST_CASE(killed_writer_leaves_only_a_partial_file_that_is_listed) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  int ready[2];
  BOOST_REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    GoldenWriter writer(path, header(), Capture::full, false);
    const std::vector<double> values(1 << 16, 1.0);
    writer.write_forward("first", {{1 << 16}, values});
    if (::write(ready[1], "x", 1) != 1) _exit(1);
    for (int i = 0;; ++i) writer.write_forward("more/" + std::to_string(i), {{1 << 16}, values});
  }
  char byte = 0;
  BOOST_REQUIRE(::read(ready[0], &byte, 1) == 1);
  BOOST_TEST(partial_files(path).empty());  // its process is alive
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  BOOST_TEST(!fs::exists(path));
  const std::vector<std::string> expected{path + ".partial-" + std::to_string(child)};
  BOOST_TEST(partial_files(path) == expected);
  BOOST_TEST(partial_files(folder.file("other.h5")).empty());
}

// A limit on file sizes stands in for a full disk. The limits end the writing while the file is
// created, in the middle of data, and only when HDF5 flushes it; the process ends cleanly all the
// same.
BOOST_AUTO_TEST_CASE(disk_that_fills_up_is_an_error_and_leaves_nothing) {
  const std::vector<std::pair<rlim_t, std::string>> cases{
      {100, ": cannot be created: "},
      {1 << 20, ": /forward/big: cannot be written: "},
      {(2 << 20) + 4096, ": cannot be written: "}};
  for (const auto& [most_bytes, expected] : cases) {
    const TemporaryFolder folder;
    const std::string path = folder.file("g.h5");
    const pid_t child = fork();
    if (child == 0) {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{most_bytes, most_bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
      const std::string said = complaint([&] {
        GoldenWriter writer(path, header(), Capture::full, false);
        const std::vector<double> values(1 << 18, 1.0);
        writer.write_forward("big", {{1 << 18}, values});
        writer.finish();
      });
      const bool named = contains(said, path + expected) && contains(said, std::strerror(EFBIG));
      std::exit(named && fs::is_empty(folder.path()) ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0), expected);
  }
}

BOOST_AUTO_TEST_CASE(capture_levels_have_names) {
  for (const Capture c : {Capture::hash, Capture::stats, Capture::full}) {
    BOOST_TEST((parse_capture(capture_name(c)) == c));
  }
  BOOST_TEST(complaint([] { parse_capture("all"); }) ==
             "--capture all: no such level; have hash, stats, full");
}

}  // namespace
}  // namespace assay::golden
