// .safetensors files: what is written comes back, what is damaged is named.
#include "golden/exchange/safetensors.h"

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "golden/file/hasher.h"
#include "tests/golden/safetensors_files.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

using namespace sample;

std::vector<double> read(const SafetensorsReader& reader, const std::string& name) {
  const SafetensorsEntry* entry = reader.find(name);
  BOOST_REQUIRE(entry != nullptr);
  std::vector<double> out(static_cast<std::size_t>(element_count(entry->shape)));
  reader.read(*entry, out);
  return out;
}

// The complaint about a file of these bytes, without the path in front; "" if there is none.
std::string complaint_about(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x.safetensors");
  put_bytes(path, bytes);
  const std::string said = complaint([&] { SafetensorsReader{path}; });
  if (said.empty()) return said;
  BOOST_TEST(said.starts_with(path + ": "), said);
  return said.substr(path.size() + 2);
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

// Of one tensor w with 8 bytes of data.
std::string about_entry(const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
  return complaint_about(safetensors_bytes(entry(dtype, shape, offsets), std::string(8, '\0')));
}

}  // namespace

BOOST_AUTO_TEST_CASE(written_tensors_read_back_in_every_type) {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.safetensors");
  const std::map<std::string, std::vector<double>> values{
      {"a/b", {0.1, -0.0, 1e300, -1e-310, 5, 6}},
      {"c", {1.5, 0.1f}},
      {"d", {1.5, -2, 0.0078125}},
      {"tokens", {-100, 7}},
      {"mask", {0, 255}},
      {"scalar", {0.25}},
      {"empty", {}}};
  write_safetensors(
      path,
      {{"a/b", Element::f64, {2, 3}},
       {"empty", Element::f32, {0, 4}},
       {"d", Element::bf16, {3}},
       {"c", Element::f32, {2}},
       {"mask", Element::u8, {1, 2}},
       {"tokens", Element::i32, {2}},
       {"scalar", Element::f64, {}}},
      {{"format", "pt"}}, [&](const std::string& name) { return values.at(name); },
      Rounding::refuse, false);
  const SafetensorsReader reader(path);
  BOOST_TEST(reader.entries().size() == 7u);
  BOOST_TEST(reader.metadata("format") == "pt");
  BOOST_TEST(reader.metadata("other") == "");
  for (const auto& [name, due] : values) {
    BOOST_TEST(read(reader, name) == due, tt::per_element());
  }
  BOOST_TEST(std::signbit(read(reader, "a/b")[1]));
  BOOST_TEST(reader.find("a/b")->shape == (Shape{2, 3}));
  BOOST_TEST(reader.find("scalar")->shape.empty());
  BOOST_TEST(reader.find("A/B") == nullptr);
  BOOST_TEST(reader.find("a/b")->offset % 8 == 0u);
}

// Written down byte by byte: float16 1 and -2, bfloat16 1.5, int64 -7, bool 1, at odd offsets.
BOOST_AUTO_TEST_CASE(bytes_of_another_writer_mean_what_the_format_says) {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.safetensors");
  const std::string header = R"({"flag":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},)"
                             R"("half":{"dtype":"F16","shape":[2,1],"data_offsets":[1,5]},)"
                             R"("brain":{"dtype":"BF16","shape":[1],"data_offsets":[5,7]},)"
                             R"("whole":{"dtype":"I64","shape":[],"data_offsets":[7,15]}}   )";
  const std::string data("\x01\x00\x3c\x00\xc0\xc0\x3f\xf9\xff\xff\xff\xff\xff\xff\xff", 15);
  put_bytes(path, safetensors_bytes(header, data));
  const SafetensorsReader reader(path);
  BOOST_TEST(read(reader, "flag") == std::vector<double>{1}, tt::per_element());
  BOOST_TEST(read(reader, "half") == (std::vector<double>{1, -2}), tt::per_element());
  BOOST_TEST(read(reader, "brain") == std::vector<double>{1.5}, tt::per_element());
  BOOST_TEST(read(reader, "whole") == std::vector<double>{-7}, tt::per_element());
  BOOST_TEST((dtype_of(reader.find("half")->element) == DType::float16));
}

