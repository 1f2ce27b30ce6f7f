#include "cli/campaign/clean_training.h"

#include <fmt/format.h>

#include <cmath>
#include <random>

#include "cli/verify/training_subjects.h"
#include "golden/file/golden_file.h"
#include "verify/lockstep/lockstep.h"

namespace assay::cli {
namespace {

class RuleDraw {
 public:
  explicit RuleDraw(uint64_t seed) : random_(seed) {}

  int64_t below(int64_t end) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(end));
  }
  double of(std::initializer_list<double> values) {
    return values.begin()[below(static_cast<int64_t>(values.size()))];
  }

  verify::LockstepOptions options() {
    verify::LockstepOptions options;
    options.steps = 1 + below(3);
    options.micro_batches = 1 + below(3);
    options.rate = of({1e-4, 1e-3, 1e-2, 1e-1});
    options.rule.beta1 = of({0.9, 0.9, 0.8, 0.5, 0});
    options.rule.beta2 = of({0.999, 0.999, 0.95, 0.5});
    options.rule.eps = of({1e-8, 1e-8, 1e-6, 1e-12});
    options.rule.weight_decay = of({0, 0.01, 0.1, 1});
    return options;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace

TrainedCase train_clean_case(const CleanCase& c, const std::string& golden_path) {
  RuleDraw draw(c.seed);
  const golden::GoldenReader golden(golden_path);
  verify::LockstepOptions options = draw.options();
  const double between = verify::telling_max_norm(golden, options);
  options.rule.max_norm = draw.of({0, between, between, 0.1 * between, 10 * between});
  const std::string name = draw.below(8) == 0 ? "reference" : c.subject;
  if (c.config.method != "pt") options.dropout.rate = draw.of({0, 0, 0.1, 0.5});
  const auto subject =
      make_training_subject(name, c.precision, c.config, golden, options.rule, options.dropout, {});
  return {fmt::format("{}: {} steps of {} micro-batches, rate {:g}, betas {:g} {:g}, eps {:g}, "
                      "decay {:g}, largest norm {:.3g}, dropout {:g}",
                      name, options.steps, options.micro_batches, options.rate, options.rule.beta1,
                      options.rule.beta2, options.rule.eps, options.rule.weight_decay,
                      options.rule.max_norm, options.dropout.rate),
          verify_lockstep(golden, *subject, options).checks};
}

}  // namespace assay::cli
