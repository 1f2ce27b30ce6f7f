// .npz files: what is written comes back, what is damaged is named.
#include "golden/exchange/npz.h"

#include <boost/test/unit_test.hpp>
#include <map>

#include "tests/golden/npz_files.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

using namespace sample;

struct File : TemporaryFolder {
  explicit File(const Members& members, zip_int32_t method = ZIP_CM_STORE) {
    put_zip(path(), members, method);
  }
  std::string path() const { return file("x.npz"); }
};

std::vector<double> read(const NpzReader& reader, const std::string& name) {
  for (const NpzEntry& entry : reader.entries()) {
    if (entry.name == name) return reader.read(entry);
  }
  throw std::runtime_error(name);
}

// The complaint about an archive with one array of these bytes, without path and name in front.
std::string about_array(const std::string& bytes) {
  const File file(Members{{"a.npy", bytes}});
  std::string said = complaint([&] { NpzReader{file.path()}; });
  const std::string where = file.path() + ": a";
  if (said.empty()) return said;
  BOOST_TEST(said.starts_with(where), said);
  return said.substr(where.size());
}

// Of an array of 8 bytes under this dictionary.
std::string about(const std::string& text) { return about_array(npy_bytes(text, "12345678")); }

}  // namespace

BOOST_AUTO_TEST_CASE(written_tensors_read_back_in_every_type) {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.npz");
  const std::map<std::string, std::vector<double>> values{{"a/b", {0.1, -0.0, 1e300, 4, 5, 6}},
                                                          {"c", {1.5, 0.1f}},
                                                          {"half", {1.5, -65504}},
                                                          {"tokens", {-100, 7}},
                                                          {"mask", {0, 255}},
                                                          {"scalar", {0.25}},
                                                          {"empty", {}}};
  write_npz(
      path,
      {{"a/b", Element::f64, {2, 3}},
       {"c", Element::f32, {2}},
       {"half", Element::f16, {2, 1}},
       {"tokens", Element::i32, {2}},
       {"mask", Element::u8, {1, 2}},
       {"scalar", Element::f64, {}},
       {"empty", Element::f32, {0, 4}}},
      [&](const std::string& name) { return values.at(name); }, Rounding::refuse, false);
  const NpzReader reader(path);
  BOOST_REQUIRE(reader.entries().size() == 7u);
  BOOST_TEST(reader.entries()[0].name == "a/b");  // in order of writing
  BOOST_TEST(reader.entries()[0].header.shape == (Shape{2, 3}));
  for (const auto& [name, due] : values) BOOST_TEST(read(reader, name) == due, tt::per_element());
}

BOOST_AUTO_TEST_CASE(equal_content_is_an_equal_file) {
  const TemporaryFolder folder;
  for (const char* name : {"a.npz", "b.npz"}) {
    write_npz(
        folder.file(name), {{"w", Element::f64, {1}}},
        [](const auto&) { return std::vector<double>{0.1}; }, Rounding::refuse, false);
  }
  BOOST_TEST(bytes_of(folder.file("a.npz")) == bytes_of(folder.file("b.npz")));
}

BOOST_AUTO_TEST_CASE(deflated_arrays_are_read_too) {
  const std::vector<double> zeros(100000, 0.0);
  const File file(
      Members{{"zeros.npy", npy_bytes(dictionary("<f8", "(100000,)"), bytes_of_values(zeros))},
              small_arrays()[0]},
      ZIP_CM_DEFLATE);
  const NpzReader reader(file.path());
  BOOST_TEST(std::filesystem::file_size(file.path()) < 10000u);
  BOOST_TEST(read(reader, "zeros") == zeros, tt::per_element());
  BOOST_TEST(read(reader, "layers/0/attn/q") == (std::vector<double>{1, 2, 3, 4, 5, 6}),
             tt::per_element());
}

