// Two recorded runs side by side: what of each tensor belongs to positions that both share, and
// whether it is the same.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "verify/decoders/common.h"
#include "verify/decoders/rounding.h"
#include "verify/recorded/readings.h"
#include "verify/recorded/recorded_run.h"

namespace assay::verify {

// What a comparison says of the shared positions; the worse, the larger.
enum class Past { same, doubtful, differs };

// A tensor read one way.
struct Reading {
  Layout layout;
  std::vector<int64_t> shared = {};  // positions by row; one number where it has no rows
  Past past = Past::same;
  Apart worst = {};  // the first position that makes it so
  int64_t worst_shared = 0;
  int64_t compared = 0;        // shared positions
  bool later_differs = false;  // at a position behind
};

struct JudgedTensor {
  std::string name;
  std::size_t index = 0;  // in the longer run
  std::vector<Reading> readings = {};
  std::string problem = {};               // why it is not compared; "" if it is
  bool is_left_out = false;               // which nobody minds
  std::string types = {};                 // that both were rounded to, a note
  std::optional<Rounding> rounding = {};  // where the runs have it in two types
};

class RecordedPair {
 public:
  // Throws InputError as judge_dump_pair does.
  RecordedPair(const RecordedRun& a, const RecordedRun& b, const AxesOptions& axes,
               const std::string& ignored);

  bool one_length() const { return batch_a_.positions == batch_b_.positions; }
  const std::vector<int64_t>& common() const { return common_; }  // positions of each row
  const Rounding& rounding() const { return rounding_; }
  const Recording& longer() const { return *longer_; }
  // Of both runs, in the order of the longer one. One that has several readings left may be either.
  const std::vector<JudgedTensor>& tensors() const { return tensors_; }
  // name: why it cannot be compared, though it was asked for.
  const std::map<std::string, std::string>& missing() const { return missing_; }
  // All tensors of either run, and those of them that nobody asks for.
  const std::set<std::string>& names() const { return names_; }
  bool is_ignored(const std::string& name) const { return subject_a_.is_ignored(name); }
  // "[2,31,500] and [2,31,512]", "[2,31,500]" where they are the same, or one has none.
  std::string shapes_text(const std::string& name) const;

 private:
  PairedTensor paired(const JudgedTensor& tensor) const;
  bool is_asked(const std::string& name) const;
  std::map<std::string, golden::DType> round_to_coarser();
  void read();
  void find_missing();
  void note_types(const std::map<std::string, golden::DType>& coarser);
  void judge();
  void add_tensor(const std::string& name, std::size_t index);
  void add_readings(JudgedTensor& tensor, const Layout& layout) const;
  void compare(std::size_t round);
  void add(const Apart& at, const JudgedTensor& tensor, Reading& reading) const;
  Past past_of(const Apart& at, const JudgedTensor& tensor) const;
  void settle(JudgedTensor& tensor) const;
  bool rules_out(const JudgedTensor& tensor, const Reading& clean, const Reading& other) const;

  const AxesOptions& options_;
  std::string path_a_, path_b_;
  RecordedSubject subject_a_, subject_b_;
  Batch batch_a_, batch_b_;
  bool swapped_;  // B is the longer run
  std::vector<int64_t> common_;
  std::set<std::string> names_;
  std::optional<Recording> longer_, shorter_;
  Rounding rounding_;
  PairedBatch paired_batch_;
  std::vector<JudgedTensor> tensors_;
  std::map<std::string, std::string> missing_;
};

// Whether a tensor's values are whole numbers by their type.
bool is_whole(golden::DType type);

}  // namespace assay::verify
