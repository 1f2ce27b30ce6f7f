// A dump with its tensors under our names and in our shapes, as a map says; without a map as it is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/file/golden_file.h"
#include "golden/maps/name_map.h"

namespace assay::golden {

// What reading a tensor through a map does to it besides moving elements.
struct MappedAs {
  std::string from;            // their name
  std::string axes;            // as the map writes them; "" if it does not
  Shape source;                // of theirs
  int64_t first_position = 0;  // positions before it are not there: they are read as NaN
  bool before_mask = false;    // scores before the mask
  bool is_rounded = false;     // by a factor that is no power of two
  double factor = 1;
  int64_t copies = 1;   // of each element; all of them are to be equal
  int64_t cut_off = 0;  // indices of axes that are cut
};

class MappedDump {
 public:
  explicit MappedDump(const std::string& path, Reading reading = Reading::strict);
  ~MappedDump();

  // For a batch [B,T] of the config's model. A rule that does not fit its tensor is that entry's
  // problem, which reading it throws.
  void apply(const NameMap& map, const ModelConfig& config, int64_t batch, int64_t positions);

  // Under our names; what no rule reads stands under its own.
  const std::vector<DumpEntry>& entries() const { return entries_; }
  const std::vector<std::string>& left_out() const { return reader_.left_out(); }
  void read(const std::string& name, std::span<double> out) const;
  Tensor read(const std::string& name) const;
  std::string attribute(const std::string& name) const { return reader_.attribute(name); }
  std::string config_hash() const { return reader_.config_hash(); }
  std::string seed() const { return reader_.seed(); }

  // What the map would read it from, and is not there; "": nothing.
  std::string missing_source(const std::string& name) const;
  // nullptr: it is read as it stands.
  const MappedAs* mapped(const std::string& name) const;
  // "copies of the k of head 0 differ: ..", where all copies of an element are to be equal; reads
  // the tensor. "" if they are.
  std::string unequal_copies(const std::string& name) const;
  // What is to be known of the tensors of `names`, a line each: what was cut, scaled, not there.
  std::vector<std::string> notes(const std::set<std::string>& names) const;

 private:
  struct Mapped;

  void map_one(const MapEntry& entry, const std::string& name, const Shape& due,
               const std::vector<Axis>& axes);
  const std::vector<double>& source(const std::string& from) const;
  const DumpEntry& readable(const std::string& name) const;  // throws the entry's problem

  std::string path_, map_name_;
  DumpReader reader_;
  std::map<std::string, std::size_t> theirs_;  // index of an entry of the reader
  std::map<std::string, int64_t> extents_;
  std::map<std::string, std::unique_ptr<Mapped>> mapped_;
  std::vector<DumpEntry> entries_;
  // Theirs that stand under a name of ours for which the map reads another.
  std::vector<std::string> shadowed_;
  // By names of ours: what the map reads them from, where the dump has no such tensor.
  std::map<std::string, std::string> without_source_;
  // Of fused tensors parts are read one after the other.
  mutable std::string last_name_;
  mutable std::vector<double> last_;
};

}  // namespace assay::golden
