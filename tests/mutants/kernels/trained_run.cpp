// The judge of training as a program, for kernels and an engine with a planted defect:
//   trained_run METHOD SUBJECT PRECISION DROPOUT
// trains the preset tiny beside the reference, from a batch of three rows of which one is padded,
// two steps of two micro-batches: "1 simt:keep=inputs fp32 0.3". It prints the checks that did not
// pass and where training first parts, or which have passed.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "cli/verify/training_subjects.h"
#include "golden/file/golden_file.h"
#include "golden/generate/generate.h"
#include "tests/golden/sample.h"
#include "verify/lockstep/lockstep.h"

using namespace assay;

namespace {

void make_golden(const std::string& method, const std::string& path) {
  golden::GenerateRequest request;
  request.config = golden::preset("tiny");
  request.config.method = method;
  request.batch = 3;
  request.positions = 7;
  request.tokens = golden::synthetic_tokens(request.config.vocab_size, 3, 7, request.seed);
  request.attention_mask.assign(request.tokens.size(), 1);
  request.attention_mask[12] = request.attention_mask[13] = 0;
  request.out = path;
  golden::generate(request);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const golden::sample::TemporaryFolder folder;
  make_golden(argv[1], folder.file("case.h5"));
  const golden::GoldenReader golden(folder.file("case.h5"));
  verify::LockstepOptions options{.steps = 2};
  options.rule.weight_decay = 0.1;
  options.dropout.rate = std::stod(argv[4]);
  const auto subject =
      cli::make_training_subject(argv[2], golden::parse_precision(argv[3]), golden.header().config,
                                 golden, options.rule, options.dropout, {});
  const verify::LockstepResult result = verify::verify_lockstep(golden, *subject, options);
  std::vector<std::string> names, failed;
  for (const verify::Check& check : result.checks) {
    names.push_back(check.name);
    if (check.status != verify::Status::pass) failed.push_back(check.name);
  }
  if (failed.empty()) {
    fmt::print("pass: {}\n", fmt::join(names, ", "));
    return 0;
  }
  fmt::print("FAULT {} at {}: {}\n", fmt::join(failed, ", "), result.diverged, result.diagnosis);
  return 1;
}
