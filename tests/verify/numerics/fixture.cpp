#include "tests/verify/numerics/fixture.h"

#include <fmt/format.h>

#include <stdexcept>

#include "reference/graph/op.h"
#include "reference/interpreters/value.h"
#include "reference/methods/registry.h"
#include "verify/subjects/bindings.h"

namespace assay::verify::testing {
namespace {

class Write : public reference::Observer {
 public:
  explicit Write(golden::GoldenWriter& writer) : writer_(writer) {}
  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    writer_.write_forward(node.name, value.view());
    return value;
  }

 private:
  golden::GoldenWriter& writer_;
};

Batch padded_batch(const golden::ModelConfig& config, int64_t positions) {
  Batch batch{.batch = 2,
              .positions = positions,
              .tokens = golden::synthetic_tokens(config.vocab_size, 2, positions, kSeed),
              .attention_mask = std::vector<uint8_t>(static_cast<std::size_t>(2 * positions), 1),
              .labels = {}};
  batch.labels = batch.tokens;
  for (int64_t t = 0; t < 2 && positions > 3; ++t) {
    batch.attention_mask[static_cast<std::size_t>(positions + t)] = 0;
    batch.labels[static_cast<std::size_t>(positions + t)] = -100;
  }
  return batch;
}

void write_golden(const std::string& path, const golden::ModelConfig& config,
                  const golden::WeightSource& weights, const Batch& batch,
                  golden::Capture capture) {
  golden::GoldenWriter writer(path, {config, kSeed, "{}"}, capture, false);
  const golden::Shape shape{batch.batch, batch.positions};
  writer.write_input("tokens", shape, batch.tokens);
  writer.write_mask("attention_mask", shape, batch.attention_mask);
  writer.write_input("labels", shape, batch.labels);
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    std::vector<double> values(static_cast<std::size_t>(golden::element_count(info.shape)));
    weights.read(info.name, values);
    writer.write_weight(info.name, {info.shape, values});
  }
  const auto graph = reference::build_model(config, batch.batch, batch.positions);
  Write observer(writer);
  reference::evaluate(*graph, bind(batch, weights), observer);
  writer.finish();
}

}  // namespace

golden::ModelConfig config_of(const std::string& preset, const std::string& method) {
  golden::ModelConfig config = golden::preset(preset);
  config.method = method;
  return config;
}

golden::PrecisionSchedule schedule_of(Precision storage, bool wide_attention) {
  return {.storage = storage,
          .accumulate = storage == Precision::fp64 ? Precision::fp64 : Precision::fp32,
          .wide_attention = wide_attention};
}

GoldenFixture::GoldenFixture(const golden::ModelConfig& config, int64_t positions,
                             golden::Capture capture)
    : GoldenFixture(config, golden::SyntheticWeights(config, kSeed), positions, capture) {}

GoldenFixture::GoldenFixture(const golden::ModelConfig& config, const golden::WeightSource& weights,
                             int64_t positions, golden::Capture capture) {
  const std::string path = folder_.file("golden.h5");
  write_golden(path, config, weights, padded_batch(config, positions), capture);
  reader_ = std::make_unique<golden::GoldenReader>(path);
}

GraphSubject GoldenFixture::reference(Precision storage, bool wide_attention) const {
  return {"reference", reference::build_model, reader_->header().config, *reader_,
          schedule_of(storage, wide_attention)};
}

GraphSubject GoldenFixture::subject(GraphSubject::Build build, Precision storage) const {
  return {"planted", std::move(build), reader_->header().config, *reader_, schedule_of(storage)};
}

Altered::Alter change_one(const std::string& name, std::function<void(Observed&)> change) {
  return [name, change = std::move(change)](Observed observed, const Receive& receive) {
    if (observed.name == name) change(observed);
    receive(std::move(observed));
  };
}

GraphSubject::Build planted(const std::string& name, const GraphEdit& edit, const Reader& reader) {
  return [=](const golden::ModelConfig& config, int64_t batch, int64_t positions) {
    const auto clean = reference::build_model(config, batch, positions);
    auto graph = std::make_unique<reference::Graph>();
    std::vector<reference::Node> copies;
    reference::Node edited;
    const int at = clean->find(name);
    if (at < 0) throw std::logic_error("no node " + name);
    for (int id = 0; id < static_cast<int>(clean->nodes().size()); ++id) {
      const reference::NodeData& node = clean->node(id);
      if (node.weight) {
        copies.push_back(graph->weight(node.name, node.shape()));
      } else if (node.op == nullptr) {
        copies.push_back(graph->input(node.name, node.shape(), node.result.axes));
      } else {
        std::vector<reference::Node> inputs;
        for (const int input : node.inputs) {
          const bool change = input == at && reader(clean->describe(id));
          if (change && edited.graph == nullptr) {
            edited = edit(*graph, copies[static_cast<std::size_t>(input)]);
          }
          inputs.push_back(change ? edited : copies[static_cast<std::size_t>(input)]);
        }
        copies.push_back(graph->add(node.op, inputs));
        if (!node.name.empty()) graph->name(copies.back(), node.name);
      }
    }
    return graph;
  };
}

std::string text_of(const NumericsResult& result) {
  std::string text;
  for (const Check& check : result.checks) {
    text += fmt::format("\n{} {}: {}", status_name(check.status), check.name, check.summary);
    for (const std::string& line : check.details) text += "\n  " + line;
  }
  return text;
}

const CheckpointRow& row_of(const NumericsResult& result, const std::string& name) {
  for (const CheckpointRow& row : result.rows) {
    if (row.name == name) return row;
  }
  throw std::logic_error("no row " + name);
}

bool has_fault(const NumericsResult& result, Fault fault, const std::string& name) {
  if (!name.empty()) return row_of(result, name).fault == fault;
  const std::string prefix = fault_name(fault) + ": ";
  for (const std::string& line : result.checks.at(0).details) {
    if (line.starts_with(prefix)) return true;
  }
  return false;
}

int exit_code_of(const NumericsResult& result) { return exit_code(result.checks); }

}  // namespace assay::verify::testing
