// The golden file: HDF5, readable with any HDF5 tool. Schema "assay-golden", version 1.
//
//   /                       attributes schema, schema_version, created, config, method, seed,
//                           provenance, capture, config_hash, root_hash
//   /inputs/<name>          tokens int32 [B,T], attention_mask uint8 [B,T], labels int32 [B,T],
//                           position_ids int32 [T]
//   /weights/<HF name>      float32 where it holds every value exactly, else float64
//   /forward/<name>         float64
//   /grad/<name>            float64
//   /bound/<name>           float64 scalar: largest |element - its value in double-double|
//   /sigma/<schedule>/<name>  float32: noise of rounding under a schedule ("bf16"), root mean
//                           square over K runs; /sigma/<schedule>/setup int32 [2] has K and seed
//   /dependence/<name>      uint8 [T,T], of each tensor with positions: 1 where its position t may
//                           depend on position s of tokens or attention_mask, of its own row of the
//                           batch, 0 where it does not for any values of them; attribute
//                           axes = "TS"
//   /manifest               one row a dataset (ManifestRow and the offset of its raw data in the
//                           file), rows in order of writing
//
// The file starts with a user block of 512 bytes of text (HDF5 skips it): the file's size, place
// and hash of the manifest's raw data, an XXH3-128 of all metadata (every byte that is neither in
// the block nor raw data), and a hash of the block itself. The manifest holds a hash of each
// dataset's raw data. So no byte of the file is without a check, and the reader checks block, size,
// manifest and metadata, in this order, with plain reads: HDF5 interprets metadata only once they
// are known to be as written (golden/file/manifest.h). An HDF5 tool that rewrites the file breaks
// the checksum.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/tensor.h"
#include "golden/contract/weights.h"
#include "golden/file/element.h"

namespace assay::golden {

// hash: manifest with hashes only. stats: manifest with hashes and statistics. full: the data too.
// Inputs, bounds, sigmas and dependences are always stored in full.
enum class Capture { hash, stats, full };

Capture parse_capture(const std::string& text);
std::string capture_name(Capture capture);

struct Statistics {
  double min = 0, max = 0, rms = 0;  // over the finite elements
  double zero_share = 0;             // share of elements that are +0 or -0
  int64_t nonfinite = 0;             // -inf of masked scores included
};

struct ManifestRow {
  std::string path;  // "/forward/layers/0/attn/q"
  DType dtype = DType::float64;
  Shape shape;
  std::string role;     // input, weight, forward, grad, bound, sigma, dependence
  std::string hash;     // XXH3-128 of the raw little-endian bytes, 32 hex digits
  Statistics stats;     // zeros under Capture::hash
  bool stored = false;  // whether the data itself is in the file
};

// What identifies a run; root_hash covers config and seed.
struct Header {
  ModelConfig config;
  uint64_t seed = 0;
  std::string provenance;  // JSON
  // Weights that config and seed do not give: they are stored whatever is captured.
  bool store_weights = false;
};

// Calls come from one thread at a time. Writes beside the final name and renames in finish().
// Destroyed without finish(), it removes what it wrote; a killed process leaves only
// "<path>.partial-<pid>".
class GoldenWriter {
 public:
  // Throws InputError for an existing file without force, a folder that is missing or read-only,
  // and fewer free bytes than expected_bytes.
  GoldenWriter(const std::string& path, Header header, Capture capture, bool force,
               uint64_t expected_bytes = 0);
  ~GoldenWriter();
  GoldenWriter(const GoldenWriter&) = delete;
  GoldenWriter& operator=(const GoldenWriter&) = delete;

  void write_input(const std::string& name, const Shape& shape, std::span<const int32_t> values);
  void write_mask(const std::string& name, const Shape& shape, std::span<const uint8_t> values);
  void write_weight(const std::string& name, const TensorView& values);  // float32 if exact
  void write_forward(const std::string& name, const TensorView& values);
  void write_grad(const std::string& name, const TensorView& values);
  void write_bound(const std::string& name, double largest_error);
  void write_sigma_setup(const std::string& schedule, int runs, uint64_t seed);
  void write_sigma(const std::string& schedule, const std::string& name, const TensorView& values);
  // may_depend [T,T], 0 or 1.
  void write_dependence(const std::string& name, int64_t positions,
                        std::span<const uint8_t> may_depend);

  // Manifest, root hash, sync, rename. Returns the root hash (32 hex digits).
  std::string finish();

  uint64_t bytes_written() const;
  double write_seconds() const;  // spent in HDF5 writes and the final sync

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Opening checks schema, version, size, the hash of all metadata, and the root hash; every read
// checks the hash of what it reads. All failures are InputError with file, dataset and cause.
class GoldenReader : public WeightSource {
 public:
  explicit GoldenReader(const std::string& path);
  ~GoldenReader() override;

  const std::string& path() const;
  const Header& header() const;
  const std::string& created() const;
  const std::string& root_hash() const;
  const std::string& config_hash() const;
  Capture capture() const;
  int64_t batch() const;
  int64_t positions() const;

  const std::vector<ManifestRow>& manifest() const;
  const ManifestRow* find(const std::string& path) const;  // nullptr if not declared

  Tensor read_tensor(const std::string& path) const;  // any float type, as doubles
  void read_tensor(const std::string& path, std::span<double> out) const;  // into its elements
  std::vector<int32_t> read_int32(const std::string& path) const;
  std::vector<uint8_t> read_uint8(const std::string& path) const;
  // A weight: from the file, or under Capture::hash and stats drawn again from the seed; with
  // weights_from from there. Always checked against the manifest's hash.
  void read(const std::string& name, std::span<double> out) const override;

  // Takes weights from `source`, which must outlive the reader.
  void weights_from(const WeightSource& source, const std::string& name_of_source);

  // Reads and checks every stored dataset; returns the bytes read.
  uint64_t check_all() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A file with tensors of a candidate: datasets named as in a golden file, at the root, below
// /candidate or below /forward. Its format goes by its name: .npz, .safetensors, else HDF5.
// Attributes (.safetensors: metadata) "config_hash" and "seed", of the golden file's header, are
// read if present.
struct DumpEntry {
  std::string name;  // without the leading /candidate/ or /forward/
  DType dtype = DType::float64;
  Shape shape = {};
  std::string problem = {};  // why it is no tensor, a message; "" if it is one
};

class DumpReader {
 public:
  // A member that is no tensor (text, booleans of Python, objects, a link to another file) is an
  // error, or with Reading::lenient an entry with a problem, which reading it throws.
  explicit DumpReader(const std::string& path, Reading reading = Reading::strict);
  ~DumpReader();
  const std::vector<DumpEntry>& entries() const;
  // Names of what is no dump's: a golden file's manifest, inputs and weights.
  const std::vector<std::string>& left_out() const;
  const DumpEntry& entry(const std::string& name) const;  // throws InputError if there is none
  std::string config_hash() const;                        // "" if the file does not say
  std::string seed() const;                               // "" if the file does not say
  std::string attribute(const std::string& name) const;   // a text, "" if the file does not say
  Tensor read(const std::string& name) const;
  void read(const std::string& name, std::span<double> out) const;  // into as many as it has

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes a dump that DumpReader reads; existing files are replaced. dtype float64 or float32.
class DumpWriter {
 public:
  DumpWriter(const std::string& path, const std::string& config_hash, uint64_t seed);
  ~DumpWriter();
  void write(const std::string& name, const TensorView& values, DType dtype);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay::golden
