// Golden files of a checkpoint: its weights survive, and nobody mistakes drawn ones for them.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden/exchange/checkpoint.h"
#include "golden/exchange/safetensors.h"
#include "golden/generate/generate.h"
#include "tests/golden/sample.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

using namespace sample;

// Sines: no float32, but close to the weights that are drawn from a seed in size.
std::vector<double> sines(const TensorInfo& tensor, double phase) {
  std::vector<double> values(static_cast<std::size_t>(element_count(tensor.shape)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double angle = phase + static_cast<double>(i + tensor.name.size());
    values[i] = (tensor.shape.size() == 1 ? 1 : 0) + 0.3 * std::sin(angle);
  }
  return values;
}

// A checkpoint of the tiny model.
struct Checkpoint : TemporaryFolder {
  explicit Checkpoint(double phase = 0) {
    const std::vector<TensorInfo> list = weight_list(preset("tiny"));
    std::vector<ExchangeTensor> tensors;
    for (const TensorInfo& info : list) tensors.push_back({info.name, Element::f64, info.shape});
    write_safetensors(
        file("model.safetensors"), tensors, {},
        [&](const std::string& name) {
          const auto info = std::find_if(list.begin(), list.end(),
                                         [&](const TensorInfo& t) { return t.name == name; });
          return sines(*info, phase);
        },
        Rounding::refuse, false);
    put_bytes(file("config.json"), to_json(preset("tiny")));
  }

  GenerateResult generate(const std::string& out, Capture capture) const {
    const CheckpointWeights weights(path(), preset("tiny"));
    GenerateRequest request;
    request.config = preset("tiny");
    request.seed = kSeed;
    request.positions = 6;
    request.tokens = {3, 1, 4, 1, 5, 9};
    request.weights = &weights;
    request.weights_origin = weights.contents();
    request.capture = capture;
    request.out = out;
    return golden::generate(request);
  }
};

std::vector<double> read(const WeightSource& weights, const TensorInfo& info) {
  std::vector<double> out(static_cast<std::size_t>(element_count(info.shape)));
  weights.read(info.name, out);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(weights_that_no_float_holds_survive_the_golden_file) {
  const Checkpoint checkpoint;
  const std::string path = checkpoint.file("g.h5");
  checkpoint.generate(path, Capture::full);
  const GoldenReader golden(path);
  for (const TensorInfo& info : weight_list(preset("tiny"))) {
    BOOST_TEST(read(golden, info) == sines(info, 0), tt::per_element());
    BOOST_TEST((golden.find("/weights/" + info.name)->dtype == DType::float64));
  }
}

BOOST_AUTO_TEST_CASE(root_hash_tells_weights_apart_and_provenance_names_their_files) {
  const Checkpoint checkpoint, other(0.5);
  const GenerateResult one = checkpoint.generate(checkpoint.file("a.h5"), Capture::full);
  BOOST_TEST(checkpoint.generate(checkpoint.file("b.h5"), Capture::hash).root_hash ==
             one.root_hash);
  BOOST_TEST(other.generate(checkpoint.file("c.h5"), Capture::hash).root_hash != one.root_hash);
  const std::string provenance = GoldenReader(checkpoint.file("a.h5")).header().provenance;
  const auto weights = nlohmann::json::parse(provenance)["weights"];
  BOOST_REQUIRE(weights.size() == 1u);
  BOOST_TEST(weights[0]["file"] == "model.safetensors");
  BOOST_TEST(weights[0]["xxh3_128"] ==
             SafetensorsReader(checkpoint.file("model.safetensors")).file_hash());
  BOOST_TEST(!contains(provenance, checkpoint.path()));
}

// With only hashes of real weights in the file, the seed's are refused, and so is another
// checkpoint.
BOOST_AUTO_TEST_CASE(weights_outside_of_the_file_count_only_if_their_hashes_match) {
  const Checkpoint checkpoint, other(0.5);
  const std::string path = checkpoint.file("g.h5");
  const TensorInfo norm{"model.norm.weight", {32}, "D"};
  for (const Capture capture : {Capture::hash, Capture::stats}) {
    GenerateResult ignored = checkpoint.generate(path, capture);
    GoldenReader golden(path);
    BOOST_TEST(contains(complaint([&] { read(golden, norm); }),
                        "weights are not in the file and the seed does not give them"));
    BOOST_TEST(contains(complaint([&] { read(golden, norm); }), "with --weights"));
    const CheckpointWeights right(checkpoint.path(), preset("tiny"));
    const CheckpointWeights wrong(other.path(), preset("tiny"));
    golden.weights_from(wrong, "other");
    BOOST_TEST(contains(complaint([&] { read(golden, norm); }),
                        path + ": /weights/model.norm.weight: was made with other weights than "
                               "those of other: expected hash"));
    golden.weights_from(right, "right");
    BOOST_TEST(read(golden, norm) == sines(norm, 0), tt::per_element());
    std::filesystem::remove(path);
  }
}

// Who names a checkpoint for a file that holds the weights gets them checked all the same.
// A golden file of NaN says nothing of anybody: it is not made.
BOOST_AUTO_TEST_CASE(a_weight_that_is_not_finite_is_refused_by_name) {
  class OneBad : public WeightSource {
   public:
    explicit OneBad(double bad) : bad_(bad) {}
    void read(const std::string& name, std::span<double> out) const override {
      drawn_.read(name, out);
      if (name == "model.layers.1.mlp.up_proj.weight") out[3] = bad_;
    }

   private:
    SyntheticWeights drawn_{preset("tiny"), kSeed};
    double bad_;
  };
  const TemporaryFolder folder;
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const OneBad weights(bad);
    GenerateRequest request;
    request.config = preset("tiny");
    request.positions = 3;
    request.tokens = {3, 1, 4};
    request.weights = &weights;
    request.out = folder.file("g.h5");
    BOOST_CHECK_EXCEPTION(generate(request), InputError, [](const InputError& error) {
      return std::string(error.what())
                 .find(
                     "weight model.layers.1.mlp.up_proj.weight: element 3 of 1536: expected a "
                     "finite number, got ") != std::string::npos;
    });
    BOOST_TEST(!std::filesystem::exists(request.out));
  }
}

BOOST_AUTO_TEST_CASE(a_wrong_checkpoint_is_refused_even_if_the_file_has_the_weights) {
  const Checkpoint checkpoint, other(0.5);
  const std::string path = checkpoint.file("g.h5");
  checkpoint.generate(path, Capture::full);
  GoldenReader golden(path);
  const CheckpointWeights wrong(other.path(), preset("tiny"));
  golden.weights_from(wrong, "other");
  BOOST_TEST(contains(complaint([&] {
                        read(golden, {"model.norm.weight", {32}, "D"});
                      }),
                      "was made with other weights"));
}

}  // namespace assay::golden
