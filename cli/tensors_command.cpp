#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/model_options.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/tensor_meanings.h"

namespace assay::cli {
namespace {

// The tables of docs/tensors.md, one for each part.
void print_markdown() {
  std::string part;
  for (const golden::TensorMeaning& row : golden::tensor_meanings()) {
    if (row.part != part) {
      part = row.part;
      fmt::print("### {}\n\n| tensor | shape | of | meaning |\n|---|---|---|---|\n", part);
    }
    fmt::print("| `{}` | {} | {} | {} |\n", row.name,
               row.shape.empty() ? "scalar" : "`[" + row.shape + "]`", row.only, row.meaning);
    const bool last = &row == &golden::tensor_meanings().back();
    if (last || (&row + 1)->part != part) fmt::print("\n");
  }
}

// One line a tensor of the config, in order of computation: name, shape, axes, meaning.
void print_model(const ModelOptions& options) {
  const golden::ModelConfig config = model_config(options);
  for (const golden::TensorInfo& info :
       golden::tensor_list(config, options.batch, options.positions)) {
    const golden::TensorMeaning* meaning = golden::meaning_of(config, info.name);
    ASSAY_CHECK(meaning != nullptr, info.name);
    fmt::print("{:<36} {:<16} {:<14} {}\n", info.name, golden::shape_text(info.shape),
               "[" + meaning->shape + "]", meaning->meaning);
  }
}

}  // namespace

void add_tensors(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand(
      "tensors", "list the named tensors of a model with shape and exact meaning");
  auto options = std::make_shared<ModelOptions>();
  auto markdown = std::make_shared<bool>(false);
  add_model_options(*command, *options);
  command->add_flag("--markdown", *markdown, "every tensor of every model, as in docs/tensors.md");
  command->callback([options, markdown] { *markdown ? print_markdown() : print_model(*options); });
}

}  // namespace assay::cli
