// Defects of what Mistral, Qwen2 and Qwen3 have beside a Llama, planted in layer 1 of the
// reference's graph: each is found at its tensor and, where a hypothesis says so, named; the clean
// twin passes, and nothing of it leaks.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <optional>

#include "golden/generate/generate.h"
#include "reference/methods/registry.h"
#include "reference/ops/add.h"
#include "reference/ops/linear.h"
#include "reference/ops/mask.h"
#include "reference/ops/rms_norm.h"
#include "reference/ops/rope.h"
#include "tests/golden/sample.h"
#include "tests/mutants/mutant.h"
#include "verify/judge/numerics.h"
#include "verify/leakage/detectors.h"
#include "verify/leakage/structural.h"
#include "verify/subjects/bindings.h"
#include "verify/subjects/graph_subject.h"

namespace {

using namespace assay;
using golden::Precision;
using mutants::Node;
using mutants::NodeData;
using mutants::Rewriting;
using Inputs = std::vector<Node>;

constexpr int64_t kPositions = 12, kWindow = 5;
constexpr double kTheta = 10000;

const std::string kAt = "layers/1/attn/", kWeights = "model.layers.1.self_attn.";

golden::ModelConfig family(const std::string& name) {
  golden::ModelConfig config = golden::family_preset("tiny", name, "family");
  if (config.window != 0) config.window = kWindow;
  return config;
}

struct Defect {
  const char* what;
  std::string family;
  mutants::Replace replace;
  std::string diverged;
  std::string diagnosis;  // words of it; "" if none is asked for
};

// In place of the named tensor.
mutants::Replace at(const std::string& tensor,
                    const std::function<Node(Rewriting&, const Inputs&)>& make) {
  return
      [=](Rewriting& rewriting, const NodeData& node, const Inputs& inputs) -> std::optional<Node> {
        if (node.name != kAt + tensor) return std::nullopt;
        return make(rewriting, inputs);
      };
}

mutants::Replace without_bias(const std::string& projection) {
  return
      [=](Rewriting& rewriting, const NodeData& node, const Inputs& inputs) -> std::optional<Node> {
        const int bias = rewriting.original().find(kWeights + projection + ".bias");
        if (node.inputs.size() != 3 || node.inputs[2] != bias) return std::nullopt;
        return linear(inputs[0], inputs[1]);
      };
}

mutants::Replace with_window(int64_t window) {
  return at("scores", [=](Rewriting&, const Inputs& inputs) {
    return reference::causal_mask(inputs[0], inputs[1], {.window = window});
  });
}

Node normed(Rewriting& rewriting, Node x, const char* gain, double eps = 1e-5) {
  return reference::rms_norm(x, rewriting.of(kWeights + gain + ".weight"), eps);
}

std::vector<Defect> defects() {
  const auto turned = [](Node x) { return reference::rope(x, kTheta, std::nullopt); };
  const auto no_norm = [](Rewriting&, const Inputs& inputs) { return reference::sum({inputs[0]}); };
  const std::string scores = kAt + "scores with causal_mask of " + kAt + "scores by ";
  return {
      {"a window one too wide", "mistral", with_window(kWindow + 1), kAt + "scores",
       scores + "window 6"},
      {"a window one too narrow", "mistral", with_window(kWindow - 1), kAt + "scores",
       scores + "window 4"},
      {"no window", "mistral", with_window(0), kAt + "scores", scores + "no window"},
      {"a lost bias of q", "qwen2", without_bias("q_proj"), kAt + "q",
       kWeights + "q_proj.bias left out"},
      {"a lost bias of k", "qwen2", without_bias("k_proj"), kAt + "k",
       kWeights + "k_proj.bias left out"},
      {"a lost bias of v", "qwen2", without_bias("v_proj"), kAt + "v",
       kWeights + "v_proj.bias left out"},
      {"no norm of q", "qwen3", at("q_norm", no_norm), kAt + "q_norm",
       "with rms_norm of " + kAt + "q_norm left out"},
      {"no norm of k", "qwen3", at("k_norm", no_norm), kAt + "k_norm",
       "with rms_norm of " + kAt + "k_norm left out"},
      {"another eps", "qwen3",
       at("q_norm",
          [](Rewriting& rewriting, const Inputs& inputs) {
            return normed(rewriting, inputs[0], "q_norm", 1e-2);
          }),
       kAt + "q_norm", ""},
      {"a norm twice", "qwen3",
       at("k_norm",
          [](Rewriting& rewriting, const Inputs& inputs) {
            return normed(rewriting, normed(rewriting, inputs[0], "k_norm"), "k_norm");
          }),
       kAt + "k_norm", "with rms_norm of " + kAt + "k_norm applied twice"},
      {"the gain of k for q", "qwen3",
       at("q_norm", [](Rewriting& rewriting,
                       const Inputs& inputs) { return normed(rewriting, inputs[0], "k_norm"); }),
       kAt + "q_norm", ""},
      {"the gain of another layer", "qwen3",
       at("q_norm",
          [](Rewriting& rewriting, const Inputs& inputs) {
            const std::string other = "model.layers.0.self_attn.q_norm.weight";
            return reference::rms_norm(inputs[0], rewriting.of(other), 1e-5);
          }),
       kAt + "q_norm", "replaced by model.layers.0.self_attn.q_norm.weight"},
      {"a norm behind the rotation", "qwen3",
       at("q",
          [=](Rewriting& rewriting, const Inputs&) {
            return normed(rewriting, turned(rewriting.of(kAt + "q_proj")), "q_norm");
          }),
       kAt + "q", kAt + "q with " + kAt + "q_norm behind the rotation"},
      {"no rotation", "qwen3", at("k", no_norm), kAt + "k", "left out"},
  };
}

verify::GraphSubject::Build build(const mutants::Replace& replace) {
  return [replace](const golden::ModelConfig& config, int64_t batch, int64_t positions) {
    auto clean = reference::build_model(config, batch, positions);
    return replace ? mutants::rewrite(*clean, replace) : std::move(clean);
  };
}

struct FamilyCase {
  explicit FamilyCase(const std::string& name) : config(family(name)) {
    golden::GenerateRequest request;
    request.config = config;
    request.batch = 2;
    request.positions = kPositions;
    request.tokens = golden::synthetic_tokens(config.vocab_size, 2, kPositions, request.seed);
    request.out = folder.file("g.h5");
    golden::generate(request);
    reader.emplace(request.out);
  }

