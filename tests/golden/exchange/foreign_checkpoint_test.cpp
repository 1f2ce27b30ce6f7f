// Folders and files that are no checkpoint of a whole model in a form that is read: the message
// says what they are and what to do.
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "golden/exchange/checkpoint.h"
#include "golden/exchange/safetensors.h"
#include "tests/golden/safetensors_files.h"

namespace assay::golden {
namespace {

using namespace sample;

// What reading the folder's config and weights says.
std::string said_of(const std::string& folder) {
  return complaint([&] { CheckpointWeights(folder, read_checkpoint_config(folder)); });
}

struct Folder : TemporaryFolder {
  Folder() { put_bytes(file("config.json"), to_json(preset("tiny"))); }

  // One tensor of one byte in model.safetensors.
  void put_weight(const std::string& name, const std::string& dtype = "U8") const {
    put_bytes(file("model.safetensors"),
              safetensors_bytes("{\"" + name + "\":{\"dtype\":\"" + dtype +
                                    "\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                                "x"));
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_name_of_the_hub_is_told_from_a_folder) {
  BOOST_TEST(said_of("meta-llama/Llama-2-7b-hf") ==
             "meta-llama/Llama-2-7b-hf: expected a folder with config.json and model.safetensors, "
             "got nothing; a model of the Hugging Face hub has to be fetched first: hf download "
             "meta-llama/Llama-2-7b-hf --local-dir FOLDER");
  BOOST_TEST(!contains(said_of("./model"), "hub"));
  const Folder folder;
  BOOST_TEST(
      contains(said_of(folder.file("config.json")), "got a file; name the folder that it is in"));
}

BOOST_AUTO_TEST_CASE(a_lora_adapter_is_no_model) {
  const TemporaryFolder folder;
  put_bytes(folder.file("adapter_config.json"), "{}");
  put_bytes(folder.file("adapter_model.safetensors"), "x");
  BOOST_TEST(
      contains(said_of(folder.path()), "got a LoRA adapter (adapter_config.json); merge it"));
}

BOOST_AUTO_TEST_CASE(weights_in_a_format_that_is_not_read_are_named) {
  for (const char* name : {"pytorch_model.bin", "consolidated.00.pth", "model.Q4_K_M.gguf"}) {
    const Folder folder;
    put_bytes(folder.file(name), "x");
    BOOST_TEST(contains(said_of(folder.path()), std::string("got neither (") + name +
                                                    " is of a format that is not read); save"));
  }
}

BOOST_AUTO_TEST_CASE(names_of_wrappers_and_quantisers_are_told) {
  const auto told = [](const std::string& name, const std::string& part) {
    const Folder folder;
    folder.put_weight(name);
    const std::string said = said_of(folder.path());
    BOOST_TEST(contains(said, part), said);
  };
  told("_orig_mod.model.norm.weight", "of torch.compile: save model._orig_mod");
  told("module.model.norm.weight", "of DistributedDataParallel: save model.module");
  told("base_model.model.model.norm.weight", "a PEFT model: save merge_and_unload() of it");
  told("model.layers.0.self_attn.q_proj.lora_A.weight", "LoRA matrices");
  told("model.layers.0.self_attn.q_proj.qweight", "quantised weights (GPTQ, AWQ)");
  told("model.layers.0.self_attn.q_proj.weight.absmax", "quantised weights (bitsandbytes)");
}

BOOST_AUTO_TEST_CASE(eight_bit_floats_are_named) {
  const Folder folder;
  folder.put_weight("model.norm.weight", "F8_E4M3");
  BOOST_TEST(contains(said_of(folder.path()),
                      "got \"F8_E4M3\"; 8-bit floats are not read: convert the tensor to bfloat16"));
}

// Members that are not looked at are in nobody's way.
BOOST_AUTO_TEST_CASE(a_lenient_reader_leaves_a_type_that_is_not_read_alone) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x.safetensors");
  put_bytes(path, safetensors_bytes(R"({"a":{"dtype":"F8_E5M2","shape":[3],"data_offsets":[0,3]},)"
                                    R"("b":{"dtype":"U16","shape":[1],"data_offsets":[3,5]}})",
                                    std::string("abc\x01\x02", 5)));
  const SafetensorsReader reader(path, Reading::lenient);
  std::vector<double> value(1);
  reader.read(*reader.find("b"), value);
  BOOST_TEST(value[0] == 0x0201);
  BOOST_TEST(contains(complaint([&] { reader.read(*reader.find("a"), value); }), "8-bit floats"));
  BOOST_TEST(contains(complaint([&] { SafetensorsReader{path}; }), "8-bit floats"));
}

BOOST_AUTO_TEST_CASE(a_pointer_of_git_lfs_and_a_link_that_leads_nowhere_are_told) {
  const Folder folder;
  put_bytes(folder.file("model.safetensors"),
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  BOOST_TEST(contains(said_of(folder.path()),
                      "expected a .safetensors file, got a Git LFS pointer to it; 'git lfs pull'"));
  std::filesystem::remove(folder.file("model.safetensors"));
  std::filesystem::create_symlink("../blobs/1", folder.file("model.safetensors"));
  BOOST_TEST(contains(said_of(folder.path()), "safetensors: a symbolic link to ../blobs/1, which"));
  std::filesystem::remove(folder.file("config.json"));
  std::filesystem::create_symlink("../blobs/0", folder.file("config.json"));
  BOOST_TEST(said_of(folder.path()) == folder.file("config.json") +
                                           ": a symbolic link to ../blobs/0, which leads nowhere; "
                                           "fetch or copy the file itself");
}

}  // namespace assay::golden
