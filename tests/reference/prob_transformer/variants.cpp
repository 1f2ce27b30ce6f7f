#include "tests/reference/prob_transformer/variants.h"

namespace assay::reference::testing {
namespace {

std::vector<Variant> make_variants() {
  const std::vector<int64_t> near_and_far{2, 4};
  using enum PT::Message;
  const auto sync = PT::Schedule::sync;
  const auto in_turn = PT::Updates::in_turn;
  const auto causal = PT::Output::causal;
  const auto labels = PT::Read::labels;
  std::vector<Variant> variants{
      {"defaults", pt_config()},
      {"symmetric", pt_config({.message = symmetric})},
      {"head", pt_config({.message = head})},
      {"sync", pt_config({.schedule = sync})},
      {"sync, head", pt_config({.message = head, .schedule = sync})},
      {"temperatures", pt_config({.lambda_h = 0.15, .lambda_z = 1.7})},
      {"steps", pt_config({.head_step = 0.6, .label_step = 0.7})},
      {"damping", pt_config({.head_damping = 0.3, .label_damping = 0.4})},
      {"steps and damping, sync", pt_config({.schedule = sync,
                                             .lambda_z = 0.8,
                                             .head_step = 0.6,
                                             .label_step = 0.7,
                                             .head_damping = 0.3,
                                             .label_damping = 0.4})},
      {"two sides", pt_config({.distances = std::vector<int64_t>{}})},
      {"distances", pt_config({.distances = near_and_far})},
      {"distances, symmetric", pt_config({.message = symmetric, .distances = near_and_far})},
      {"causal, head", pt_config({.message = head, .causal_heads = true, .output = causal})},
      {"causal, symmetric, distances, labels read", pt_config({.message = symmetric,
                                                               .distances = near_and_far,
                                                               .causal_heads = true,
                                                               .output = causal,
                                                               .read = labels})},
      {"causal heads, sync, masked labels",
       pt_config({.message = head, .schedule = sync, .causal_heads = true})},
      {"labels read", pt_config({.read = labels})},
      {"head groups", pt_config({.head_groups = 2})},
      {"head groups, sync, steps",
       pt_config({.schedule = sync, .head_step = 0.6, .head_groups = 2})},
      {"head groups in turn", pt_config({.head_groups = 3, .updates = in_turn})},
      {"head groups in turn, head, again",
       pt_config({.iterations = 4, .message = head, .head_groups = 3, .updates = in_turn})},
      {"head groups in turn, steps, damping", pt_config({.iterations = 4,
                                                         .head_step = 0.6,
                                                         .head_damping = 0.3,
                                                         .distances = near_and_far,
                                                         .head_groups = 2,
                                                         .updates = in_turn})},
      {"label groups", pt_config({.label_groups = 2})},
      {"label groups, symmetric, distances, labels read", pt_config({.message = symmetric,
                                                                     .label_step = 0.7,
                                                                     .distances = near_and_far,
                                                                     .label_groups = 2,
                                                                     .read = labels})},
  };
  const std::size_t untied = variants.size();
  for (const std::size_t i : {std::size_t{0}, untied - 2}) {
    variants.push_back(variants[i]);
    variants.back().title += ", tied";
    variants.back().config.tie_word_embeddings = true;
  }
  return variants;
}

// W = 3 to 6: one, two, two and three words on either side.
std::vector<Variant> make_windowed() {
  const std::vector<int64_t> near_and_far{2, 4};
  std::vector<Variant> variants{
      {"centred window 3", pt_config()},
      {"centred window 4, sync, head",
       pt_config({.message = PT::Message::head, .schedule = PT::Schedule::sync})},
      {"centred window 5, steps, distances, symmetric",
       pt_config({.message = PT::Message::symmetric, .head_step = 0.6, .distances = near_and_far})},
      {"centred window 6, head groups", pt_config({.head_groups = 2})}};
  int64_t window = 3;
  for (Variant& variant : variants) {
    variant.config.window = window++;
    variant.config.window_kind = golden::WindowKind::centred;
  }
  return variants;
}

}  // namespace

const std::vector<Variant>& pt_windowed_variants() {
  static const std::vector<Variant> variants = make_windowed();
  return variants;
}

std::vector<Variant> pt_all_variants() {
  std::vector<Variant> all = pt_variants();
  all.insert(all.end(), pt_windowed_variants().begin(), pt_windowed_variants().end());
  return all;
}

ModelConfig pt_config(const PT& options) {
  ModelConfig config = ragged_config("pt");
  config.pt = options;
  if (options.channels == 0) config.pt.channels = 3;
  return config;
}

const std::vector<Variant>& pt_variants() {
  static const std::vector<Variant> variants = make_variants();
  return variants;
}

}  // namespace assay::reference::testing
