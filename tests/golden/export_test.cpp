// Golden files as .npz, .safetensors and folders of Hugging Face: the same values, or a refusal.
#include "golden/exchange/export.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "golden/exchange/checkpoint.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"
#include "tests/golden/sample.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

using namespace sample;

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

struct Sample : TemporaryFolder {
  explicit Sample(Capture capture = Capture::full) { sample::write(golden(), capture); }
  std::string golden() const { return file("g.h5"); }
};

// Every weight of the model, of which sample.h writes the first four only.
void write_model(const std::string& path, const ModelConfig& config) {
  GoldenWriter writer(path, {.config = config, .seed = kSeed, .provenance = "{}"}, Capture::full,
                      false);
  writer.write_input("tokens", {2, 5}, tokens());
  for (const TensorInfo& info : weight_list(config)) {
    writer.write_weight(info.name, weight(config, info).view());
  }
  writer.finish();
}

}  // namespace

BOOST_AUTO_TEST_CASE(exported_tensors_are_a_dump_with_the_golden_values) {
  const Sample folder;
  const GoldenReader golden(folder.golden());
  for (const char* name : {"t.npz", "t.safetensors"}) {
    const int64_t count = export_tensors(golden, folder.file(name), {});
    BOOST_TEST(count == static_cast<int64_t>(golden.manifest().size()));
    const DumpReader dump(folder.file(name));
    BOOST_TEST(dump.entries().size() == 9u);  // inputs and weights are no candidate
    for (const DumpEntry& entry : dump.entries()) {
      const bool gradient = entry.name.starts_with("grad/");
      const Tensor due = golden.read_tensor((gradient ? "/" : "/forward/") + entry.name);
      BOOST_TEST(entry.shape == due.shape);
      BOOST_TEST((entry.dtype == DType::float64));
      BOOST_TEST(same_bits(dump.read(entry.name).values, due.values), entry.name);
    }
  }
  const DumpReader dump(folder.file("t.safetensors"));
  BOOST_TEST(dump.config_hash() == golden.config_hash());
  BOOST_TEST(dump.seed() == "7");
}

