#include "verify/training/readers/names.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <sstream>
#include <utility>
#include <vector>

namespace assay::verify::training {
namespace {

struct ColumnNames {
  Quantity quantity;
  std::initializer_list<const char*> names;  // the first is preferred
};

const std::initializer_list<ColumnNames>& column_names() {
  static const std::initializer_list<ColumnNames> kAll{
      {Quantity::step,
       {"step", "global_step", "trainer_global_step", "train_global_step", "steps", "iter",
        "iteration", "iterations", "iters", "it", "num_updates", "train_num_updates",
        "valid_num_updates", "update", "updates", "s", "train_step"}},
      {Quantity::epoch, {"epoch", "train_epoch", "epochs"}},
      {Quantity::train,
       {"train_loss",
        "loss",
        "loss_train",
        "training_loss",
        "tr_loss",
        "trl",
        "lm_loss",
        "train_lm_loss",
        "train_loss_epoch",
        "train_loss_step",
        "train_nll",
        "train_nll_loss",
        "train_ce",
        "train_cross_entropy",
        "batch_loss",
        "loss_step",
        "train_epoch_loss",
        "epoch_loss",
        "lm_loss_value",
        "xent",
        "train"}},
      {Quantity::val,
       {"val_loss",
        "eval_loss",
        "valid_loss",
        "validation_loss",
        "loss_val",
        "loss_eval",
        "loss_valid",
        "loss_validation",
        "dev_loss",
        "test_loss",
        "loss_test",
        "loss_dev",
        "tel",
        "val_lm_loss",
        "val_loss_epoch",
        "val_nll",
        "valid_nll_loss",
        "val_ce",
        "val_cross_entropy",
        "lm_loss_validation",
        "val_epoch_loss",
        "validation_epoch_loss",
        "evaluation_loss",
        "validation_xent",
        "valid_xent",
        "val"}},
      {Quantity::fresh, {"fresh_loss", "loss_fresh", "eval_fresh_loss", "unseen_loss", "fresh"}},
      {Quantity::grad_norm,
       {"grad_norm", "train_grad_norm", "gradient_norm", "global_grad_norm", "grad_norm_total",
        "total_grad_norm", "gradnorm", "gnorm", "train_gnorm", "norm", "total_norm"}},
      {Quantity::loss_scale, {"loss_scale", "lossscale", "scale", "train_loss_scale"}},
  };
  return kAll;
}

// "gpt2 run - train/loss" of an export of wandb.
std::string without_run(const std::string& name) {
  const std::size_t dash = name.rfind(" - ");
  return dash == std::string::npos ? name : name.substr(dash + 3);
}

std::vector<std::string> words_of(const std::string& name) {
  std::istringstream parts(plain_name(name));
  std::vector<std::string> words;
  for (std::string word; std::getline(parts, word, '_');) words.push_back(word);
  return words;
}

struct Word {
  const char* word;
  Set set;
};
constexpr Word kSetWords[] = {
    {"train", kTrain}, {"training", kTrain}, {"val", kVal},       {"valid", kVal},
    {"eval", kVal},    {"dev", kVal},        {"test", kVal},      {"validation", kVal},
    {"fresh", kFresh}, {"unseen", kFresh},   {"heldout", kFresh},
};

int set_of_word(const std::string& word) {
  for (const Word& row : kSetWords) {
    if (word == row.word) return row.set;
  }
  return -1;
}

struct ArrayNames {
  Array what;
  std::initializer_list<const char*> names;
};

const std::initializer_list<ArrayNames>& array_names() {
  static const std::initializer_list<ArrayNames> kAll{
      {Array::losses,
       {"losses", "token_losses", "per_token_losses", "per_token_loss", "token_loss", "nll", "nlls",
        "token_nll", "loss", "ce"}},
      {Array::log_probs,
       {"log_probs", "logprobs", "log_prob", "logprob", "logp", "log_q", "token_log_probs",
        "token_logprobs"}},
      {Array::tokens, {"tokens", "input_ids", "ids", "inputs", "x"}},
      {Array::labels, {"labels", "targets", "y"}},
      {Array::oracle_log_probs,
       {"oracle_log_probs", "oracle_logprobs", "oracle_logp", "log_p", "true_log_probs"}},
      {Array::oracle_losses, {"oracle_losses", "oracle_loss", "oracle_nll", "true_losses"}},
      {Array::oracle, {"oracle"}},
      {Array::mask, {"mask", "loss_mask", "attention_mask"}},
      {Array::logits, {"logits"}},
      {Array::probability_sums, {"probability_sums", "prob_sums", "sum_probs", "prob_sum"}},
      {Array::reported_loss, {"reported_loss"}},
      {Array::documents, {"documents", "document_ids", "doc_ids", "docs"}},
  };
  return kAll;
}

}  // namespace

std::string plain_name(const std::string& name) {
  std::string plain;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) {
      plain += static_cast<char>(std::tolower(byte));
    } else if (!plain.empty() && plain.back() != '_') {
      plain += '_';
    }
  }
  while (!plain.empty() && plain.back() == '_') plain.pop_back();
  return plain;
}

