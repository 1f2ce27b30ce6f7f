// assay campaign clean: random correct implementations, of which none may be accused.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>

#include "cli/campaign/clean_case.h"
#include "cli/campaign/clean_training.h"
#include "cli/command.h"
#include "cli/judge.h"
#include "cli/subjects.h"
#include "golden/contract/error.h"
#include "golden/file/golden_file.h"
#include "golden/generate/generate.h"
#include "reference/methods/registry.h"
#include "verify/judge/numerics.h"
#include "verify/subjects/bindings.h"

namespace assay::cli {
namespace {

using verify::Status;

struct CampaignOptions {
  uint64_t cases = 100, seed = 1, first = 0;
  double peak = 4;
  bool gradients = false, train = false, show = false;
};

// A folder of its own, gone with everything in it at the end.
class Folder {
 public:
  Folder() {
    path_ = (std::filesystem::temp_directory_path() / "assay-campaign-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) throw InputError(path_ + ": cannot be made");
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void generate(const CleanCase& c, const golden::WeightSource& weights, bool gradients,
              const std::string& path) {
  golden::GenerateRequest request;
  request.config = c.config;
  request.seed = c.seed;
  request.batch = c.batch;
  request.positions = c.positions;
  request.tokens = golden::synthetic_tokens(c.config.vocab_size, c.batch, c.positions, c.seed);
  request.attention_mask = c.attention_mask;
  request.weights = &weights;
  request.store_weights = true;
  request.gradients = gradients;
  request.out = path;
  request.force = true;
  golden::generate(request);
}

std::vector<verify::Check> checks_of(const CleanCase& c, const std::string& path) {
  const golden::GoldenReader golden(path);
  const auto subject = make_subject(c.subject, c.precision, c.config, golden);
  verify::RunReport report;
  report.checks = verify::verify_numerics(golden, *subject, {}).checks;
  if (!c.leakage || c.config.vocab_size < 2) return report.checks;
  // The proof is of methods, not of implementations, and `pt` sees the future by design.
  const verify::Batch batch = verify::read_batch(golden);
  const verify::LeakOptions options{
      .seed = c.seed,
      .suffixes = 1,
      .reference_logits = reference_logits(c.config, golden, subject->precision())};
  const verify::LeakResult leaks = verify::detect_leaks(*subject, c.config, batch, options);
  const bool sees_future =
      golden::find_method(c.config.method).family == golden::Family::prob_transformer &&
      !c.config.pt.causal_heads;
  for (const verify::Check& check : leaks.checks) {
    if (sees_future && check.name == "prefix") continue;
    report.checks.push_back(check);
  }
  return report.checks;
}

struct Outcomes {
  std::map<std::string, int> verdicts;
  int alarms = 0;
};

void judge_case(const CampaignOptions& options, uint64_t index, const Folder& folder,
                Outcomes& outcomes) {
  const CleanCase c = draw_case(options.seed, index, options.peak);
  std::vector<std::string> lines;
  std::string verdict, what = c.text();
  try {
    const std::string path = folder.file("case.h5");
    generate(c, PeakedWeights(c), options.gradients, path);
    std::vector<verify::Check> checks;
    if (options.train) {
      TrainedCase trained = train_clean_case(c, path);
      checks = std::move(trained.checks);
      what += "; " + trained.text;
    } else {
      checks = checks_of(c, path);
    }
    verdict = verify::status_name(verify::overall(checks));
    for (const verify::Check& check : checks) {
      if (check.status != Status::fail && !options.show) continue;
      lines.push_back(verify::check_text(check, false));
    }
    outcomes.alarms += verify::overall(checks) == Status::fail;
  } catch (const InputError& error) {
    verdict = "refused";
    if (options.show) lines.push_back(std::string(error.what()) + "\n");
  } catch (const std::exception& error) {
    verdict = "threw";
    lines.push_back(std::string(error.what()) + "\n");
    ++outcomes.alarms;
  }
  ++outcomes.verdicts[verdict];
  if (lines.empty()) return;
  fmt::print("case {}: {}: {}\n", index, verdict, what);
  for (const std::string& line : lines) fmt::print("{}", line);
  fmt::print("again: assay campaign clean --seed {} --first {} --cases 1 --peak {:g}{} --show\n\n",
             options.seed, index, options.peak,
             options.train       ? " --train"
             : options.gradients ? " --grad"
                                 : "");
}

int run_clean(const CampaignOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const Folder folder;
  Outcomes outcomes;
  for (uint64_t i = 0; i < options.cases; ++i) {
    judge_case(options, options.first + i, folder, outcomes);
  }
  std::string text;
  for (const auto& [verdict, times] : outcomes.verdicts) {
    text += fmt::format(", {} {}", times, verdict);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  fmt::print("clean campaign, seed {}: {} cases{}; {} alarms; {:.1f} s\n", options.seed,
             options.cases, text, outcomes.alarms, elapsed.count());
  if (outcomes.alarms > 0) return 1;
  return outcomes.verdicts["pass"] > 0 ? 0 : 3;
}

}  // namespace

void add_campaign(CLI::App& app, Outcome& outcome) {
  CLI::App* campaign = app.add_subcommand("campaign", "try the judge itself");
  campaign->require_subcommand(1);
  CLI::App* command = campaign->add_subcommand(
      "clean", "random correct implementations: one that is accused is a false alarm, exit code 1");
  auto options = std::make_shared<CampaignOptions>();
  command->add_option("--cases", options->cases, "how many")->capture_default_str();
  command->add_option("--seed", options->seed, "what they are drawn from")->capture_default_str();
  command->add_option("--first", options->first, "the first one's number")->capture_default_str();
  command
      ->add_option("--peak", options->peak,
                   "largest factor on queries and keys, a power of two: what trained attention has")
      ->capture_default_str();
  command->add_flag("--grad", options->gradients, "gradients too");
  command->add_flag("--train", options->train, "train in lockstep instead (docs/lockstep.md)");
  command->add_flag("--show", options->show, "every check of every case");
  command->callback([options, &outcome] { outcome.exit_code = run_clean(*options); });
}

}  // namespace assay::cli