BOOST_AUTO_TEST_CASE(names_and_types_are_those_of_the_golden_file) {
  const Sample folder;
  const GoldenReader golden(folder.golden());
  export_tensors(golden, folder.file("t.safetensors"), {});
  const SafetensorsReader reader(folder.file("t.safetensors"));
  for (const ManifestRow& row : golden.manifest()) {
    const SafetensorsEntry* entry = reader.find(row.path.substr(1));
    BOOST_REQUIRE(entry != nullptr);
    BOOST_TEST((dtype_of(entry->element) == row.dtype), row.path);
    BOOST_TEST(entry->shape == row.shape);
  }
  std::vector<double> exported(10);
  reader.read(*reader.find("inputs/tokens"), exported);
  const std::vector<int32_t> due = tokens();
  BOOST_TEST(exported == std::vector<double>(due.begin(), due.end()), tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_pattern_chooses_and_dtype_rounds_only_when_told) {
  const Sample folder;
  const GoldenReader golden(folder.golden());
  ExportOptions options{.pattern = "forward/layers/1/*", .element = Element::f32};
  BOOST_TEST(contains(complaint([&] { export_tensors(golden, folder.file("a.npz"), options); }),
                      "F32 does not hold 0.333"));
  options.rounding = Rounding::nearest;
  BOOST_TEST(export_tensors(golden, folder.file("a.npz"), options) == 2);
  const DumpReader dump(folder.file("a.npz"));
  std::vector<double> due = hidden().values;
  for (double& x : due) x = static_cast<float>(x);
  BOOST_TEST(dump.read("layers/1/mlp_out").values == due, tt::per_element());
  options.pattern = "layers/*";
  BOOST_TEST(
      contains(complaint([&] { export_tensors(golden, folder.file("b.npz"), options); }),
               "no tensor matches 'layers/*': expected a pattern like 'forward/layers/0/*'"));
}

// Whole numbers keep their type whatever --dtype says.
BOOST_AUTO_TEST_CASE(dtype_is_of_floats_only) {
  const Sample folder;
  export_tensors(GoldenReader(folder.golden()), folder.file("t.safetensors"),
                 {.pattern = "inputs/*", .element = Element::bf16});
  const SafetensorsReader reader(folder.file("t.safetensors"));
  BOOST_TEST((reader.find("inputs/tokens")->element == Element::i32));
  BOOST_TEST((reader.find("inputs/attention_mask")->element == Element::u8));
}

BOOST_AUTO_TEST_CASE(tensors_of_which_only_a_hash_is_there_are_refused_and_drawn_weights_are_not) {
  const Sample folder(Capture::hash);
  const GoldenReader golden(folder.golden());
  BOOST_TEST(contains(complaint([&] { export_tensors(golden, folder.file("t.npz"), {}); }),
                      "/forward/embed: only its hash is in the file"));
  BOOST_TEST(export_tensors(golden, folder.file("w.npz"), {.pattern = "weights/*"}) == 4);
}

BOOST_AUTO_TEST_CASE(an_exported_model_is_a_checkpoint_with_the_same_weights) {
  for (const bool tied : {false, true}) {
    const TemporaryFolder folder;
    ModelConfig config = preset("small");
    config.tie_word_embeddings = tied;
    config.rope_scaling = RopeScaling{};
    write_model(folder.file("g.h5"), config);
    const GoldenReader golden(folder.file("g.h5"));
    // Drawn weights are bfloat16 numbers: every type of float but float16 holds them.
    for (const Element element : {Element::f64, Element::f32, Element::bf16}) {
      const std::string model = folder.file("model-" + element_name(element));
      BOOST_TEST(export_model(golden, model, {.element = element}) == (tied ? 38 : 39));
      const ModelConfig back = read_checkpoint_config(model);
      BOOST_TEST(to_json(back) == to_json(config));
      const CheckpointWeights weights(model, back);
      for (const TensorInfo& info : weight_list(config)) {
        std::vector<double> values(static_cast<std::size_t>(element_count(info.shape)));
        weights.read(info.name, values);
        BOOST_TEST(same_bits(values, weight(config, info).values), info.name);
      }
    }
  }
}

// What transformers looks at before it loads anything.
BOOST_AUTO_TEST_CASE(an_exported_config_says_what_transformers_asks) {
  const TemporaryFolder folder;
  write_model(folder.file("g.h5"), preset("tiny"));
  export_model(GoldenReader(folder.file("g.h5")), folder.file("m"), {.element = Element::bf16});
  const auto config = nlohmann::json::parse(bytes_of(folder.file("m/config.json")));
  BOOST_TEST(config["architectures"][0] == "LlamaForCausalLM");
  BOOST_TEST(config["model_type"] == "llama");
  BOOST_TEST(config["torch_dtype"] == "bfloat16");
  BOOST_TEST(config["head_dim"] == 8);
  BOOST_TEST(SafetensorsReader(folder.file("m/model.safetensors")).metadata("format") == "pt");
}

// A class that would load the folder and compute something else is not named in it.
BOOST_AUTO_TEST_CASE(what_no_class_of_transformers_computes_is_said_in_the_folder) {
  struct Row {
    BlockKind block;
    std::string method;
    int64_t window, sinks;
    const char* architecture;
    const char* note;  // a part of it; "" for none
  };
  for (const Row& row : std::initializer_list<Row>{
           {BlockKind::llama, "plain", 0, 0, "LlamaForCausalLM", ""},
           {BlockKind::llama, "plain", 4, 0, "MistralForCausalLM", ""},
           {BlockKind::llama, "plain", 4, 1, "AssayForCausalLM", "1 positions that stay visible"},
           {BlockKind::llama, "1", 0, 0, "AssayForCausalLM",
            "LlamaForCausalLM computes something "},
           {BlockKind::llama, "1", 0, 0, "AssayForCausalLM", "method 1, of which no class knows"},
           {BlockKind::gpt2, "plain", 0, 0, "GPT2LMHeadModel", ""},
           {BlockKind::gpt2, "1", 0, 0, "AssayForCausalLM", "GPT2LMHeadModel computes something"},
           {BlockKind::gpt2, "plain", 4, 0, "AssayForCausalLM", "a window of 4"}}) {
    const TemporaryFolder folder;
    ModelConfig config = preset("tiny", row.block);
    config.method = row.method;
    config.window = row.window;
    config.sink_tokens = row.sinks;
    write_model(folder.file("g.h5"), config);
    export_model(GoldenReader(folder.file("g.h5")), folder.file("m"), {});
    const auto document = nlohmann::json::parse(bytes_of(folder.file("m/config.json")));
    BOOST_TEST(document["architectures"][0] == row.architecture);
    BOOST_TEST(contains(document["assay"].value("note", ""), row.note));
    BOOST_TEST(document["assay"].contains("note") == (*row.note != '\0'));
    BOOST_TEST(to_json(read_checkpoint_config(folder.file("m"))) == to_json(config));
  }
}

// Its options say the class, or that there is none; and the folder is read as what was written.
BOOST_AUTO_TEST_CASE(an_exported_model_is_of_the_class_that_computes_it) {
  struct Row {
    AttentionBias bias;
    bool qk_norm;
    int64_t window;
    std::vector<int64_t> full_layers;
    const char* model_type;
    const char* note;  // a part of it; "" for none: a class computes the model
  };
  constexpr auto kNone = AttentionBias::none, kQkv = AttentionBias::qkv, kAll = AttentionBias::all;
  for (const Row& row : std::initializer_list<Row>{
           {kNone, false, 0, {}, "llama", ""},
           {kAll, false, 0, {}, "llama", ""},
           {kAll, false, 4, {}, "llama", "a window of 4 beside biases"},
           {kNone, false, 4, {}, "mistral", ""},
           {kNone, false, 4, {1}, "mistral", "a window in some of the layers only"},
           {kQkv, false, 0, {}, "qwen2", ""},
           {kQkv, false, 4, {}, "qwen2", ""},
           {kQkv, false, 4, {0, 2}, "qwen2", ""},
           {kNone, true, 0, {}, "qwen3", ""},
           {kAll, true, 4, {1, 2}, "qwen3", ""},
           {kQkv, true, 4, {}, "qwen3", "biases of q, k and v beside their norms"}}) {
    const TemporaryFolder folder;
    ModelConfig config = preset("tiny");
    config.attention_bias = row.bias;
    config.qk_norm = row.qk_norm;
    config.window = row.window;
    config.full_layers = row.full_layers;
    write_model(folder.file("g.h5"), config);
    export_model(GoldenReader(folder.file("g.h5")), folder.file("m"), {});
    const auto document = nlohmann::json::parse(bytes_of(folder.file("m/config.json")));
    BOOST_TEST(document["model_type"] == row.model_type);
    BOOST_TEST(contains(document["assay"].value("note", ""), row.note));
    BOOST_TEST((document["architectures"][0] == "AssayForCausalLM") == (*row.note != '\0'));
    BOOST_TEST(to_json(read_checkpoint_config(folder.file("m"))) == to_json(config));
  }
}

BOOST_AUTO_TEST_CASE(a_model_that_is_no_llama_is_not_called_one) {
  const TemporaryFolder folder;
  ModelConfig config = preset("tiny");
  config.method = "pt";
  write_model(folder.file("g.h5"), config);
  BOOST_TEST(contains(
      complaint([&] { export_model(GoldenReader(folder.file("g.h5")), folder.file("m"), {}); }),
      "expected the weights of a LlamaForCausalLM or GPT2LMHeadModel, got those of method pt"));
}

BOOST_AUTO_TEST_CASE(models_are_not_written_over_or_halved) {
  const Sample folder;
  BOOST_TEST(contains(
      complaint([&] { export_model(GoldenReader(folder.golden()), folder.file("m"), {}); }),
      "not in the golden file; a model needs all its weights"));
  write_model(folder.file("whole.h5"), preset("tiny"));
  const GoldenReader golden(folder.file("whole.h5"));
  BOOST_TEST(
      contains(complaint([&] { export_model(golden, folder.golden(), {}); }), "cannot be made: "));
  export_model(golden, folder.file("m"), {});
  BOOST_TEST(contains(complaint([&] { export_model(golden, folder.file("m"), {}); }),
                      "m/config.json: the file exists; --force"));
  BOOST_TEST(export_model(golden, folder.file("m"), {.force = true}) == 30);
}

}  // namespace assay::golden
