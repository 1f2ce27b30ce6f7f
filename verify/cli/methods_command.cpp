#include <fmt/format.h>

#include "reference/methods/registry.h"
#include "verify/cli/command.h"

namespace assay::cli {

void add_methods(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand("methods", "list the methods with formula and options");
  command->callback([] {
    for (const reference::MethodEntry& method : reference::methods()) {
      fmt::print("{:<6} {:<45} {}{}\n", method.id, method.title, method.formula,
                 method.options.empty() ? "" : "   options: " + method.options);
    }
  });
}

}  // namespace assay::cli
