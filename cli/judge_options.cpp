// What the commands that judge against a golden file have in common.
#include "cli/command.h"
#include "cli/judge.h"
#include "cli/report_options.h"
#include "cli/running_check.h"
#include "cli/subjects.h"

namespace assay::cli {

std::vector<std::string> inputs_of(const JudgeOptions& judge) {
  return {judge.golden_path, judge.checkpoint, file_behind(judge.subject), judge.elsewhere.map};
}

void add_judge_options(CLI::App& command, VerifyOptions& options) {
  JudgeOptions& judge = options.judge;
  add_precision_option(command, options.precision);
  add_elsewhere_options(command, judge.elsewhere);
  command.add_option("--weights", judge.checkpoint,
                     "folder with the checkpoint that the golden file was made from; needed where "
                     "the file has only hashes of it");
  add_only_option(command, judge.pattern, "checkpoints to compare, e.g. 'layers/3/*'");
  command.add_option("--leave-out", judge.left_out, "checkpoints not to judge, e.g. loss");
  add_part_options(command, judge);
  add_decode_option(command, judge);
  add_modes_option(command, judge);
  command.add_flag("--equal", judge.equal,
                   "judge by equality with the golden values: for files of exact data");
  add_report_options(command, options.report);
}

int run_verify(VerifyOptions& options, const Outcome& outcome) {
  options.judge.precision = golden::parse_precision(options.precision);
  check_report_targets(options.report, inputs_of(options.judge));
  verify::RunReport report;
  {
    const RunningCheck running(options.report.quiet);
    options.judge.begins = running.begins();
    report = judge(options.judge);
  }
  report.command_line = outcome.command_line;
  return conclude(report, options.report, outcome);
}

}  // namespace assay::cli
