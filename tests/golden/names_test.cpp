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

BOOST_AUTO_TEST_CASE(every_tensor_has_a_letter_for_each_axis) {
  ModelConfig config = preset("tiny");
  for (const char* method : {"plain", "1", "5.1"}) {
    config.method = method;
    for (const TensorInfo& info : tensor_list(config, 2, 5)) {
      BOOST_TEST(info.axes.size() == info.shape.size(), info.name);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_method_without_a_list_is_refused) {
  ModelConfig config = preset("tiny");
  config.method = "9.9";
  BOOST_CHECK_EXCEPTION(tensor_list(config, 1, 4), InputError, [](const InputError& error) {
    return error.what() == std::string("method 9.9: no list of tensors; have plain, 1, 5.1");
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
