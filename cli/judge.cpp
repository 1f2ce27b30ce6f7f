#include "cli/judge.h"

#include <fmt/format.h>

#include "verify/judge/equality.h"

namespace assay::cli {

verify::RunReport judge(const golden::GoldenReader& golden, verify::Subject& subject,
                        const verify::NumericsOptions& options, bool equal) {
  const verify::NumericsResult numerics = equal ? verify::verify_equality(golden, subject, options)
                                                : verify::verify_numerics(golden, subject, options);
  verify::RunReport report;
  report.title = fmt::format("method {}, {}", golden.header().config.method, subject.describe());
  report.golden_path = golden.path();
  report.root_hash = golden.root_hash();
  report.config_json = golden::to_json(golden.header().config);
  report.method = golden.header().config.method;
  report.seed = golden.header().seed;
  report.subject = subject.describe();
  report.checks = numerics.checks;
  report.rows = numerics.rows;
  report.first_divergence = numerics.first_divergence;
  report.diagnosis = numerics.diagnosis;
  return report;
}

}  // namespace assay::cli
