// Planted defects are found at the right node and named by their mechanism.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>

#include "reference/methods/registry.h"
#include "reference/ops/mask.h"
#include "reference/ops/rms_norm.h"
#include "reference/ops/rope.h"
#include "reference/ops/scale.h"
#include "reference/ops/scores.h"
#include "reference/ops/softmax.h"
#include "tests/verify/numerics/fixture.h"
#include "verify/diagnosis/diagnosis.h"
#include "verify/diagnosis/rearrange.h"
#include "verify/numerics/views.h"

namespace assay::verify::testing {
namespace {

using reference::Graph;
using reference::Node;

// "a/b", or "op (before a/b)" for an unnamed node on the way to a/b.
Reader only(const std::string& name) {
  return [name](const std::string& described) { return described.find(name) != std::string::npos; };
}

struct Planted {
  const char* what;
  std::string method, at;
  GraphEdit edit;
  Reader reader;
  std::string diverged, diagnosis;
};

Node softmax_again(Graph& graph, Node probs) {
  const Node mask{&graph, graph.find("attention_mask")};
  return reference::softmax(reference::causal_mask(probs, mask));
}

Node turned(Graph&, Node x) { return rearrange(x, x.data().result, transpose_last_two(x.shape())); }

Node zero(Graph&, Node x) {
  const auto elements = static_cast<std::size_t>(golden::element_count(x.shape()));
  return rearrange(x, x.data().result, std::vector<int64_t>(elements, kZero));
}

// Layer 0's probabilities without the mask, Dh = 8.
Node unmasked_again(Graph& graph, Node) {
  const Node q{&graph, graph.find("layers/0/attn/q")}, k{&graph, graph.find("layers/0/attn/k")};
  return reference::softmax(
      reference::scale(reference::attention_scores(q, k), 1 / std::sqrt(8.0)));
}

Node first_head_zero(Graph&, Node q) {
  const golden::Shape& s = q.shape();
  std::vector<int64_t> from;
  for (int64_t i = 0; i < golden::element_count(s); ++i) {
    from.push_back(i / (s[2] * s[3]) % s[1] == 0 ? kZero : i);
  }
  return rearrange(q, q.data().result, from);
}

std::vector<Planted> defects() {
  const std::string replay = "layers/2/recompute/0/context";
  return {
      {"re-softmax", "1", "layers/0/attn/probs", softmax_again, only(replay), replay,
       "equals layers/2/recompute/0/context with layers/0/attn/probs replaced by softmax of the "
       "golden probabilities"},
      {"transposed replay", "1", "layers/0/attn/probs", turned, only(replay), replay,
       "equals layers/2/recompute/0/context with layers/0/attn/probs transposed"},
      {"wrong layer's probabilities", "1", "layers/0/attn/probs",
       [](Graph& graph, Node) {
         return Node{&graph, graph.find("layers/1/attn/probs")};
       },
       only(replay), replay,
       "equals layers/2/recompute/0/context with layers/0/attn/probs replaced by "
       "layers/1/attn/probs"},
      {"wrong layer's norm", "1", "model.layers.0.input_layernorm.weight",
       [](Graph& graph, Node) {
         return Node{&graph, graph.find("model.layers.2.input_layernorm.weight")};
       },
       only("layers/2/recompute/0/attn_norm"), "layers/2/recompute/0/attn_norm",
       "equals layers/2/recompute/0/attn_norm with model.layers.0.input_layernorm.weight replaced "
       "by model.layers.2.input_layernorm.weight"},
      {"silent fallback", "1", "layers/2/mlp/sum", zero, only("layers/2/output"), "layers/2/output",
       "equals layers/2/output with layers/2/mlp/sum left out"},
      {"dropped residual", "plain", "layers/1/input", zero, only("layers/1/attn_residual"),
       "layers/1/attn_residual", "equals layers/1/attn_residual with layers/1/input left out"},
      {"scale of the stream", "plain", "layers/1/attn/context",
       [](Graph&, Node x) { return reference::scale(x, 0.5); }, only("layers/1/attn/out"),
       "layers/1/attn/out", "equals layers/1/attn/out times 1/2"},
      {"tiled heads", "plain", "layers/1/attn/v",
       [](Graph&, Node x) {
         const golden::Shape& s = x.shape();
         return rearrange(x, {{s[0], 4, s[2], s[3]}, "BGTD"}, tile_heads(s, 4));
       },
       only("layers/1/attn/context"), "layers/1/attn/context",
       "equals layers/1/attn/context with layers/1/attn/v tiled over query heads (h mod Hkv) "
       "instead of repeated"},
      {"unmasked replay", "1", "layers/0/attn/probs", unmasked_again, only(replay), replay,
       "equals layers/2/recompute/0/context with causal_mask of layers/0/attn/scores left out"},
      {"one head of zeros", "plain", "layers/1/attn/q", first_head_zero,
       only("layers/1/attn/scores"), "layers/1/attn/scores", "where it is outside, equals zero"},
  };
}

BOOST_AUTO_TEST_SUITE(diagnosis)

BOOST_AUTO_TEST_CASE(planted_defects_are_localised_and_named) {
  for (const Planted& defect : defects()) {
    const GoldenFixture golden(config_of("tiny", defect.method));
    for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      for (const bool force : {true, false}) {
        GraphSubject inner =
            golden.subject(planted(defect.at, defect.edit, defect.reader), storage);
        Altered subject(
            inner, [](Observed observed, const Receive& receive) { receive(std::move(observed)); });
        subject.can_force = force;
        const NumericsResult result = verify_numerics(golden.reader(), subject, {});
        BOOST_TEST_CONTEXT(defect.what << ", " << golden::precision_name(storage) << ", forced "
                                       << force << text_of(result)) {
          BOOST_TEST(exit_code_of(result) == 1);
          BOOST_TEST(result.diverged == defect.diverged);
          BOOST_TEST(result.diagnosis == defect.diagnosis);
        }
      }
    }
  }
}

// A window or a number of sinks that is off is named with what it should be.
BOOST_AUTO_TEST_CASE(a_window_that_is_off_is_named) {
  golden::ModelConfig config = config_of("tiny", "plain");
  config.window = 4;
  config.sink_tokens = 2;
  const GoldenFixture golden(config);
  struct Off {
    int64_t window, sinks;
    const char* by;
  };
  for (const Off& off : {Off{3, 2, "window 3"}, Off{5, 2, "window 5"}, Off{0, 0, "no window"},
                         Off{4, 1, "1 sinks"}, Off{4, 3, "3 sinks"}, Off{4, 0, "no sinks"}}) {
    golden::ModelConfig wrong = config;
    wrong.window = off.window;
    wrong.sink_tokens = off.sinks;
    for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      GraphSubject subject = golden.subject(
          [wrong](const golden::ModelConfig&, int64_t batch, int64_t positions) {
            return reference::build_model(wrong, batch, positions);
          },
          storage);
      const NumericsResult result = verify_numerics(golden.reader(), subject, {});
      BOOST_TEST_CONTEXT(off.by << ", " << golden::precision_name(storage) << text_of(result)) {
        BOOST_TEST(exit_code_of(result) == 1);
        BOOST_TEST(result.diverged == "layers/0/attn/scores");
        BOOST_TEST(result.diagnosis ==
                   "equals layers/0/attn/scores with causal_mask of layers/0/attn/scores by " +
                       std::string(off.by) + " instead of window 4, 2 sinks");
      }
    }
  }
}

