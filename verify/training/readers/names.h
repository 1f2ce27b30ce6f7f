// What people call things: columns of a log, arrays of a file.
#pragma once

#include <string>

#include "verify/training/evidence.h"

namespace assay::verify::training {

enum class Quantity { none, step, epoch, train, val, fresh, grad_norm, loss_scale, layer_norm };

struct Column {
  Quantity quantity = Quantity::none;
  int priority = 0;   // of several names for one thing the lowest counts
  std::string layer;  // of a layer_norm
};

// "train/loss", "eval_loss", "gpt2 run - val_loss", "tel".
Column column_named(const std::string& name);

bool is_loss(Quantity quantity);

// "val", "valid", "validation", "eval", "dev", "test", "train" of a word for a part of the run, as
// "Validating" or "TEST"; "" of any other word.
std::string section_named(const std::string& word);

// A training loss by a name that no set is in: "loss", "lm loss value". Whose it is, is said by
// the section that it stands in.
bool is_bare_loss(const std::string& name);

// A column whose words are sections of the run: "split", "phase", "mode".
bool names_sections(const std::string& name);

// Lower case, every run of other characters an underscore, none at the ends.
std::string plain_name(const std::string& name);

enum class Array {
  none,
  losses,
  log_probs,
  tokens,
  labels,
  oracle_log_probs,
  oracle_losses,
  oracle,  // which of them is told by the sign
  mask,
  logits,
  probability_sums,
  reported_loss,
  documents,
};

struct ArrayName {
  Array what = Array::none;
  int set = -1;  // a Set; -1 where the name has none
};

// "fresh/losses", "val_log_probs", "tokens".
ArrayName array_named(const std::string& name);

// The set that a name, or a file's, speaks of; -1 where it speaks of none or of several.
int set_named(const std::string& name);

}  // namespace assay::verify::training
