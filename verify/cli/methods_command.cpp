#include <fmt/format.h>

#include "golden/methods.h"
#include "verify/cli/command.h"

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

}  // namespace

void add_methods(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand(
      "methods", "list the methods with formula, options, and parameters with initial values");
  command->callback(print_methods);
}

}  // namespace assay::cli
