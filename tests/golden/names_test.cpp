// Names of tensors and patterns over them. That the lists are those of the reference's graph is
// tested with the reference (tests/reference/methods).
#include "golden/names.h"

#include <boost/test/unit_test.hpp>

#include "golden/error.h"

namespace assay::golden {

BOOST_AUTO_TEST_CASE(patterns_match_as_in_a_shell) {
  BOOST_TEST(matches("", "logits"));
  BOOST_TEST(matches("logits", "logits"));
  BOOST_TEST(!matches("logit", "logits"));
  BOOST_TEST(!matches("logits", "logit"));
  BOOST_TEST(matches("layers/*/attn/q", "layers/12/attn/q"));
  BOOST_TEST(matches("layers/*", "layers/1/recompute/0/v"));  // * crosses slashes
  BOOST_TEST(matches("*/v", "layers/1/recompute/0/v"));
  BOOST_TEST(!matches("*/v", "layers/1/recompute/0/v2"));
  BOOST_TEST(matches("layers/?/output", "layers/7/output"));
  BOOST_TEST(!matches("layers/?/output", "layers/17/output"));
  BOOST_TEST(matches("*a*b*", "xxaxxbxx"));
  BOOST_TEST(!matches("*a*b*", "xxbxxaxx"));
}

BOOST_AUTO_TEST_CASE(method_1_lists_a_recompute_for_every_earlier_layer) {
  ModelConfig config = preset("tiny");
  const std::size_t plain = tensor_list(config, 2, 5).size();
  config.method = "1";
  // L = 3: layers 1 and 2 recompute 1 + 2 layers of 7 tensors, and name a sum each.
  BOOST_TEST(tensor_list(config, 2, 5).size() == plain + 3 * 7 + 2);
}

// Layers 1 and 2 of 3 recompute 1 + 2 layers up to their attention output, and name a sum each.
BOOST_AUTO_TEST_CASE(attention_methods_list_no_mlp_of_an_earlier_layer) {
  ModelConfig config = preset("tiny");
  const std::size_t plain = tensor_list(config, 2, 5).size();
  for (const char* method : {"2", "4.1", "4.2", "1-plan-a", "1-plan-b"}) {
    config.method = method;
    BOOST_TEST(tensor_list(config, 2, 5).size() == plain + 3 * 4 + 2, method);
  }
}

BOOST_AUTO_TEST_CASE(every_tensor_and_weight_has_a_letter_for_each_axis) {
  for (const MethodInfo& method : methods()) {
    ModelConfig config = preset("tiny");
    config.method = method.id;
    for (const auto& list : {tensor_list(config, 2, 5), weight_list(config)}) {
      for (const TensorInfo& info : list) {
        BOOST_TEST(info.axes.size() == info.shape.size(), info.name);
      }
    }
  }
}

// The specification's names and shapes, for layer 2 (m = 3) of tiny (D = 32) with P = 7.
BOOST_AUTO_TEST_CASE(learned_parameters_stand_after_their_layers_weights) {
  const auto list = [](const char* method, const char* form) {
    ModelConfig config = preset("tiny");
    config.method = method;
    config.form = form;
    if (find_method(method).takes("score_positions")) config.score_positions = 7;
    std::string text;
    const std::string layer = "model.layers.2.";
    for (const TensorInfo& info : weight_list(config)) {
      if (!info.name.starts_with(layer)) continue;
      const std::string suffix = info.name.substr(layer.size());
      if (suffix.starts_with("mix") || suffix.starts_with("self_attn.score")) {
        text += suffix + shape_text(info.shape) + " ";
      } else {
        text.clear();  // what a method learns comes last
      }
    }
    return text;
  };
  BOOST_TEST(list("1", "") == "");
  BOOST_TEST(list("3.2", "") == "mix.weight[3] ");
  BOOST_TEST(list("4.2", "") == "mix.weight[3] ");
  BOOST_TEST(list("5.3", "") == "");
  BOOST_TEST(list("5.4", "") == "self_attn.score.a[] self_attn.score.b[] ");
  BOOST_TEST(list("5.5", "") == "self_attn.score.alpha[3] ");
  BOOST_TEST(list("5.5", "softmax") == "self_attn.score.z[3] ");
  BOOST_TEST(list("5.5", "free") == "self_attn.score.a[3] ");
  BOOST_TEST(list("5.6", "") == "self_attn.score.a[3] self_attn.score.b[3] ");
  BOOST_TEST(list("5.6", "log") == "self_attn.score.u[3] self_attn.score.b[3] ");
  BOOST_TEST(list("5.7", "free") == "self_attn.score.a[3] ");
  BOOST_TEST(list("5.7", "log") == "self_attn.score.u[3] ");
  BOOST_TEST(list("5.8", "") == "self_attn.score.a[] ");
  BOOST_TEST(list("5.1A", "") == "self_attn.score.w[3,7,7] ");
  BOOST_TEST(list("5.1B", "") == "self_attn.score.w[3,7] ");
  BOOST_TEST(list("C-base", "") == "self_attn.score.w[7] self_attn.score.c[7] ");
  const std::string gate = "self_attn.score.gate.";
  BOOST_TEST(list("5.1E", "") ==
             gate + "norm[32] " + gate + "w1[3,32] " + gate + "w2[3,3] " + gate + "bias[3] ");
  BOOST_TEST(list("D-base", "") ==
             gate + "norm[32] " + gate + "w1[3,32] " + gate + "w2[1,3] " + gate + "bias[1] ");
}

BOOST_AUTO_TEST_CASE(a_mix_of_one_term_is_no_parameter) {
  ModelConfig config = preset("tiny");
  config.method = "3.2";
  BOOST_TEST(learned_weights(config, 0).empty());
  BOOST_TEST(learned_weights(config, 1).size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_unknown_method_is_refused_with_those_there_are) {
  ModelConfig config = preset("tiny");
  config.method = "9.9";
  BOOST_CHECK_EXCEPTION(tensor_list(config, 1, 4), InputError, [](const InputError& error) {
    const std::string text = error.what();
    return text.starts_with("--method 9.9: no such method; have plain, 1, 1-plan-a, ") &&
           text.ends_with(", C-base, D-base, pt ('assay methods' lists them)");
  });
}

BOOST_AUTO_TEST_CASE(more_positions_than_parameters_are_refused) {
  ModelConfig config = preset("tiny");
  config.method = "5.1B";
  config.score_positions = 7;
  BOOST_TEST(tensor_list(config, 1, 7).size() > 0u);
  BOOST_CHECK_EXCEPTION(tensor_list(config, 1, 8), InputError, [](const InputError& error) {
    return error.what() == std::string(
                               "method 5.1B: its parameters are for 7 positions: expected "
                               "T <= 7, got 8; raise score_positions");
  });
}

BOOST_AUTO_TEST_CASE(a_tied_head_is_no_weight_of_its_own) {
  ModelConfig config = preset("tiny");
  const std::size_t untied = weight_list(config).size();
  BOOST_TEST(weight_list(config).back().name == "lm_head.weight");
  config.tie_word_embeddings = true;
  BOOST_TEST(weight_list(config).size() == untied - 1);
}

}  // namespace assay::golden
