// What a golden file says about dependence: written when asked for, read back, checked like
// everything in it; triangular for what is causal and not for what is not.
#include "golden/generate/dependence.h"

#include <hdf5.h>

#include <boost/test/unit_test.hpp>

#include "golden/contract/names.h"
#include "golden/generate/generate.h"
#include "reference/methods/registry.h"
#include "tests/golden/sample.h"
#include "tests/reference/models.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

using namespace sample;
using Matrix = std::vector<uint8_t>;

constexpr int64_t kPositions = 5;

GenerateRequest request(const ModelConfig& config, const std::string& out) {
  GenerateRequest r;
  r.config = config;
  r.batch = 2;
  r.positions = kPositions;
  r.tokens = synthetic_tokens(r.config.vocab_size, r.batch, r.positions, r.seed);
  r.capture = Capture::hash;
  r.dependence = true;
  r.out = out;
  r.force = true;
  return r;
}

ModelConfig config_of(const std::string& method) {
  ModelConfig config = preset("tiny");
  config.method = method;
  return config;
}

Matrix filled(bool (*at)(int64_t t, int64_t s)) {
  Matrix m;
  for (int64_t i = 0; i < kPositions * kPositions; ++i) {
    m.push_back(at(i / kPositions, i % kPositions) ? 1 : 0);
  }
  return m;
}

const Matrix kSelf = filled([](int64_t t, int64_t s) { return s == t; });
const Matrix kPast = filled([](int64_t t, int64_t s) { return s <= t; });
const Matrix kAll = filled([](int64_t, int64_t) { return true; });

bool sees_future(const Matrix& m) {
  for (std::size_t i = 0; i < m.size(); ++i) {
    if (m[i] != 0 && kPast[i] == 0) return true;
  }
  return false;
}

}  // namespace

// Every tensor with positions has one, the scalar loss has none; the logits see the whole past, so
// nothing is causal for seeing nothing.
BOOST_AUTO_TEST_CASE(every_tensor_of_every_causal_method_is_lower_triangular) {
  const TemporaryFolder folder;
  for (const ModelConfig& config : reference::testing::every_method()) {
    BOOST_TEST_CONTEXT(reference::testing::title(config)) {
      generate(request(config, folder.file("g.h5")));
      const GoldenReader golden(folder.file("g.h5"));
      golden.check_all();
      for (const TensorInfo& tensor : tensor_list(config, 2, kPositions)) {
        const std::string path = "/dependence/" + tensor.name;
        const bool has_positions = tensor.axes.find('T') != std::string::npos;
        BOOST_TEST((golden.find(path) != nullptr) == has_positions, path);
        if (!has_positions) continue;
        const Matrix m = golden.read_uint8(path);
        BOOST_TEST(m.size() == kPast.size(), path);
        BOOST_TEST(!sees_future(m), path);
        for (std::size_t t = 0; t < kPositions; ++t) BOOST_TEST(m[t * kPositions + t] == 1, path);
      }
      BOOST_TEST(golden.find("/dependence/loss") == nullptr);
      BOOST_TEST(golden.read_uint8("/dependence/embed") == kSelf, tt::per_element());
      BOOST_TEST(golden.read_uint8("/dependence/logits") == kPast, tt::per_element());
    }
  }
}

// A masked language model sees both sides, as it is meant to; made causal it does not.
BOOST_AUTO_TEST_CASE(a_graph_that_is_not_causal_is_not_triangular) {
  const TemporaryFolder folder;
  ModelConfig config = config_of("pt");
  generate(request(config, folder.file("both.h5")));
  const GoldenReader both(folder.file("both.h5"));
  BOOST_TEST(both.read_uint8("/dependence/embed") == kSelf, tt::per_element());
  BOOST_TEST(both.read_uint8("/dependence/pt/1/labels") == kAll, tt::per_element());
  BOOST_TEST(both.read_uint8("/dependence/logits") == kAll, tt::per_element());

  config.pt.causal_heads = true;
  config.pt.message = ProbTransformer::Message::head;
  generate(request(config, folder.file("past.h5")));
  const GoldenReader past(folder.file("past.h5"));
  BOOST_TEST(past.read_uint8("/dependence/logits") == kPast, tt::per_element());
}

BOOST_AUTO_TEST_CASE(dependence_is_written_when_asked_for_and_changes_no_value) {
  const TemporaryFolder folder;
  GenerateRequest r = request(config_of("1"), folder.file("with.h5"));
  const std::string with = generate(r).root_hash;
  r.out = folder.file("again.h5");
  BOOST_TEST(generate(r).root_hash == with);
  r.out = folder.file("without.h5");
  r.dependence = false;
  BOOST_TEST(generate(r).root_hash != with);  // it covers every dataset, as with noise and bounds
  const GoldenReader one(folder.file("with.h5")), other(folder.file("without.h5"));
  for (const ManifestRow& row : other.manifest()) {
    BOOST_TEST(row.role != "dependence");
    BOOST_REQUIRE(one.find(row.path) != nullptr);
    BOOST_TEST(one.find(row.path)->hash == row.hash, row.path);
  }
}

BOOST_AUTO_TEST_CASE(one_flipped_entry_is_an_error_that_names_its_tensor) {
  const TemporaryFolder folder;
  const std::string path = folder.file("g.h5");
  generate(request(config_of("plain"), path));
  std::string bytes = bytes_of(path);
  const std::string matrix(kPast.begin(), kPast.end());
  const std::size_t at = bytes.find(matrix);
  BOOST_REQUIRE(at != std::string::npos);
  bytes[at + 1] = 1;  // position 0 sees position 1
  put_bytes(path, bytes);
  const std::string refused = complaint([&] { GoldenReader(path).check_all(); });
  BOOST_TEST(contains(refused, ": /dependence/"), refused);
  BOOST_TEST(contains(refused, "does not match its hash"), refused);
}

// As any HDF5 tool reads it.
BOOST_AUTO_TEST_CASE(a_matrix_names_its_axes) {
  const TemporaryFolder folder;
  generate(request(config_of("plain"), folder.file("g.h5")));
  const hid_t file = H5Fopen(folder.file("g.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t axes = H5Aopen_by_name(file, "/dependence/logits", "axes", H5P_DEFAULT, H5P_DEFAULT);
  BOOST_REQUIRE(axes >= 0);
  const hid_t type = H5Aget_type(axes);
  std::string text(H5Tget_size(type), '\0');
  BOOST_TEST(H5Aread(axes, type, text.data()) >= 0);
  BOOST_TEST(text == "TS");
  H5Tclose(type);
  H5Aclose(axes);
  H5Fclose(file);
}

BOOST_AUTO_TEST_CASE(what_would_not_fit_is_refused_before_anything_is_written) {
  const TemporaryFolder folder;
  GenerateRequest r = request(config_of("1"), folder.file("long.h5"));
  r.batch = 1;
  r.positions = 4096;
  r.tokens = synthetic_tokens(r.config.vocab_size, 1, r.positions, 1);
  const std::string refused = complaint([&] { generate(r); });
  BOOST_TEST(refused.starts_with("--dependence: 4096 positions: expected relations of at most 4 "),
             refused);
  BOOST_TEST(!std::filesystem::exists(r.out));

  const auto graph = reference::build_model(config_of("plain"), 2, 3);
  BOOST_TEST(complaint([&] { position_dependences(*graph); }) ==
             "dependence: tokens: expected one row, got [2,3]");
}

}  // namespace assay::golden