  verify::GraphSubject subject(const mutants::Replace& replace, Precision storage) const {
    return {"family",
            build(replace),
            config,
            *reader,
            {.storage = storage,
             .accumulate = storage == Precision::fp64 ? Precision::fp64 : Precision::fp32,
             .wide_attention = true}};
  }

  golden::ModelConfig config;
  golden::sample::TemporaryFolder folder;
  std::optional<golden::GoldenReader> reader;
};

constexpr Precision kStorages[] = {Precision::fp64, Precision::fp32, Precision::bf16};

}  // namespace

BOOST_AUTO_TEST_CASE(every_defect_of_a_family_is_found_where_it_is) {
  for (const Defect& defect : defects()) {
    const FamilyCase file(defect.family);
    for (const Precision storage : kStorages) {
      BOOST_TEST_CONTEXT(defect.what << " in " << defect.family << ", "
                                     << golden::precision_name(storage)) {
        verify::GraphSubject subject = file.subject(defect.replace, storage);
        const verify::NumericsResult result = verify::verify_numerics(*file.reader, subject, {});
        BOOST_TEST(verify::exit_code(result.checks) == 1);
        BOOST_TEST(result.diverged == defect.diverged);
        BOOST_TEST(result.diagnosis.find(defect.diagnosis) != std::string::npos,
                   "diagnosis: " << result.diagnosis);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(every_clean_family_is_accepted) {
  for (const std::string& name : golden::family_names()) {
    const FamilyCase file(name);
    for (const Precision storage : kStorages) {
      BOOST_TEST_CONTEXT(name << ", " << golden::precision_name(storage)) {
        verify::GraphSubject subject = file.subject({}, storage);
        const auto numerics = verify::verify_numerics(*file.reader, subject, {});
        BOOST_TEST(verify::exit_code(numerics.checks) == 0);
        const auto leaks =
            verify::detect_leaks(subject, file.config, verify::read_batch(*file.reader));
        BOOST_TEST(verify::exit_code(leaks.checks) == 0);
      }
    }
    const auto graph = reference::build_model(file.config, 2, kPositions);
    BOOST_TEST((verify::prove_causality(*graph).check.status == verify::Status::pass));
  }
}