Column column_named(const std::string& name) {
  const std::string own = without_run(name);
  if (own.ends_with("__MIN") || own.ends_with("__MAX")) return {};
  std::string plain = plain_name(own);
  if (plain.ends_with("losses")) plain.replace(plain.size() - 6, 6, "loss");
  for (const ColumnNames& row : column_names()) {
    int priority = 0;
    for (const char* known : row.names) {
      if (plain == known) return {row.quantity, priority, ""};
      ++priority;
    }
  }
  for (const std::string prefix : {"grad_norm_", "grad_norms_", "gradient_norm_"}) {
    if (plain.starts_with(prefix)) return {Quantity::layer_norm, 0, plain.substr(prefix.size())};
  }
  // Lightning with several val sets: val_loss/dataloader_idx_1.
  for (const std::string prefix : {"val_loss_dataloader_idx_", "valid_loss_dataloader_idx_"}) {
    if (plain.starts_with(prefix)) return {Quantity::val, 100, ""};
  }
  // Hugging Face with several evaluation sets: eval_wiki_loss.
  if (plain.starts_with("eval_") && plain.ends_with("_loss") && plain.size() > 10) {
    return {set_named(plain.substr(5)) == kFresh ? Quantity::fresh : Quantity::val, 100, ""};
  }
  return {};
}

bool is_loss(Quantity quantity) {
  return quantity == Quantity::train || quantity == Quantity::val || quantity == Quantity::fresh;
}

std::string section_named(const std::string& word) {
  std::string plain = plain_name(word);
  if (plain == "training") return "train";
  if (plain == "validating" || plain == "validate") return "validation";
  if (plain == "evaluation" || plain == "evaluating" || plain == "evaluate") return "eval";
  if (plain == "testing") return "test";
  for (const char* known : {"train", "val", "valid", "validation", "eval", "dev", "test"}) {
    if (plain == known) return plain;
  }
  return "";
}

bool is_bare_loss(const std::string& name) {
  return column_named(name).quantity == Quantity::train && set_named(name) < 0 &&
         !plain_name(name).starts_with("tr");
}

bool names_sections(const std::string& name) {
  const std::string plain = plain_name(name);
  for (const char* known : {"split", "phase", "mode", "subset", "section", "stage", "partition",
                            "set", "dataset", "data_split"}) {
    if (plain == known) return true;
  }
  return false;
}

int set_named(const std::string& name) {
  int found = -1;
  for (const std::string& word : words_of(name)) {
    const int set = set_of_word(word);
    if (set < 0 || set == found) continue;
    if (found >= 0) return -1;
    found = set;
  }
  return found;
}

ArrayName array_named(const std::string& name) {
  ArrayName result{Array::none, set_named(name)};
  std::string rest;
  for (const std::string& word : words_of(name)) {
    if (set_of_word(word) < 0) rest += (rest.empty() ? "" : "_") + word;
  }
  for (const ArrayNames& row : array_names()) {
    const bool known = std::any_of(row.names.begin(), row.names.end(),
                                   [&](const char* spelled) { return rest == spelled; });
    if (known) result.what = row.what;
  }
  return result;
}

}  // namespace assay::verify::training