// What Qwen2 and Qwen3 have beside a Llama, wrong in one layer.
BOOST_AUTO_TEST_CASE(options_of_the_llama_block_that_are_off_are_named) {
  golden::ModelConfig config = config_of("tiny", "plain");
  config.attention_bias = golden::AttentionBias::all;
  config.qk_norm = true;
  const GoldenFixture golden(config);
  const auto of = [](Graph& graph, const std::string& name) {
    return Node{&graph, graph.find(name)};
  };
  const std::string at = "layers/1/attn/", weights = "model.layers.1.self_attn.";
  const auto normed = [=](Graph& graph, Node x, const std::string& gain, double eps) {
    return reference::rms_norm(x, of(graph, weights + gain + ".weight"), eps);
  };
  const auto lost = [](Graph& graph, Node x) { return zero(graph, x); };
  const auto turned_first = [=](Graph& graph, Node) {
    const Node x = reference::rope(of(graph, at + "k_proj"), 10000, std::nullopt);
    return normed(graph, x, "k_norm", 1e-5);
  };
  const std::vector<Planted> off{
      {"a lost bias of k", "", weights + "k_proj.bias", lost, only(at + "k_proj"), at + "k_proj",
       "equals layers/1/attn/k_proj with model.layers.1.self_attn.k_proj.bias left out"},
      {"a lost bias of v", "", weights + "v_proj.bias", lost, only(at + "v"), at + "v",
       "equals layers/1/attn/v with model.layers.1.self_attn.v_proj.bias left out"},
      {"a lost bias of o", "", weights + "o_proj.bias", lost, only(at + "out"), at + "out",
       "equals layers/1/attn/out with model.layers.1.self_attn.o_proj.bias left out"},
      {"no norm", "", at + "q_norm", [=](Graph& graph, Node) { return of(graph, at + "q_proj"); },
       only(at + "q"), at + "q", ""},
      {"the gain of k for q", "", weights + "q_norm.weight",
       [=](Graph& graph, Node) { return of(graph, weights + "k_norm.weight"); },
       only(at + "q_norm"), at + "q_norm", ""},
      {"a norm with another eps", "", at + "q_norm",
       [=](Graph& graph, Node) { return normed(graph, of(graph, at + "q_proj"), "q_norm", 1e-2); },
       only(at + "q"), at + "q", ""},
      {"a norm behind the rotation", "", at + "k", turned_first, only(at + "scores"), at + "scores",
       ""}};
  for (const Planted& defect : off) {
    for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      GraphSubject subject =
          golden.subject(planted(defect.at, defect.edit, defect.reader), storage);
      const NumericsResult result = verify_numerics(golden.reader(), subject, {});
      BOOST_TEST_CONTEXT(defect.what << ", " << golden::precision_name(storage)
                                     << text_of(result)) {
        BOOST_TEST(exit_code_of(result) == 1);
        BOOST_TEST(result.diverged == defect.diverged);
        if (!defect.diagnosis.empty()) BOOST_TEST(result.diagnosis == defect.diagnosis);
      }
    }
  }
}

