// assay: golden data for Transformer implementations, and verdicts on them.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/process/memory.h"
#include "cli/process/streams.h"
#include "cli/subjects.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/file/partials.h"

namespace {

constexpr int kBadInput = 2;
constexpr int kInternalError = 4;
constexpr int kSkipped = 77;

// https://no-color.org
bool colour_wanted() { return isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr; }

std::string command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return fmt::format("{}", fmt::join(names, ", "));
}

// CLI11's own words for help and version; ours for what was mistyped.
int report_parse_error(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (chosen.empty()) {
    fmt::print(stderr, "assay: {}: expected a command: {} ('assay --help' explains them)\n",
               error.what(), command_names(app));
  } else {
    fmt::print(stderr, "assay {0}: {1} ('assay {0} --help' lists the options)\n",
               chosen.front()->get_name(), error.what());
  }
  return kBadInput;
}

int run(int argc, char** argv) {
  CLI::App app{
      "assay generates golden data from a double-precision reference and judges\n"
      "Transformer implementations against it.\n\n"
      "Exit codes: 0 all passed; 1 mismatch or leak; 2 bad usage or input;\n"
      "3 inconclusive or untrusted; 4 internal error; 77 skipped for want of a device."};
  app.name("assay");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("assay " ASSAY_VERSION));
  assay::cli::Outcome outcome{0, assay::cli::typed_command(argc, argv), colour_wanted()};
  assay::cli::add_methods(app, outcome);
  assay::cli::add_tensors(app, outcome);
  assay::cli::add_generate(app, outcome);
  assay::cli::add_verify(app, outcome);
  assay::cli::add_compare(app, outcome);
  assay::cli::add_prove(app, outcome);
  assay::cli::add_leak(app, outcome);
  assay::cli::add_inspect(app, outcome);
  assay::cli::add_suite(app, outcome);
  assay::cli::add_export(app, outcome);
  assay::cli::add_bench(app, outcome);
  assay::cli::add_campaign(app, outcome);
  assay::cli::add_data(app, outcome);
  assay::cli::add_train(app, outcome);
  assay::cli::add_overfit(app, outcome);
  assay::cli::add_serve_sim(app, outcome);
  assay::cli::add_stream(app, outcome);
  assay::cli::add_subjects(app, outcome);
  assay::cli::add_map(app, outcome);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return report_parse_error(app, error);
  }
  return outcome.exit_code;
}

int guarded_run(int argc, char** argv) {
  try {
    assay::cli::keep_memory_for_failures();
    return run(argc, argv);
  } catch (const assay::InputError& error) {
    fmt::print(stderr, "assay: {}\n", assay::golden::one_line(error.what()));
    return kBadInput;
  } catch (const assay::cli::NoDevice& error) {
    fmt::print(stderr, "assay: {}\n", error.what());
    return kSkipped;
  } catch (const assay::cli::NotEnoughMemory& error) {
    fmt::print(stderr, "assay: {}\n", error.what());
    return kInternalError;
  } catch (const std::exception& error) {
    if (assay::cli::is_want_of_memory(error)) {
      fmt::print(stderr, "assay: not enough memory: {}\n", assay::cli::memory_text());
    } else if (dynamic_cast<const std::system_error*>(&error) != nullptr) {  // of files
      fmt::print(stderr, "assay: {}\n", assay::golden::one_line(error.what()));
      return kBadInput;
    } else {
      fmt::print(stderr, "assay: internal error: {}\n", error.what());
    }
    return kInternalError;
  }
}

// Commands that hand over their result on standard output alone: without it they did nothing.
bool only_prints(int argc, char** argv) {
  const std::vector<std::string> typed(argv + 1, argv + argc);
  const auto is = [&](std::size_t i, const char* word) {
    return i < typed.size() && typed[i] == word;
  };
  return is(0, "methods") || is(0, "tensors") || is(0, "subjects") || is(0, "inspect") ||
         (is(0, "map") && (is(1, "list") || is(1, "show") || is(1, "check"))) ||
         (is(0, "suite") && (is(1, "list") || is(1, "hashes")));
}

}  // namespace

int main(int argc, char** argv) {
  assay::cli::keep_streams();
  assay::golden::end_cleanly_on_signals();
  const int code = guarded_run(argc, argv);
  const int lost = assay::cli::lost_output();
  if (lost == 0 || lost == EPIPE) return assay::cli::leave(code);
  fmt::print(stderr, "assay: standard output cannot be written: {}; part of the output is lost\n",
             std::strerror(lost));
  return assay::cli::leave(code == 0 && only_prints(argc, argv) ? kBadInput : code);
}
