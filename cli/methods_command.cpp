#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "golden/contract/methods.h"

namespace assay::cli {
namespace {

void print_methods() {
  for (const golden::MethodInfo& method : golden::methods()) {
    fmt::print("{:<9} {}\n          {}\n", method.id, method.title, method.formula);
    for (const std::string& text : golden::option_texts(method)) {
      fmt::print("          option     {}\n", text);
    }
    for (const std::string& text : golden::parameter_texts(method)) {
      fmt::print("          parameter  {}\n", text);
    }
  }
}

// "`a`<br>`b`": items in one cell of a table. A bar would end the cell.
std::string cell(const std::vector<std::string>& items) {
  std::string text;
  for (std::string item : items) {
    for (std::size_t bar; (bar = item.find(" | ")) != std::string::npos;) {
      item.replace(bar, 3, " or ");
    }
    text += (text.empty() ? "`" : "<br>`") + item + "`";
  }
  return text;
}

void print_markdown() {
  fmt::print("| method | what it is | formula | options | learns, from |\n|---|---|---|---|---|\n");
  for (const golden::MethodInfo& method : golden::methods()) {
    fmt::print("| {} | {} | {} | {} | {} |\n", method.id, method.title, cell({method.formula}),
               cell(golden::option_texts(method)), cell(golden::parameter_texts(method)));
  }
}

}  // namespace

void add_methods(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand(
      "methods", "list the methods with formula, options, and parameters with initial values");
  auto markdown = std::make_shared<bool>(false);
  command->add_flag("--markdown", *markdown, "as the table in docs/methods.md");
  command->callback([markdown] { *markdown ? print_markdown() : print_methods(); });
}

}  // namespace assay::cli