// Element (i,j,k) of [2,3,2] is 100 i + 10 j + k; in Fortran order the first index runs fastest.
BOOST_AUTO_TEST_CASE(fortran_order_is_turned_into_rows) {
  const std::vector<float> columns{0, 100, 10, 110, 20, 120, 1, 101, 11, 111, 21, 121};
  const std::vector<double> rows{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121};
  const File file(
      {{"a.npy", npy_bytes(dictionary("<f4", "(2, 3, 2)", "True"), bytes_of_values(columns))}});
  BOOST_TEST(read(NpzReader(file.path()), "a") == rows, tt::per_element());
}

BOOST_AUTO_TEST_CASE(headers_as_python_writes_them_are_read) {
  BOOST_TEST(about(dictionary("<f4", "(2,)")) == "");
  BOOST_TEST(about(dictionary("<f8", "()")) == "");
  BOOST_TEST(about("{\"shape\":(1,2,1,),\"fortran_order\":False,\"descr\":\"<i4\"}") == "");
  BOOST_TEST(about("{'descr': '|b1', 'fortran_order': True, 'shape': (8,), }        \n") == "");
  std::string version_2("\x93NUMPY\x02\x00", 8);
  const std::string text = dictionary("|u1", "(8,)");
  version_2 += std::string{static_cast<char>(text.size()), 0, 0, 0} + text + "12345678";
  BOOST_TEST(about_array(version_2) == "");
}

BOOST_AUTO_TEST_CASE(types_that_are_not_ours_are_named) {
  for (const char* descr : {">f8", "<V2", "|V2", "<c8", "|O", "<U3", "<f16", ">u4", "f8", ""}) {
    BOOST_TEST(contains(about(dictionary(descr, "(1,)")), ": dtype: expected one of <f8, <f4, <f2"),
               descr);
  }
  BOOST_TEST(contains(about("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,), }"),
                      ": dtype: expected one of"));
}

BOOST_AUTO_TEST_CASE(headers_that_python_would_not_write_are_named) {
  for (const char* shape : {"(2)", "2", "[2]", "(-2,)", "(2.0,)", "(2L,)",
                            "(99999999999999999999,)", "(1,,2)", "(1 2)", "(True,)", "(2,"}) {
    BOOST_TEST(contains(about(dictionary("<f4", shape)), ": numpy header: expected"), shape);
  }
  BOOST_TEST(contains(about(dictionary("<f4", "(2,)", "0")), "expected True or False"));
  BOOST_TEST(contains(about(""), "expected '{'"));
  BOOST_TEST(contains(about("{}"), "expected descr, fortran_order and shape"));
  BOOST_TEST(contains(about("{'descr': '<f8', 'descr': '<f8'}"), "each once"));
  BOOST_TEST(contains(about("{'descr': '<f8', 'exec': 1}"), "each once"));
  BOOST_TEST(contains(about("{'descr': '<f8"), "expected the end of a string"));
  BOOST_TEST(
      contains(about(dictionary("<f8", "()") + "import os"), "nothing after the dictionary"));
  BOOST_TEST(
      contains(about(dictionary("<f8", "(4611686018427387904, 4, 0)")), "at most 2^62 bytes"));
  std::string axes;
  for (int i = 0; i < 33; ++i) axes += "1, ";
  BOOST_TEST(contains(about(dictionary("<f8", "(" + axes + ")")), "at most 32 whole numbers"));
}

