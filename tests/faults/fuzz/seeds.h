// Small inputs that each parser accepts.
#pragma once

#include <string>
#include <vector>

namespace assay::fuzz {

std::vector<std::string> json_seeds();
std::vector<std::string> config_seeds();
std::vector<std::string> suite_seeds();
std::vector<std::string> npy_seeds();
std::vector<std::string> npz_seeds();
std::vector<std::string> safetensors_seeds();
std::vector<std::string> tokens_seeds();      // behind a byte that names the format
std::vector<std::string> checkpoint_seeds();  // behind a byte that names the file
std::vector<std::string> manifest_seeds();
std::vector<std::string> block_seeds();
std::vector<std::string> golden_seeds();
std::vector<std::string> dump_seeds();

// The files of a checkpoint whose only shard is a.safetensors.
struct Checkpoint {
  std::string config, index, shard;
};
Checkpoint checkpoint();

}  // namespace assay::fuzz