// The dictionary against itself: a candidate that is what a hypothesis says is explained by it, or
// by an earlier one of the same value; the clean value by none.
BOOST_AUTO_TEST_CASE(every_hypothesis_is_recognised) {
  const GoldenFixture golden(config_of("tiny", "1"));
  const Case file(golden.reader(), "");
  const golden::PrecisionSchedule schedule = schedule_of(Precision::fp32);
  const GoldenValues values(golden.reader());
  const LocalInputs inputs = forced_inputs(file, schedule, values);
  const Cut cut{.given = inputs.replaced, .value = [&](const reference::NodeData& node) {
                  return node.op == nullptr ? file.bindings(node) : inputs.value(node.name);
                }};
  std::set<std::string> claims;
  for (const std::string name :
       {"layers/1/attn/q", "layers/1/attn/scores", "layers/2/recompute/1/context",
        "layers/2/attn_norm", "layers/1/output"}) {
    const int target = file.graph->find(name);
    const Recomputed clean = Rebuild(*file.graph, cut).evaluate(target, schedule);
    BOOST_TEST(diagnose(*file.graph, cut, target, schedule, clean.value) == "");
    for (const Hypothesis& hypothesis : hypotheses(*file.graph, cut, target)) {
      Rebuild rebuild(*file.graph, cut);
      rebuild.edit(hypothesis.at, hypothesis.edit);
      const Recomputed wrong = rebuild.evaluate(target, schedule);
      const std::string found = diagnose(*file.graph, cut, target, schedule, wrong.value);
      // A mask applied twice is the mask, and a softmax of unmasked scores may be NaN.
      const bool shows = compare(clean.value, wrong.value, wrong.bound).outside > 0 &&
                         compare(wrong.value, wrong.value, wrong.bound).outside == 0;
      BOOST_TEST((found != "") == shows, hypothesis.claim << ": " << found);
      claims.insert(found);
    }
  }
  BOOST_TEST(
      claims.count("equals layers/1/attn/q with rope of layers/1/attn/q on interleaved pairs "
                   "instead of halves") == 1u);
  BOOST_TEST(claims.count(
                 "equals layers/1/attn/scores with scale of layers/1/attn/scores left out") == 1u);
}

