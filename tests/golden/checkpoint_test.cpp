// Checkpoint folders: weights come out as they lie in the files, and what does not fit the config
// is listed.
#include "golden/exchange/checkpoint.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden/exchange/safetensors.h"
#include "golden/file/hasher.h"
#include "tests/golden/sample.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

using namespace sample;
using nlohmann::json;

constexpr char kWhole[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";
constexpr char kEmbedding[] = "model.embed_tokens.weight", kNorm[] = "model.norm.weight";
constexpr char kQuery[] = "model.layers.1.self_attn.q_proj.weight";

ModelConfig config_of(bool tied = false) {
  ModelConfig config = preset("tiny");
  config.tie_word_embeddings = tied;
  return config;
}

// Thirds: next to none of them is a float32.
std::vector<double> values_of(const TensorInfo& tensor) {
  std::vector<double> values(static_cast<std::size_t>(element_count(tensor.shape)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<double>(i % 101 + tensor.name.size()) / 3.0;
  }
  return values;
}

void write_tensors(const std::string& path, const std::vector<TensorInfo>& tensors,
                   Element element = Element::f64) {
  std::vector<ExchangeTensor> list;
  for (const TensorInfo& tensor : tensors) list.push_back({tensor.name, element, tensor.shape});
  write_safetensors(
      path, list, {{"format", "pt"}},
      [&](const std::string& name) {
        for (const TensorInfo& tensor : tensors) {
          if (tensor.name == name) return values_of(tensor);
        }
        throw InternalError(name);
      },
      Rounding::nearest, true);
}

// A folder with one file of these tensors.
struct Folder : TemporaryFolder {
  explicit Folder(const std::vector<TensorInfo>& tensors) {
    write_tensors(file(kWhole), tensors);
    put_bytes(file("config.json"), to_json(config_of()));
  }
};

std::vector<TensorInfo> changed(const std::function<void(std::vector<TensorInfo>&)>& change,
                                bool tied = false) {
  std::vector<TensorInfo> tensors = weight_list(config_of(tied));
  change(tensors);
  return tensors;
}

TensorInfo& find(std::vector<TensorInfo>& tensors, const std::string& name) {
  return *std::find_if(tensors.begin(), tensors.end(),
                       [&](const TensorInfo& tensor) { return tensor.name == name; });
}

std::vector<double> read(const WeightSource& weights, const TensorInfo& tensor) {
  std::vector<double> out(static_cast<std::size_t>(element_count(tensor.shape)));
  weights.read(tensor.name, out);
  return out;
}

std::string complaint_about(const std::string& folder, bool tied = false) {
  return complaint([&] { CheckpointWeights(folder, config_of(tied)); });
}

// Every weight in one of two shards, and an index that says where.
struct Sharded : TemporaryFolder {
  std::vector<TensorInfo> first, second;
  json index;

  Sharded() {
    for (const TensorInfo& tensor : weight_list(config_of())) {
      const bool in_first = first.size() < 10;
      (in_first ? first : second).push_back(tensor);
      index["weight_map"][tensor.name] = in_first ? "a.safetensors" : "b.safetensors";
    }
    write();
  }

  void write() const {
    write_tensors(file("a.safetensors"), first);
    write_tensors(file("b.safetensors"), second);
    put_bytes(file(kIndex), index.dump());
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(every_weight_comes_out_as_it_lies_in_the_file) {
  const Folder folder(weight_list(config_of()));
  const CheckpointWeights weights(folder.path(), config_of());
  for (const TensorInfo& tensor : weight_list(config_of())) {
    BOOST_TEST(read(weights, tensor) == values_of(tensor), tt::per_element());
  }
  std::vector<double> out(7);
  BOOST_TEST(contains(complaint([&] { weights.read("model.norm.bias", out); }),
                      "model.norm.bias: the checkpoint has no such weight"));
  BOOST_TEST(contains(complaint([&] { weights.read(kNorm, out); }),
                      "model.norm.weight: expected 7 elements, got [32]"));
}

BOOST_AUTO_TEST_CASE(narrow_types_are_widened_exactly) {
  for (const Element element : {Element::f32, Element::bf16, Element::f16}) {
    const TemporaryFolder folder;
    write_tensors(folder.file(kWhole), weight_list(config_of()), element);
    const CheckpointWeights weights(folder.path(), config_of());
    for (const TensorInfo& tensor : weight_list(config_of())) {
      const std::vector<std::byte> stored =
          encode(element, values_of(tensor), Rounding::nearest, "");
      std::vector<double> due(values_of(tensor).size());
      decode(element, stored.data(), due, "");
      BOOST_TEST(read(weights, tensor) == due, tt::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(the_first_part_of_a_name_may_be_missing) {
  const Folder folder(changed([](auto& tensors) {
    for (TensorInfo& tensor : tensors) {
      if (tensor.name.starts_with("model.")) tensor.name.erase(0, 6);
    }
  }));
  const CheckpointWeights weights(folder.path(), config_of());
  BOOST_TEST(read(weights, {kNorm, {32}, "D"}) == values_of({"norm.weight", {32}, "D"}),
             tt::per_element());
}

BOOST_AUTO_TEST_CASE(shards_are_one_checkpoint) {
  const Sharded folder;
  const CheckpointWeights weights(folder.path(), config_of());
  for (const TensorInfo& tensor : weight_list(config_of())) {
    BOOST_TEST(read(weights, tensor) == values_of(tensor), tt::per_element());
  }
}

BOOST_AUTO_TEST_CASE(missing_surplus_and_misshaped_tensors_are_listed_together) {
  const Folder folder(changed([](auto& tensors) {
    find(tensors, kNorm).name = "model.norm.scale";
    find(tensors, kQuery).shape = {16, 64};
  }));
  BOOST_TEST(complaint_about(folder.path()) ==
             folder.path() +
                 ": 3 tensors are not what or where they should be:\n"
                 "  model.layers.1.self_attn.q_proj.weight: expected [32,32] of floats, got F64 "
                 "[16,64]\n"
                 "  model.norm.weight: expected [32], got nothing\n"
                 "  model.norm.scale: expected nothing of this name, got F64 [32]");
}

BOOST_AUTO_TEST_CASE(weights_of_whole_numbers_are_refused) {
  const TemporaryFolder folder;
  write_tensors(folder.file(kWhole), weight_list(config_of()), Element::f64);
  std::vector<ExchangeTensor> list;
  for (const TensorInfo& tensor : weight_list(config_of())) {
    list.push_back(
        {tensor.name, tensor.name == kNorm ? Element::i32 : Element::bf16, tensor.shape});
  }
  write_safetensors(
      folder.file(kWhole), list, {},
      [&](const std::string& name) {
        for (const ExchangeTensor& tensor : list) {
          if (tensor.name != name) continue;
          return std::vector<double>(static_cast<std::size_t>(element_count(tensor.shape)), 1.0);
        }
        throw InternalError(name);
      },
      Rounding::refuse, true);
  BOOST_TEST(contains(complaint_about(folder.path()),
                      "1 tensors are not what or where they should be:\n"
                      "  model.norm.weight: expected [32] of floats, got I32 [32]"));
}

BOOST_AUTO_TEST_CASE(a_wrong_model_does_not_fill_the_screen) {
  const Folder folder({{"something", {1}, "D"}});
  const std::string said = complaint_about(folder.path());
  BOOST_TEST(contains(said, ": 31 tensors are not"));
  BOOST_TEST(contains(said, "and 19 more"));
}

BOOST_AUTO_TEST_CASE(buffers_that_carry_nothing_are_passed_over) {
  const Folder folder(changed([](auto& tensors) {
    tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {4}, "D"});
    tensors.push_back({"model.rotary_emb.inv_freq", {4}, "D"});
    tensors.push_back({"h.0.attn.bias", {1, 1, 4, 4}, "DDDD"});
    tensors.push_back({"h.0.attn.masked_bias", {}, ""});
  }));
  BOOST_TEST(complaint_about(folder.path()) == "");
  const Folder other(changed([](auto& tensors) {
    tensors.push_back({"h.0.attn.c_attn.bias", {4}, "D"});
  }));
  BOOST_TEST(contains(complaint_about(other.path()), "h.0.attn.c_attn.bias: expected nothing"));
}

BOOST_AUTO_TEST_CASE(a_tied_head_may_stand_there_only_with_the_embedding_s_values) {
  const Shape shape{64, 32};
  const auto with_head = [&](const std::vector<double>& head) {
    auto folder = std::make_unique<TemporaryFolder>();
    std::vector<ExchangeTensor> list{{"lm_head.weight", Element::f64, shape}};
    for (const TensorInfo& tensor : weight_list(config_of(true))) {
      list.push_back({tensor.name, Element::f64, tensor.shape});
    }
    write_safetensors(
        folder->file(kWhole), list, {},
        [&](const std::string& name) {
          if (name == "lm_head.weight") return head;
          for (const TensorInfo& tensor : weight_list(config_of(true))) {
            if (tensor.name == name) return values_of(tensor);
          }
          throw InternalError(name);
        },
        Rounding::refuse, false);
    return folder;
  };
  std::vector<double> head = values_of({kEmbedding, shape, "DD"});
  BOOST_TEST(complaint_about(with_head(head)->path(), true) == "");
  head.back() += 1e-12;
  BOOST_TEST(contains(complaint_about(with_head(head)->path(), true),
                      "lm_head.weight: expected the embedding's values, which it is tied to, got "
                      "F64 [64,32]"));
}

BOOST_AUTO_TEST_CASE(shards_that_belie_the_index_are_named) {
  {
    Sharded folder;
    std::filesystem::remove(folder.file("b.safetensors"));
    BOOST_TEST(complaint_about(folder.path()) == folder.file("b.safetensors") + ": no such file");
  }
  {
    Sharded folder;
    std::swap(folder.first.back(), folder.second.back());
    folder.write();
    const std::string said = complaint_about(folder.path());
    BOOST_TEST(contains(said,
                        "lm_head.weight: expected in b.safetensors as the index says, got "
                        "nothing there"));
    BOOST_TEST(contains(said,
                        "lm_head.weight: expected in b.safetensors as the index says, got it "
                        "in a.safetensors"));
  }
  {
    Sharded folder;
    folder.second.push_back({"model.extra", {2}, "D"});
    folder.write();
    BOOST_TEST(contains(complaint_about(folder.path()),
                        "model.extra: expected in no file as the index says, got it in b.safet"));
  }
  for (const char* name : {"../a.safetensors", "/etc/passwd", "a.bin", ""}) {
    Sharded folder;
    folder.index["weight_map"][kNorm] = name;
    folder.write();
    BOOST_TEST(contains(complaint_about(folder.path()), "in the same folder, got"), name);
  }
}

BOOST_AUTO_TEST_CASE(an_index_that_is_none_is_named) {
  for (const char* text : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})",
                           R"({"weight_map":{"a":"x","a":"y"}})"}) {
    const TemporaryFolder folder;
    put_bytes(folder.file(kIndex), text);
    BOOST_TEST(complaint_about(folder.path()).starts_with(folder.file(kIndex) + ": expected "),
               text);
  }
}

BOOST_AUTO_TEST_CASE(folders_without_a_model_are_named) {
  const TemporaryFolder folder;
  BOOST_TEST(contains(complaint_about(folder.path()), "got neither; save the model with safe_ser"));
  BOOST_TEST(
      contains(complaint_about(folder.file("no")), "expected a folder with config.json and"));
  write_tensors(folder.file(kWhole), weight_list(config_of()));
  put_bytes(folder.file(kIndex), "{}");
  BOOST_TEST(contains(complaint_about(folder.path()), "got both; keep one of them"));
  BOOST_TEST(complaint([&] { read_checkpoint_config(folder.path()); }) ==
             folder.file("config.json") + ": no such file");
}

BOOST_AUTO_TEST_CASE(config_json_is_read_as_old_and_new_versions_write_it) {
  const TemporaryFolder folder;
  const auto with = [&](const std::function<void(json&)>& change) {
    json document = json::parse(to_json(config_of()));
    change(document);
    put_bytes(folder.file("config.json"), document.dump());
    return read_checkpoint_config(folder.path());
  };
  BOOST_TEST(to_json(with([](json& c) { c["model_type"] = "llama"; })) == to_json(config_of()));
  BOOST_TEST(with([](json& c) {
               c["rope_scaling"] = {{"rope_type", "default"}};
             }).rope_scaling.has_value() == false);
  const ModelConfig newer = with([](json& c) {
    c.erase("rope_theta");
    c.erase("rope_scaling");
    c["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 5e5},
                            {"factor", 4.0},           {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 512}};
  });
  BOOST_TEST(newer.rope_theta == 5e5);
  BOOST_TEST(newer.rope_scaling.value().factor == 4.0);
  BOOST_TEST(contains(complaint([&] { with([](json& c) { c["model_type"] = "gemma"; }); }),
                      "got \"gemma\""));
  BOOST_TEST(
      contains(complaint([&] {
                 with([](json& c) {
                   c["rope_scaling"] = {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}};
                 });
               }),
               "partial_rotary_factor: expected 1, got 0.5"));
}

BOOST_AUTO_TEST_CASE(contents_are_hashes_of_files_and_no_paths) {
  const Sharded folder;
  const std::string said = CheckpointWeights(folder.path(), config_of()).contents();
  const json list = json::parse(said);
  BOOST_REQUIRE(list.size() == 2u);
  const std::string bytes = bytes_of(folder.file("b.safetensors"));
  BOOST_TEST(list[1]["file"] == "b.safetensors");
  BOOST_TEST(list[1]["bytes"] == bytes.size());
  BOOST_TEST(list[1]["xxh3_128"] == hash_hex(bytes.data(), bytes.size()));
  BOOST_TEST(!contains(said, folder.path()));
}

}  // namespace assay::golden
