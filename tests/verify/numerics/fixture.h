// Golden files, subjects and planted changes for the tests of verify/numerics.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "golden/file/golden_file.h"
#include "reference/graph/graph.h"
#include "tests/golden/sample.h"
#include "verify/judge/numerics.h"
#include "verify/subjects/graph_subject.h"

namespace assay::verify::testing {

using golden::Precision;

inline constexpr uint64_t kSeed = 3;

golden::ModelConfig config_of(const std::string& preset, const std::string& method);
golden::PrecisionSchedule schedule_of(Precision storage, bool wide_attention = true);

// The reference's golden file for B=2 and T positions; row 1 starts with two positions of padding.
class GoldenFixture {
 public:
  explicit GoldenFixture(const golden::ModelConfig& config, int64_t positions = 12,
                         golden::Capture capture = golden::Capture::full);
  // With weights of one's own.
  GoldenFixture(const golden::ModelConfig& config, const golden::WeightSource& weights,
                int64_t positions, golden::Capture capture);

  const golden::GoldenReader& reader() const { return *reader_; }
  std::string file(const std::string& name) const { return folder_.file(name); }
  GraphSubject reference(Precision storage, bool wide_attention = true) const;
  GraphSubject subject(GraphSubject::Build build, Precision storage) const;

 private:
  golden::sample::TemporaryFolder folder_;
  std::unique_ptr<golden::GoldenReader> reader_;
};

// A subject whose output is altered on its way out: alter() passes on what it likes, as often as it
// likes.
class Altered : public Subject {
 public:
  using Alter = std::function<void(Observed observed, const Receive& receive)>;
  Altered(Subject& inner, Alter alter) : inner_(inner), alter_(std::move(alter)) {}

  std::string describe() const override { return "altered " + inner_.describe(); }
  Capabilities capabilities() const override {
    return can_force ? inner_.capabilities() : Capabilities{};
  }
  golden::PrecisionSchedule precision() const override { return inner_.precision(); }
  golden::DType dtype_of(const std::string& name) const override { return inner_.dtype_of(name); }
  void run(const Batch& batch, const Forced& forced, const Receive& receive) override {
    inner_.run(batch, forced, [&](Observed observed) { alter_(std::move(observed), receive); });
  }
  std::string config_hash() const override { return stated_config_hash; }
  std::string seed() const override { return stated_seed; }

  bool can_force = true;
  std::string stated_config_hash, stated_seed;

 private:
  Subject& inner_;
  Alter alter_;
};

// Passes everything on but the named tensor, which goes through `change`.
Altered::Alter change_one(const std::string& name, std::function<void(Observed&)> change);

// The reference's graph with one change: readers of node `name` read what `edit` makes of it.
using GraphEdit = std::function<reference::Node(reference::Graph& graph, reference::Node original)>;
// Whether the node under copy, described by the first name at or after it, reads the changed node.
using Reader = std::function<bool(const std::string& described)>;
GraphSubject::Build planted(const std::string& name, const GraphEdit& edit, const Reader& reader);

// The whole result as text, for messages of failing tests.
std::string text_of(const NumericsResult& result);
const CheckpointRow& row_of(const NumericsResult& result, const std::string& name);
bool has_fault(const NumericsResult& result, Fault fault, const std::string& name);
int exit_code_of(const NumericsResult& result);

}  // namespace assay::verify::testing