BOOST_AUTO_TEST_CASE(report_names_place_inputs_and_the_command_to_see_it_again) {
  const GoldenFixture golden(config_of("tiny", "plain"));
  GraphSubject reference = golden.reference(Precision::fp64);
  Altered subject(reference, change_one("layers/1/attn/q", [](Observed& observed) {
                    observed.tensor.values[(2 * 12 + 5) * 8 + 3] = 7;  // (b0,h2,t5,d3)
                  }));
  const NumericsResult result =
      verify_numerics(golden.reader(), subject, {.command = "assay verify g.h5"});
  const auto& block = result.first_divergence;
  BOOST_REQUIRE(block.size() >= 4u);
  BOOST_TEST(block[0].starts_with("FAIL /layers/1/attn/q [2,4,12,8] float64  1 of 768 outside"),
             block[0]);
  BOOST_TEST(block[1].find("first at (b0,h2,t5,d3)") != std::string::npos, block[1]);
  BOOST_TEST(block[1].ends_with("candidate 7"), block[1]);
  BOOST_TEST(block[2] == "     all at b0, h2, t5, d3");
  BOOST_TEST(
      block[3].find("earlier checkpoints pass: the fault is inside this node") != std::string::npos,
      block[3]);
  BOOST_TEST(block.back() == "     again: assay verify g.h5 --only /layers/1/attn/q");
}

// One number always is something times another one: that is no cause.
BOOST_AUTO_TEST_CASE(a_wrong_loss_is_not_explained_by_a_gain) {
  const GoldenFixture golden(config_of("tiny", "plain"));
  for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
    GraphSubject reference = golden.reference(storage);
    for (const double gain : {1.04, 2.0, 1.0 / 3}) {
      Altered subject(reference, change_one("loss", [gain](Observed& observed) {
                        double& loss = observed.tensor.values[0];
                        loss = golden::round_to(Precision::fp32, gain * loss);
                      }));
      const NumericsResult result = verify_numerics(golden.reader(), subject, {});
      BOOST_TEST(result.diverged == "loss", text_of(result));
      BOOST_TEST(result.diagnosis == "", text_of(result));
    }
  }
}

// Eight bits do not tell sqrt(20000) from sqrt(20001): the gain is given as it was measured.
BOOST_AUTO_TEST_CASE(a_gain_is_read_as_a_root_only_where_its_neighbours_do_not_fit) {
  const GoldenFixture golden(config_of("tiny", "plain"));
  const std::string out = "layers/1/attn/out";
  const auto diagnosis = [&](Precision storage, double gain) {
    const auto scaled = [gain](Graph&, Node x) { return reference::scale(x, gain); };
    GraphSubject subject =
        golden.subject(planted("layers/1/attn/context", scaled, only(out)), storage);
    return verify_numerics(golden.reader(), subject, {}).diagnosis;
  };
  BOOST_TEST(diagnosis(Precision::fp32, std::sqrt(20000.0)) ==
             "equals " + out + " times sqrt(20000)");
  BOOST_TEST(
      diagnosis(Precision::bf16, std::sqrt(20000.0)).starts_with("equals " + out + " times 141."));
  BOOST_TEST(diagnosis(Precision::bf16, std::sqrt(2.0)) == "equals " + out + " times sqrt(2)");
}

