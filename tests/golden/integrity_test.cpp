// A golden file that is not as it was written is an InputError, whatever was changed.
#include <fmt/format.h>
#include <hdf5.h>

#include <boost/test/unit_test.hpp>
#include <functional>
#include <random>

#include "golden/file/manifest.h"
#include "tests/golden/sample.h"

namespace assay::golden {
namespace {

using namespace sample;

// Opens and checks all there is; "" if nothing is wrong.
std::string verdict(const std::string& path) {
  return complaint([&] { GoldenReader(path).check_all(); });
}

Block block_of(const std::string& path) {
  return parse_block(bytes_of(path).substr(0, kBlockBytes), path);
}

std::vector<ManifestRecord> records_of(const std::string& path) {
  const Block block = block_of(path);
  std::vector<ManifestRecord> records(block.manifest.bytes / sizeof(ManifestRecord));
  bytes_of(path).copy(reinterpret_cast<char*>(records.data()), block.manifest.bytes,
                      block.manifest.offset);
  return records;
}

// What someone would do who changes a file with an HDF5 tool and then makes the hashes fit.
void sign_again(const std::string& path) {
  Block block = block_of(path);
  std::vector<Extent> extents{block.manifest};
  for (const ManifestRecord& record : records_of(path)) {
    if (record.offset >= 0) {
      extents.push_back(
          {static_cast<uint64_t>(record.offset), static_cast<uint64_t>(record.bytes)});
    }
  }
  RawFile raw(path, RawFile::Mode::update);
  block.file_bytes = raw.size();
  block.metadata_hash = metadata_hash(raw, block.file_bytes, extents, path);
  raw.write(0, block_text(block));
}

// Opens the file for writing with the plain HDF5 library.
void edit(const std::string& path, const std::function<void(hid_t)>& change) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  BOOST_REQUIRE(file >= 0);
  change(file);
  BOOST_REQUIRE(H5Fclose(file) >= 0);
}

void set_text(hid_t file, const char* name, const std::string& text) {
  H5Adelete(file, name);
  const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, text.size());
  const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  BOOST_REQUIRE(H5Awrite(attribute, type, text.data()) >= 0);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

struct Fixture {
  TemporaryFolder folder;
  std::string path = folder.file("g.h5");
  Fixture() { sample::write(path, Capture::full); }
};

// Where a byte lies, from the manifest and the block.
enum Region { kInBlock, kInManifest, kInData, kInMetadata, kRegions };

Region region_of(uint64_t at, const Block& block, const std::vector<ManifestRecord>& records) {
  if (at < kBlockBytes) return kInBlock;
  if (at >= block.manifest.offset && at < block.manifest.offset + block.manifest.bytes) {
    return kInManifest;
  }
  for (const ManifestRecord& r : records) {
    const auto offset = static_cast<uint64_t>(r.offset);
    if (r.offset >= 0 && at >= offset && at < offset + static_cast<uint64_t>(r.bytes)) {
      return kInData;
    }
  }
  return kInMetadata;
}

BOOST_AUTO_TEST_SUITE(integrity)

BOOST_FIXTURE_TEST_CASE(untouched_file_is_accepted, Fixture) { BOOST_TEST(verdict(path) == ""); }

// 200 bytes in each region, each changed to a random other value.
BOOST_FIXTURE_TEST_CASE(any_changed_byte_is_rejected, Fixture) {
  const auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937 random(seed);
  const std::string bytes = bytes_of(path);
  const Block block = block_of(path);
  const std::vector<ManifestRecord> records = records_of(path);
  int tried[kRegions] = {};
  RawFile raw(path, RawFile::Mode::update);
  for (int left = 200 * kRegions; left > 0;) {
    const std::size_t at = random() % bytes.size();
    const Region region = region_of(at, block, records);
    if (tried[region] == 200) continue;
    ++tried[region];
    --left;
    const char changed = static_cast<char>(bytes[at] ^ static_cast<char>(1 + random() % 255));
    raw.write(at, std::string(1, changed));
    const std::string said = verdict(path);
    BOOST_TEST(contains(said, path + ": "), "byte " << at << " accepted, seed " << seed);
    raw.write(at, std::string(1, bytes[at]));
  }
  BOOST_TEST(verdict(path) == "");
}

// Damage that HDF5 itself would have to interpret: runs of noise over all of the metadata.
BOOST_FIXTURE_TEST_CASE(noise_in_the_metadata_is_rejected_without_a_crash, Fixture) {
  const auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937 random(seed);
  const std::string bytes = bytes_of(path);
  const Block block = block_of(path);
  const std::vector<ManifestRecord> records = records_of(path);
  int accepted = 0;
  for (int i = 0; i < 200; ++i) {
    std::string noisy = bytes;
    const std::size_t begin = kBlockBytes + random() % (bytes.size() - kBlockBytes);
    const std::size_t end = std::min(bytes.size(), begin + 1 + random() % 400);
    for (std::size_t at = begin; at < end; ++at) {
      if (region_of(at, block, records) == kInMetadata) noisy[at] = static_cast<char>(random());
    }
    if (noisy == bytes) continue;
    put_bytes(path, noisy);
    if (verdict(path).empty()) ++accepted;
  }
  BOOST_TEST(accepted == 0);
}

// More than eight links turn a group into a heap and a tree, which HDF5 reads in other ways.
BOOST_FIXTURE_TEST_CASE(a_changed_byte_in_a_crowded_group_is_rejected_without_a_crash, Fixture) {
  GoldenWriter writer(path, {preset("tiny"), kSeed, "{}"}, Capture::full, true);
  writer.write_input("tokens", {2, 5}, tokens());
  for (int i = 0; i < 40; ++i) writer.write_forward(fmt::format("layers/x{}", i), hidden().view());
  writer.finish();
  const std::string bytes = bytes_of(path);
  const Block block = block_of(path);
  const std::vector<ManifestRecord> records = records_of(path);
  RawFile raw(path, RawFile::Mode::update);
  int tried = 0;
  for (std::size_t at = kBlockBytes; at < bytes.size(); ++at) {
    if (region_of(at, block, records) != kInMetadata || at % 7 != 0) continue;
    raw.write(at, std::string(1, static_cast<char>(bytes[at] ^ '\x5a')));
    BOOST_TEST(contains(verdict(path), path + ": "), "byte " << at << " accepted");
    raw.write(at, std::string(1, bytes[at]));
    ++tried;
  }
  BOOST_TEST(tried > 500);
  BOOST_TEST(verdict(path) == "");
}

BOOST_FIXTURE_TEST_CASE(changed_data_names_the_dataset, Fixture) {
  const std::vector<ManifestRecord> records = records_of(path);
  RawFile raw(path, RawFile::Mode::update);
  for (const ManifestRecord& record : records) {
    if (std::string(record.path.data()) != "/forward/layers/1/mlp_out") continue;
    raw.write(static_cast<uint64_t>(record.offset) + 100, "?");
  }
  BOOST_TEST(contains(verdict(path), "/forward/layers/1/mlp_out: data does not match its hash"));
  const GoldenReader golden(path);  // reads what is whole
  BOOST_TEST(golden.read_tensor("/forward/layers/0/mlp_out").values == hidden().values);
  BOOST_TEST(contains(complaint([&] { golden.read_tensor("/forward/layers/1/mlp_out"); }),
                      "data does not match its hash"));
}

BOOST_FIXTURE_TEST_CASE(truncated_file_is_rejected_as_such, Fixture) {
  const std::string bytes = bytes_of(path);
  for (const std::size_t left : {std::size_t{12}, std::size_t{511}, std::size_t{512},
                                 std::size_t{1000}, bytes.size() / 2, bytes.size() - 1}) {
    put_bytes(path, bytes.substr(0, left));
    const std::string said = verdict(path);
    BOOST_TEST(contains(said, path + ": truncated: expected "), said);
    BOOST_TEST(contains(said, fmt::format("got {}", left)), said);
  }
  put_bytes(path, bytes.substr(0, 9000));
  BOOST_TEST(
      contains(verdict(path), fmt::format("truncated: expected {} bytes, got 9000", bytes.size())));
}

BOOST_FIXTURE_TEST_CASE(trailing_bytes_are_rejected_as_such, Fixture) {
  const std::string bytes = bytes_of(path);
  put_bytes(path, bytes + "x");
  BOOST_TEST(contains(verdict(path), fmt::format("trailing bytes: expected {} bytes, got {}",
                                                 bytes.size(), bytes.size() + 1)));
}

// Each dataset in turn, the hash of the metadata left alone or made to fit.
BOOST_FIXTURE_TEST_CASE(deleted_dataset_is_named, Fixture) {
  const std::string bytes = bytes_of(path);
  for (const ManifestRecord& record : records_of(path)) {
    const std::string dataset = record.path.data();
    for (const bool fitted : {false, true}) {
      put_bytes(path, bytes);
      edit(path, [&](hid_t file) { H5Ldelete(file, dataset.c_str(), H5P_DEFAULT); });
      if (fitted) sign_again(path);
      BOOST_TEST(
          contains(verdict(path), path + ": " + dataset + ": declared in the manifest but missing"),
          dataset << (fitted ? ", hash made to fit: " : ": ") << verdict(path));
    }
  }
}

BOOST_FIXTURE_TEST_CASE(dataset_moved_to_another_name_is_rejected, Fixture) {
  edit(path, [](hid_t file) {
    H5Lmove(file, "/forward/loss", file, "/forward/lost", H5P_DEFAULT, H5P_DEFAULT);
  });
  sign_again(path);
  BOOST_TEST(contains(verdict(path), "/forward/loss: declared in the manifest but missing"));
}

BOOST_FIXTURE_TEST_CASE(datasets_that_change_places_are_rejected, Fixture) {
  edit(path, [](hid_t file) {
    H5Lmove(file, "/forward/layers/0/mlp_out", file, "/forward/t", H5P_DEFAULT, H5P_DEFAULT);
    H5Lmove(file, "/forward/layers/1/mlp_out", file, "/forward/layers/0/mlp_out", H5P_DEFAULT,
            H5P_DEFAULT);
    H5Lmove(file, "/forward/t", file, "/forward/layers/1/mlp_out", H5P_DEFAULT, H5P_DEFAULT);
  });
  sign_again(path);
  BOOST_TEST(contains(verdict(path), "/forward/layers/0/mlp_out: expected float64 [2,5,32] at"));
}

BOOST_FIXTURE_TEST_CASE(added_dataset_is_rejected, Fixture) {
  edit(path, [](hid_t file) {
    H5Lcreate_hard(file, "/forward/loss", file, "/forward/more", H5P_DEFAULT, H5P_DEFAULT);
  });
  sign_again(path);
  BOOST_TEST(contains(verdict(path), "/forward/more: in the file but not in the manifest"));
}

BOOST_FIXTURE_TEST_CASE(other_seed_or_config_does_not_fit_the_root_hash, Fixture) {
  edit(path, [](hid_t file) {
    const uint64_t seed = kSeed + 1;
    const hid_t attribute = H5Aopen(file, "seed", H5P_DEFAULT);
    H5Awrite(attribute, H5T_NATIVE_UINT64, &seed);
    H5Aclose(attribute);
  });
  BOOST_TEST(contains(verdict(path), "metadata does not match its hash"));
  sign_again(path);
  BOOST_TEST(contains(verdict(path), "attribute root_hash: content does not match its hash"));
  edit(path, [](hid_t file) { set_text(file, "config", to_json(preset("small"))); });
  sign_again(path);
  BOOST_TEST(contains(verdict(path), "attribute config: text does not match its hash"));
}

BOOST_FIXTURE_TEST_CASE(foreign_schema_is_named, Fixture) {
  edit(path, [](hid_t file) { set_text(file, "schema", "weather-map"); });
  sign_again(path);
  BOOST_TEST(verdict(path) == path + ": foreign schema: expected assay-golden, got weather-map");
}

BOOST_FIXTURE_TEST_CASE(hdf5_file_of_somebody_else_is_a_foreign_schema, Fixture) {
  for (const uint64_t user_block : {0, 512, 2048}) {
    const std::string other = folder.file(fmt::format("other{}.h5", user_block));
    const hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(creation, user_block);
    H5Fclose(H5Fcreate(other.c_str(), H5F_ACC_EXCL, creation, H5P_DEFAULT));
    H5Pclose(creation);
    BOOST_TEST(contains(verdict(other), other + ": foreign schema: expected a file that starts"));
  }
}

BOOST_FIXTURE_TEST_CASE(newer_version_is_named, Fixture) {
  const std::string bytes = bytes_of(path);
  edit(path, [](hid_t file) {
    const uint64_t version = kSchemaVersion + 1;
    const hid_t attribute = H5Aopen(file, "schema_version", H5P_DEFAULT);
    H5Awrite(attribute, H5T_NATIVE_UINT64, &version);
    H5Aclose(attribute);
  });
  sign_again(path);
  BOOST_TEST(verdict(path) ==
             path + ": newer schema version: expected 1, got 2; use a newer assay");
  put_bytes(path, "assay-golden 2\n" + bytes.substr(15));
  BOOST_TEST(verdict(path) ==
             path + ": newer schema version: expected at most 1, got 2; use a newer assay");
}

BOOST_FIXTURE_TEST_CASE(what_is_no_golden_file_at_all_has_its_own_message, Fixture) {
  BOOST_TEST(verdict(folder.file("none.h5")) == folder.file("none.h5") + ": no such file");
  BOOST_TEST(contains(verdict(folder.path()), "expected an HDF5 file, got a directory"));
  put_bytes(path, "");
  BOOST_TEST(contains(verdict(path), "not an HDF5 file: expected a golden file, got 0 bytes"));
  put_bytes(path, std::string(5000, 'x'));
  BOOST_TEST(contains(verdict(path), "not an HDF5 file: expected a golden file, got 5000 bytes"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::golden
