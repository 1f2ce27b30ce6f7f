// The commands of `assay`. Each adds itself to the application and returns its exit code through
// `Outcome`; only main prints errors and exits.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace assay::cli {

struct Outcome {
  int exit_code = 0;
  std::string command_line;  // as typed, for reports
  bool colour = false;       // a terminal that wants colour
};

// --only: patterns of which a name matches any.
inline void add_only_option(CLI::App& command, std::string& patterns, const std::string& what) {
  command.add_option("--only", patterns, what + "; several times or with commas: any of them")
      ->join(',');
}

void add_methods(CLI::App& app, Outcome& outcome);
void add_tensors(CLI::App& app, Outcome& outcome);
void add_generate(CLI::App& app, Outcome& outcome);
void add_verify(CLI::App& app, Outcome& outcome);
void add_compare(CLI::App& app, Outcome& outcome);
void add_prove(CLI::App& app, Outcome& outcome);
void add_leak(CLI::App& app, Outcome& outcome);
void add_inspect(CLI::App& app, Outcome& outcome);
void add_suite(CLI::App& app, Outcome& outcome);
void add_export(CLI::App& app, Outcome& outcome);
void add_bench(CLI::App& app, Outcome& outcome);
void add_map(CLI::App& app, Outcome& outcome);
void add_campaign(CLI::App& app, Outcome& outcome);
void add_data(CLI::App& app, Outcome& outcome);
void add_train(CLI::App& app, Outcome& outcome);
void add_overfit(CLI::App& app, Outcome& outcome);
void add_serve_sim(CLI::App& app, Outcome& outcome);
void add_stream(CLI::App& app, Outcome& outcome);
void add_subjects(CLI::App& app, Outcome& outcome);

}  // namespace assay::cli