BOOST_AUTO_TEST_CASE(lengths_that_do_not_fit_the_file_are_named) {
  BOOST_TEST(complaint_about("") ==
             "expected a .safetensors file: at least 8 bytes, got 0; save it again");
  BOOST_TEST(contains(complaint_about("1234567"), "at least 8 bytes, got 7"));
  BOOST_TEST(complaint_about(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)) ==
             "not a .safetensors file: expected a header of at most 100000000 bytes, got "
             "18446744073709551615");
  BOOST_TEST(contains(complaint_about(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)),
                      "at most 100000000 bytes, got 100000001"));
  BOOST_TEST(complaint_about(std::string("\x03\0\0\0\0\0\0\0{}", 10)) ==
             "truncated: expected a header of 3 bytes, got 2; copy or save the file again");
  BOOST_TEST(contains(complaint_about(std::string(8, '\0')), "expected '{' first"));
}

BOOST_AUTO_TEST_CASE(headers_that_are_no_table_of_tensors_are_named) {
  const auto about = [](const std::string& header) {
    return complaint_about(safetensors_bytes(header, ""));
  };
  BOOST_TEST(contains(about("{"), "header: expected JSON, got"));
  BOOST_TEST(contains(about("[]"), "header: expected '{' first, got '['"));
  BOOST_TEST(contains(about(" {}"), "expected '{' first"));
  BOOST_TEST(contains(about("{\"\xff\":1}"), "expected JSON"));
  BOOST_TEST(contains(about(R"({"a":1})"), "a: expected a table with dtype, shape and data_off"));
  BOOST_TEST(contains(about(R"({"a":{},"a":{}})"), "expected each key once, got 'a' twice"));
  BOOST_TEST(contains(about(R"({"a":{"b":[[1]]}})"), "at most 3 nested levels"));
  BOOST_TEST(contains(about("{\"a\":" + std::string(1 << 20, '[')), "at most 3 nested levels"));
  std::string ones = "1";
  for (int i = 0; i < 40; ++i) ones += ",1";
  BOOST_TEST(contains(about(R"({"a":{"shape":[)" + ones + "]}}"), "at most 32 values in a list"));
  BOOST_TEST(contains(about(R"({"__metadata__":{"a":1}})"), "__metadata__: expected a table of t"));
  BOOST_TEST(contains(about(R"({"__metadata__":[]})"), "__metadata__: expected a table of texts"));
  BOOST_TEST(about("{}") == "");  // a file without tensors is one
}

BOOST_AUTO_TEST_CASE(wrong_entries_are_named_with_tensor_and_cause) {
  BOOST_TEST(about_entry(R"("F32")", "[2]", "[0,8]") == "");
  BOOST_TEST(
      about_entry(R"("F8_E5M2")", "[8]", "[0,8]") ==
      "w: expected dtype F64, F32, BF16, F16, I64, I32, I16, I8, U64, U32, U16, U8 or BOOL, got "
      "\"F8_E5M2\"; 8-bit floats are not read: convert the tensor to bfloat16 and save it again");
  BOOST_TEST(contains(about_entry("4", "[2]", "[0,8]"), "w: expected dtype"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[-2]", "[0,8]"),
                      "w: expected shape as a list of whole numbers >= 0, got [-2]"));
  for (const char* shape : {"2", "[2.0]", "[\"2\"]", "[99999999999999999999]", "{}", "[true]"}) {
    BOOST_TEST(contains(about_entry(R"("F32")", shape, "[0,8]"), "w: expected shape as a list"),
               shape);
  }
  BOOST_TEST(contains(about_entry(R"("F32")", "[9223372036854775807]", "[0,8]"),
                      "expected extents below 2^62, got 9223372036854775807"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[4611686018427387904,2]", "[0,8]"),
                      "expected a shape of at most 2^62 bytes"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[2147483648,2147483648]", "[0,8]"),
                      "expected a shape of at most 2^62 bytes"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[3]", "[0,8]"),
                      "expected 12 bytes for F32 [3], got data_offsets [0,8], 8 bytes"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[2]", "[8,0]"),
                      "expected data_offsets within the 8 bytes of data, ascending, got [8,0]"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[2]", "[0,9]"), "within the 8 bytes of data"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[2]", "[0,4,8]"), "[begin,end], got 3 numbers"));
  BOOST_TEST(contains(about_entry(R"("F32")", "[2]", "[-8,0]"), "expected data_offsets as a list"));
  BOOST_TEST(contains(about_entry(R"("F32","extra":1)", "[2]", "[0,8]"), "got 'extra'"));
  BOOST_TEST(contains(complaint_about(safetensors_bytes(R"({"w":{"dtype":"F32"}})", "")),
                      "w: expected a key 'shape', got none"));
}

