#include <hdf5.h>

#include <boost/test/unit_test.hpp>
#include <limits>

#include "tests/golden/sample.h"

namespace assay::golden {
namespace {

using namespace sample;

// A file as another tool would write it: datasets of any type, by absolute path.
class ForeignFile {
 public:
  explicit ForeignFile(const std::string& path)
      : file_(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~ForeignFile() { H5Fclose(file_); }
  ForeignFile(const ForeignFile&) = delete;
  ForeignFile& operator=(const ForeignFile&) = delete;

  void put(const char* path, hid_t stored, hid_t memory, std::vector<hsize_t> shape,
           const void* data, const char* dtype = nullptr) {
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t set = H5Dcreate2(file_, path, stored, space, links, H5P_DEFAULT, H5P_DEFAULT);
    BOOST_REQUIRE(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    if (dtype != nullptr) put_text(set, "dtype", dtype);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(links);
  }

  // Of variable length, as h5py writes a str.
  void put_text(hid_t object, const char* name, const char* text) {
    const hid_t type = H5Tcopy(H5T_C_S1), scalar = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    const hid_t attribute = H5Acreate2(object, name, type, scalar, H5P_DEFAULT, H5P_DEFAULT);
    BOOST_REQUIRE(H5Awrite(attribute, type, &text) >= 0);
    H5Aclose(attribute);
    H5Sclose(scalar);
    H5Tclose(type);
  }

  hid_t id() const { return file_; }

 private:
  hid_t file_;
};

BOOST_AUTO_TEST_CASE(dump_reads_back_as_written) {
  const TemporaryFolder folder;
  const std::string path = folder.file("d.h5");
  const std::vector<double> fine{0.1, -std::numeric_limits<double>::infinity(), 1e300, 0.25};
  const std::vector<double> coarse{0.5, -0.0, 3.0};
  {
    DumpWriter writer(path, "abc", 42);
    writer.write("layers/0/attn/q", {{2, 2}, fine}, DType::float64);
    writer.write("embed", {{3}, coarse}, DType::float32);
  }
  const DumpReader dump(path);
  BOOST_TEST(dump.config_hash() == "abc");
  BOOST_TEST(dump.seed() == "42");
  BOOST_REQUIRE(dump.entries().size() == 2u);
  BOOST_TEST(dump.entries()[0].name == "embed");
  BOOST_TEST((dump.entries()[0].dtype == DType::float32));
  BOOST_TEST(dump.entries()[1].shape == (Shape{2, 2}));
  BOOST_TEST(dump.read("layers/0/attn/q").values == fine);
  BOOST_TEST(dump.read("embed").values == coarse);
}

BOOST_AUTO_TEST_CASE(existing_dump_is_replaced) {
  const TemporaryFolder folder;
  const std::string path = folder.file("d.h5");
  const std::vector<double> one{1.0};
  DumpWriter(path, "a", 1).write("x", {{1}, one}, DType::float64);
  DumpWriter(path, "b", 2).write("y", {{1}, one}, DType::float64);
  const DumpReader dump(path);
  BOOST_TEST(dump.config_hash() == "b");
  BOOST_REQUIRE(dump.entries().size() == 1u);
  BOOST_TEST(dump.entries()[0].name == "y");
}

// 1.5 = 0x3fc0 and -2 = 0xc000 in bfloat16.
BOOST_AUTO_TEST_CASE(element_types_of_other_tools_become_doubles) {
  const TemporaryFolder folder;
  const std::string path = folder.file("d.h5");
  const double reals[] = {1.5, -2.0};
  const uint16_t bits[] = {0x3fc0, 0xc000};
  const int64_t whole[] = {-7, int64_t{1} << 40};
  {
    ForeignFile file(path);
    const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_precision(half, 16);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    file.put("/float64", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, {2}, reals);
    file.put("/float32_big_endian", H5T_IEEE_F32BE, H5T_NATIVE_DOUBLE, {2}, reals);
    file.put("/half", half, H5T_NATIVE_DOUBLE, {2}, reals);
    file.put("/bf16", H5T_STD_U16LE, H5T_NATIVE_UINT16, {2}, bits, "bfloat16");
    file.put("/int64", H5T_STD_I64LE, H5T_NATIVE_INT64, {2}, whole);
    H5Tclose(half);
  }
  const DumpReader dump(path);
  BOOST_TEST(dump.config_hash() == "");
  BOOST_TEST(dump.seed() == "");
  for (const char* name : {"float64", "float32_big_endian", "half", "bf16"}) {
    BOOST_TEST(dump.read(name).values == std::vector<double>(reals, reals + 2),
               boost::test_tools::per_element());
  }
  BOOST_TEST(dump.read("int64").values == std::vector<double>(whole, whole + 2));
  for (const DumpEntry& entry : dump.entries()) {
    if (entry.name == "bf16") BOOST_TEST((entry.dtype == DType::bfloat16));
    if (entry.name == "half") BOOST_TEST((entry.dtype == DType::float16));
  }
}

BOOST_AUTO_TEST_CASE(prefixes_are_left_out_of_names) {
  const TemporaryFolder folder;
  const std::string path = folder.file("d.h5");
  const double one = 1.0;
  {
    ForeignFile file(path);
    file.put("/candidate/layers/0/attn/q", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, {1}, &one);
    file.put("/forward/embed", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, {1}, &one);
    file.put("/logits", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, {1}, &one);
    file.put_text(file.id(), "config_hash", "abc");
  }
  const DumpReader dump(path);
  BOOST_TEST(dump.config_hash() == "abc");
  for (const char* name : {"layers/0/attn/q", "embed", "logits"}) {
    BOOST_TEST(dump.read(name).values.at(0) == 1.0);
  }
}

BOOST_AUTO_TEST_CASE(same_name_twice_is_an_error_naming_both) {
  const TemporaryFolder folder;
  const std::string path = folder.file("d.h5");
  const double one = 1.0;
  {
    ForeignFile file(path);
    file.put("/candidate/embed", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, {1}, &one);
    file.put("/embed", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, {1}, &one);
  }
  BOOST_TEST(complaint([&] { DumpReader{path}; }) ==
             path + ": /embed: the same tensor also stands at /candidate/embed; keep one of them");
}

BOOST_AUTO_TEST_CASE(golden_file_is_a_dump_of_its_tensors_and_gradients) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  sample::write(path, Capture::full);
  const DumpReader dump(path);
  BOOST_TEST(dump.entries().size() == 9u);
  BOOST_TEST(dump.config_hash() == GoldenReader(path).config_hash());
  BOOST_TEST(dump.seed() == "7");
  BOOST_TEST(dump.read("embed").values == hidden().values);
}

BOOST_AUTO_TEST_CASE(bad_dumps_are_errors_naming_file_and_dataset) {
  const TemporaryFolder folder;
  const std::string path = folder.file("d.h5");
  BOOST_TEST(complaint([&] { DumpReader{path}; }) == path + ": no such file");
  BOOST_TEST(contains(complaint([&] { DumpReader{folder.path()}; }), "got a directory"));
  put_bytes(path, "not hdf5");
  BOOST_TEST(contains(complaint([&] { DumpReader{path}; }), path + ": expected an HDF5 file"));
  std::filesystem::remove(path);
  {
    ForeignFile file(path);
    const hid_t text = H5Tcopy(H5T_C_S1);
    file.put("/notes", text, text, {1}, "x");
    H5Tclose(text);
  }
  BOOST_TEST(contains(complaint([&] { DumpReader{path}; }),
                      path + ": /notes: expected elements that are floats"));
  const std::vector<double> one{1.0};
  const std::string other = folder.file("e.h5");
  DumpWriter(other, "", 0).write("x", {{1}, one}, DType::float64);
  BOOST_TEST(
      contains(complaint([&] { DumpReader(other).read("y"); }), other + ": y: no such dataset"));
  BOOST_TEST(contains(complaint([&] { DumpWriter(folder.file("no/d.h5"), "", 0); }),
                      folder.file("no/d.h5") + ": cannot be created"));
}

}  // namespace
}  // namespace assay::golden
