// Names of tensors and patterns over them. That the lists are those of the reference's graph is
// tested with the reference (tests/reference/methods).
#include "golden/contract/names.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "golden/contract/precision.h"

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

// A post-norm layer norms what the residual sums give; its second norm gives the output.
BOOST_AUTO_TEST_CASE(norms_are_listed_where_they_stand) {
  const auto list = [](BlockKind block, NormPosition norm) {
    ModelConfig config = preset("tiny", block);
    config.norm = norm;
    config.method = "1";
    std::string text;
    for (const TensorInfo& info : tensor_list(config, 1, 4)) {
      if (info.name.starts_with("layers/1/")) text += info.name.substr(9) + " ";
      if (info.name == "final_norm") text += "final_norm";
    }
    return text;
  };
  const std::string attention =
      "attn/q attn/k attn/v attn/scores attn/probs attn/context attn/out ";
  const std::string again = "recompute/0/";
  const std::string pre_again = again + "attn_norm " + again + "v " + again + "context " + again +
                                "attn_out " + again + "mlp_norm " + again + "mlp_act " + again +
                                "mlp_out mlp/sum ";
  BOOST_TEST(list(BlockKind::llama, NormPosition::pre) ==
             "input attn_norm " + attention +
                 "attn_residual mlp_norm mlp/gate mlp/up mlp/act mlp/out " + pre_again +
                 "output final_norm");
  BOOST_TEST(list(BlockKind::gpt2, NormPosition::pre) ==
             "input attn_norm " + attention + "attn_residual mlp_norm mlp/up mlp/act mlp/out " +
                 pre_again + "output final_norm");
  BOOST_TEST(list(BlockKind::gpt2, NormPosition::post) ==
             "input " + attention + "attn_residual attn_norm mlp/up mlp/act mlp/out " + again +
                 "v " + again + "context " + again + "attn_out " + again + "attn_norm " + again +
                 "mlp_act " + again + "mlp_out mlp/sum mlp_residual output ");
}

// The names and shapes of Hugging Face's GPT2LMHeadModel, with a key/value head for two heads.
BOOST_AUTO_TEST_CASE(gpt2_weights_have_the_names_and_layouts_of_a_checkpoint) {
  ModelConfig config = preset("tiny", BlockKind::gpt2);
  config.num_hidden_layers = 1;
  config.num_key_value_heads = 2;
  std::string text;
  for (const TensorInfo& info : weight_list(config))
    text += info.name + shape_text(info.shape) + "\n";
  const std::string layer = "transformer.h.0.";
  BOOST_TEST(text == "transformer.wte.weight[64,32]\ntransformer.wpe.weight[1024,32]\n" + layer +
                         "ln_1.weight[32]\n" + layer + "ln_1.bias[32]\n" + layer +
                         "attn.c_attn.weight[32,64]\n" + layer + "attn.c_attn.bias[64]\n" + layer +
                         "attn.c_proj.weight[32,32]\n" + layer + "attn.c_proj.bias[32]\n" + layer +
                         "ln_2.weight[32]\n" + layer + "ln_2.bias[32]\n" + layer +
                         "mlp.c_fc.weight[32,128]\n" + layer + "mlp.c_fc.bias[128]\n" + layer +
                         "mlp.c_proj.weight[128,32]\n" + layer + "mlp.c_proj.bias[32]\n" +
                         "transformer.ln_f.weight[32]\ntransformer.ln_f.bias[32]\n");
  config.method = "3.2";
  config.num_hidden_layers = 2;
  BOOST_TEST(learned_weights(config, 1).at(0).info.name == "transformer.h.1.mix.weight");
}

// The names, shapes and order of Qwen2ForCausalLM and Qwen3ForCausalLM.
BOOST_AUTO_TEST_CASE(biases_and_norms_of_projections_stand_where_a_checkpoint_has_them) {
  const auto attention = [](AttentionBias bias, bool qk_norm) {
    ModelConfig config = preset("tiny");
    config.attention_bias = bias;
    config.qk_norm = qk_norm;
    const std::string below = "model.layers.0.self_attn.";
    std::string text;
    for (const TensorInfo& info : weight_list(config)) {
      if (!info.name.starts_with(below)) continue;
      text += info.name.substr(below.size()) + shape_text(info.shape) + " ";
    }
    return text;
  };
  BOOST_TEST(attention(AttentionBias::none, false) ==
             "q_proj.weight[32,32] k_proj.weight[16,32] v_proj.weight[16,32] "
             "o_proj.weight[32,32] ");
  BOOST_TEST(attention(AttentionBias::qkv, false) ==
             "q_proj.weight[32,32] q_proj.bias[32] k_proj.weight[16,32] k_proj.bias[16] "
             "v_proj.weight[16,32] v_proj.bias[16] o_proj.weight[32,32] ");
  BOOST_TEST(attention(AttentionBias::all, true) ==
             "q_proj.weight[32,32] q_proj.bias[32] k_proj.weight[16,32] k_proj.bias[16] "
             "v_proj.weight[16,32] v_proj.bias[16] o_proj.weight[32,32] o_proj.bias[32] "
             "q_norm.weight[8] k_norm.weight[8] ");
}

BOOST_AUTO_TEST_CASE(normed_heads_have_tensors_of_their_own) {
  ModelConfig config = preset("tiny");
  const std::size_t plain = tensor_list(config, 2, 5).size();
  config.qk_norm = true;
  std::string text;
  for (const TensorInfo& info : tensor_list(config, 2, 5)) {
    if (info.name.starts_with("layers/0/attn/")) text += info.name.substr(14) + " ";
  }
  BOOST_TEST(text == "q_proj q_norm q k_proj k_norm k v scores probs context out ");
  BOOST_TEST(tensor_list(config, 2, 5).size() == plain + 3 * 4);
}

// Nothing norms the whole stack of post-norm layers, so there is no ln_f either.
BOOST_AUTO_TEST_CASE(a_post_norm_gpt2_has_no_final_norm_to_learn) {
  ModelConfig config = preset("tiny", BlockKind::gpt2);
  const std::size_t pre = weight_list(config).size();
  config.norm = NormPosition::post;
  BOOST_TEST(weight_list(config).size() == pre - 2);
}

BOOST_AUTO_TEST_CASE(more_positions_than_learned_ones_are_refused) {
  ModelConfig config = preset("tiny", BlockKind::gpt2);
  config.max_position_embeddings = 7;
  BOOST_TEST(tensor_list(config, 1, 7).size() > 0u);
  BOOST_CHECK_EXCEPTION(tensor_list(config, 1, 8), InputError, [](const InputError& error) {
    return error.what() ==
           std::string("tokens: the model has learned 7 positions: expected T <= 7, got 8");
  });
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

// The names and shapes of docs/methods.md, for layer 2 (m = 3) of tiny (D = 32) with P = 7.
// Scores and probabilities, and they alone, have an axis of queries and one of keys.
BOOST_AUTO_TEST_CASE(attention_matrices_are_known_by_their_names) {
  for (const char* method : {"1", "5.1", "pt"}) {
    ModelConfig config = preset("tiny");
    config.method = method;
    for (const int64_t groups : {1, 2}) {
      config.pt.head_groups = groups;
      config.pt.schedule = ProbTransformer::Schedule::sync;  // heads before the first round too
      for (const TensorInfo& info : tensor_list(config, 2, 5)) {
        BOOST_TEST(is_attention_matrix(info.name) == (info.axes == "BHTS"), info.name);
      }
    }
  }
}

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
             gate + "norm[32] " + gate + "w1[1,32] " + gate + "w2[1,1] " + gate + "bias[1] ");
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