namespace {

// A dump of the tensors that `kept` names, of a model with the attention of layer 2 doubled.
NumericsResult judge_partial(const GoldenFixture& golden, Precision storage,
                             const std::vector<std::string>& kept) {
  const auto doubled = [](Graph&, Node x) { return reference::scale(x, 2); };
  GraphSubject inner =
      golden.subject(planted("layers/2/attn/context", doubled, only("layers/2/attn/out")), storage);
  Altered subject(inner, [&](Observed observed, const Receive& receive) {
    for (const std::string& pattern : kept) {
      if (golden::matches(pattern, observed.name)) return receive(std::move(observed));
    }
  });
  subject.can_force = false;
  return verify_numerics(golden.reader(), subject, {});
}

}  // namespace

// What lies between two tensors that were handed over is said as that, and nothing is said to pass
// that was not compared.
BOOST_AUTO_TEST_CASE(a_partial_dump_is_blamed_between_what_it_holds) {
  const GoldenFixture golden(config_of("tiny", "1"));
  for (const Precision storage : {Precision::fp64, Precision::fp32}) {
    const NumericsResult outputs = judge_partial(golden, storage, {"layers/*/output"});
    BOOST_TEST_CONTEXT(golden::precision_name(storage) << text_of(outputs)) {
      BOOST_TEST(outputs.diverged == "layers/2/output");
      const std::string& blame = outputs.first_divergence.at(2);
      BOOST_TEST(blame.find("between ") != std::string::npos, blame);
      BOOST_TEST(
          blame.find("the candidate's layers/0/output, layers/1/output") != std::string::npos,
          blame);
      BOOST_TEST(blame.find("and layers/2/output: the former pass; ") != std::string::npos, blame);
      BOOST_TEST(blame.find("tensors were not compared: ") != std::string::npos, blame);
    }
    // The context is there, what it is made from is not.
    const NumericsResult two =
        judge_partial(golden, storage, {"layers/2/attn/context", "layers/2/attn/out"});
    const std::string& known = two.first_divergence.at(2);
    BOOST_TEST(
        known == "     its inputs (layers/2/attn/context) pass: the fault is inside this node",
        text_of(two));
    const NumericsResult last = judge_partial(golden, storage, {"logits"});
    for (const std::string& line : last.first_divergence) {
      BOOST_TEST(line.find(" pass") == std::string::npos, text_of(last));
    }
  }
}

// A layer's error that is within its worst case and yet too large for the free-running bound: that
// the layer is right was not measured.
BOOST_AUTO_TEST_CASE(a_worst_case_over_a_whole_layer_acquits_nobody) {
  const GoldenFixture golden(config_of("tiny", "plain"));
  GraphSubject reference = golden.reference(Precision::fp32);
  const std::string last = "layers/2/output";
  const auto judge = [&](double change) {
    Altered subject(reference, [&](Observed seen, const Receive& receive) {
      if (!golden::matches("layers/*/output", seen.name)) return;
      if (seen.name == last) seen.tensor.values[17] += change;
      receive(std::move(seen));
    });
    subject.can_force = false;
    return verify_numerics(golden.reader(), subject, {.pattern = "layers/*/output"});
  };
  const double large = 1;
  const NumericsResult found = judge(0.9 * large / row_of(judge(large), last).local_ratio);
  BOOST_TEST_CONTEXT(text_of(found)) {
    BOOST_TEST(row_of(found, last).local_outside == 0);
    BOOST_TEST(found.diverged == last);
    const std::string& blame = found.first_divergence.at(3);
    BOOST_TEST(blame.find("right") == std::string::npos, blame);
    BOOST_TEST(blame.find("between the candidate's layers/1/output and layers/2/output: ") !=
               std::string::npos);
    BOOST_TEST(blame.find("tensors were not compared: ") != std::string::npos, blame);
    BOOST_TEST(blame.find("; or inherited: a worst-case bound over all that lies between does not "
                          "tell which") != std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify::testing