BOOST_AUTO_TEST_CASE(sizes_that_do_not_fit_are_named) {
  BOOST_TEST(contains(about(dictionary("<f8", "(2,)")), " bytes for F64 [2], got "));
  BOOST_TEST(
      contains(about(dictionary("<f8", "(1000000000000,)")), "bytes for F64 [1000000000000]"));
  BOOST_TEST(contains(about_array("\x93NUMPY"), "it ends too early"));
  BOOST_TEST(contains(about_array("something else"), "expected an array saved by numpy"));
  BOOST_TEST(contains(about_array(std::string("\x93NUMPY\x04\x00\x10\x00....", 14)),
                      "numpy format version: expected 1, 2 or 3, got 4"));
  BOOST_TEST(contains(about_array(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff....", 16)),
                      "numpy header: expected at most 65536 bytes, got 4294967295"));
}

// The central directory says 1 TB: nothing of that size is made.
BOOST_AUTO_TEST_CASE(an_archive_that_promises_more_than_deflate_can_is_refused) {
  const std::vector<double> zeros(4096, 0.0);
  const File file(
      Members{{"a.npy", npy_bytes(dictionary("<f8", "(4096,)"), bytes_of_values(zeros))}},
      ZIP_CM_DEFLATE);
  std::string bytes = bytes_of(file.path());
  const std::size_t array = 10 + dictionary("<f8", "(4096,)").size() + 8 * zeros.size();
  const std::string due = bytes_of_values<uint32_t>({static_cast<uint32_t>(array)});
  const std::string huge = bytes_of_values<uint32_t>({0xfffffff0u});
  int replaced = 0;
  for (auto at = bytes.find(due); at != std::string::npos; at = bytes.find(due, at + 4)) {
    bytes.replace(at, 4, huge);
    ++replaced;
  }
  BOOST_TEST(replaced >= 1);
  put_bytes(file.path(), bytes);
  BOOST_TEST(contains(complaint([&] { NpzReader{file.path()}; }), "cannot come out of"));
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_in_the_data_does_not_pass_the_crc) {
  const File file(small_arrays());
  std::string bytes = bytes_of(file.path());
  const std::string three = bytes_of_values<float>({3, 4});
  bytes[bytes.find(three) + 2] ^= 1;
  put_bytes(file.path(), bytes);
  const NpzReader reader(file.path());
  BOOST_TEST(contains(complaint([&] { read(reader, "layers/0/attn/q"); }),
                      file.path() + ": layers/0/attn/q: cannot be read: CRC error"));
  BOOST_TEST(read(reader, "tokens") == (std::vector<double>{7, -1, 0, 5}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(archives_of_other_things_are_named) {
  const File text(Members{{"notes.txt", "hello"}});
  BOOST_TEST(complaint([&] { NpzReader{text.path()}; }) ==
             text.path() + ": notes.txt: expected members that end in .npy");
  const TemporaryFolder folder;
  put_bytes(folder.file("x.npz"), "not a zip archive");
  BOOST_TEST(contains(complaint([&] { NpzReader{folder.file("x.npz")}; }),
                      "expected an .npz file, got no whole zip archive: Not a zip archive"));
  BOOST_TEST(contains(complaint([&] { NpzReader{folder.path()}; }), "got a directory"));
  BOOST_TEST(contains(complaint([&] { NpzReader{folder.file("no")}; }), "no: no such file"));
}

BOOST_AUTO_TEST_CASE(writing_refuses_what_would_lose_something) {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.npz");
  const auto write = [&](Element element, Rounding rounding, bool force) {
    return complaint([&] {
      write_npz(
          path, {{"w", element, {1}}}, [](const auto&) { return std::vector<double>{0.1}; },
          rounding, force);
    });
  };
  BOOST_TEST(contains(write(Element::f32, Rounding::refuse, false),
                      path + ": w: element 0: F32 does not hold 0.1 exactly"));
  BOOST_TEST(contains(write(Element::bf16, Rounding::nearest, false), "numpy has no BF16"));
  BOOST_TEST(std::filesystem::is_empty(folder.path()));  // nothing half-written stays
  BOOST_TEST(write(Element::f32, Rounding::nearest, false) == "");
  BOOST_TEST(contains(write(Element::f64, Rounding::refuse, false), "the file exists; --force"));
  BOOST_TEST(write(Element::f64, Rounding::refuse, true) == "");
  BOOST_TEST(read(NpzReader(path), "w") == std::vector<double>{0.1}, tt::per_element());
}

}  // namespace assay::golden