BOOST_AUTO_TEST_CASE(overlaps_holes_and_loose_ends_are_named) {
  const auto about = [](const std::string& a, const std::string& b, std::size_t bytes) {
    return complaint_about(
        safetensors_bytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
                              R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}",
                          std::string(bytes, '\0')));
  };
  BOOST_TEST(about("[0,4]", "[4,8]", 8) == "");
  BOOST_TEST(about("[4,8]", "[0,4]", 8) == "");
  BOOST_TEST(
      about("[0,4]", "[3,7]", 7) ==
      "b: expected data at offset 4, got 3: it overlaps another tensor; save the file again");
  BOOST_TEST(contains(about("[0,4]", "[0,4]", 4), "it overlaps another tensor"));
  BOOST_TEST(contains(about("[0,4]", "[5,9]", 9),
                      "b: expected data at offset 4, got 5: there is a"
                      " hole in front of it"));
  BOOST_TEST(contains(about("[1,5]", "[5,9]", 9), "a: expected data at offset 0, got 1"));
  BOOST_TEST(contains(about("[0,4]", "[4,8]", 9), "expected 8 bytes of data, got 9"));
}

BOOST_AUTO_TEST_CASE(names_from_a_file_cannot_paint_the_terminal) {
  const std::string said = complaint_about(
      safetensors_bytes("{\"w\\u001b[31m\\n" + std::string(500, 'x') + "\":1}", ""));
  BOOST_TEST(contains(said, "w?[31m?xxx"));
  BOOST_TEST(said.size() < 300u);
}

BOOST_AUTO_TEST_CASE(what_is_no_file_is_named) {
  const TemporaryFolder folder;
  BOOST_TEST(complaint([&] { SafetensorsReader{folder.path()}; }) ==
             folder.path() + ": expected a .safetensors file, got a directory");
  BOOST_TEST(complaint([&] { SafetensorsReader{folder.file("no")}; }) ==
             folder.file("no") + ": no such file");
}

// Mapped memory beyond the end of a file would kill the process.
BOOST_AUTO_TEST_CASE(a_file_cut_while_it_is_open_is_an_error) {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.safetensors");
  put_bytes(path, small_safetensors());
  const SafetensorsReader reader(path);
  std::filesystem::resize_file(path, 100);
  BOOST_TEST(contains(complaint([&] { read(reader, "ones"); }), "changed while it was read"));
}

BOOST_AUTO_TEST_CASE(writing_refuses_what_would_lose_something) {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.safetensors");
  const auto write = [&](Element element, Rounding rounding, bool force) {
    return complaint([&] {
      write_safetensors(
          path, {{"w", element, {1}}}, {}, [](const auto&) { return std::vector<double>{0.1}; },
          rounding, force);
    });
  };
  BOOST_TEST(contains(write(Element::bf16, Rounding::refuse, false),
                      path + ": w: element 0: BF16 does not hold 0.1 exactly"));
  BOOST_TEST(std::filesystem::is_empty(folder.path()));  // nothing half-written stays
  BOOST_TEST(write(Element::bf16, Rounding::nearest, false) == "");
  BOOST_TEST(contains(write(Element::f64, Rounding::refuse, false), "the file exists; --force"));
  BOOST_TEST(write(Element::f64, Rounding::refuse, true) == "");
  BOOST_TEST(read(SafetensorsReader(path), "w") == std::vector<double>{0.1}, tt::per_element());
  BOOST_TEST(contains(complaint([&] {
                        write_safetensors(
                            folder.file("u"), {{"w", Element::f64, {0}}, {"w", Element::f64, {0}}},
                            {}, [](const auto&) { return std::vector<double>(); }, Rounding::refuse,
                            false);
                      }),
                      "w: expected each name once"));
}

BOOST_AUTO_TEST_CASE(the_hash_of_a_file_is_that_of_its_bytes) {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.safetensors"), bytes = small_safetensors();
  put_bytes(path, bytes);
  BOOST_TEST(SafetensorsReader(path).file_hash() == hash_hex(bytes.data(), bytes.size()));
}

}  // namespace assay::golden
