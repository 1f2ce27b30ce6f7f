// assay data: tokens of which every probability is known, for training anywhere.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "datasets/known/law.h"
#include "datasets/known/overlap.h"
#include "datasets/known/sets.h"
#include "golden/contract/error.h"
#include "golden/exchange/hdf5_writer.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/files.h"

namespace assay::cli {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 28;

struct DataOptions {
  std::string source, out, committed;
  std::vector<std::string> sets{"train", "val", "fresh"};
  int64_t rows = 256, positions = 256;
  uint64_t seed = 1;
  bool list = false, commit = false, force = false, quiet = false;
};

struct DrawnSet {
  std::string name;
  std::vector<int32_t> tokens;    // [N,T]
  std::vector<double> log_probs;  // [N,T]
  double mean = 0;                // of -log p
};

void print_laws() {
  fmt::print("{:<10} {:<46} {}\n", "source", "settings (defaults)", "what it is");
  for (const datasets::KnownLaw& law : datasets::known_laws()) {
    fmt::print("{:<10} {:<46} {}\n", law.name, law.settings, law.what);
  }
}

void check_options(const DataOptions& options) {
  int64_t count = 0;
  if (options.rows < 1 || options.positions < 1 ||
      __builtin_mul_overflow(options.rows, options.positions, &count) || count > kMostTokens) {
    throw InputError(
        fmt::format("--rows {} --positions {}: expected 1 or more each, {} tokens at "
                    "most",
                    options.rows, options.positions, kMostTokens));
  }
  for (std::size_t i = 0; i < options.sets.size(); ++i) {
    const std::string& set = options.sets[i];
    if (set != "train" && set != "val" && set != "fresh") {
      throw InputError("--set " + set + ": expected train, val or fresh");
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (options.sets[j] == set) throw InputError("--set " + set + ": stands there twice");
    }
  }
  if (options.committed.empty()) return;
  const std::string own = datasets::seed_commitment(options.seed);
  if (own != options.committed) {
    throw InputError(
        fmt::format("--committed {}: seed {} has {}; it is not the seed that was "
                    "committed",
                    golden::printable(options.committed), options.seed, own));
  }
}

DrawnSet draw(const datasets::Law& law, const std::string& set, const DataOptions& options) {
  DrawnSet drawn{
      set, datasets::draw_rows(law, set, options.seed, options.rows, options.positions), {}, 0};
  drawn.log_probs = datasets::known_rows(law, drawn.tokens, options.positions, false).log_probs;
  for (const double value : drawn.log_probs) drawn.mean -= value;
  drawn.mean /= static_cast<double>(drawn.log_probs.size());
  return drawn;
}

// ids alone, as nanoGPT reads them: uint16, or uint32 for a vocabulary beyond it.
void write_bin(const DrawnSet& set, int64_t vocab, const DataOptions& options) {
  std::string bytes;
  const std::size_t width = vocab <= 65536 ? 2 : 4;
  for (const int32_t token : set.tokens) {
    for (std::size_t i = 0; i < width; ++i) {
      bytes += static_cast<char>((static_cast<uint32_t>(token) >> (8 * i)) & 0xff);
    }
  }
  golden::write_whole(options.out, bytes, options.force);
}

void write(const std::vector<DrawnSet>& sets, int64_t vocab, const DataOptions& options) {
  const std::string& out = options.out;
  if (out.ends_with(".bin")) return write_bin(sets.front(), vocab, options);
  std::vector<golden::ExchangeTensor> tensors;
  std::map<std::string, const DrawnSet*> by_name;
  const golden::Shape shape{options.rows, options.positions};
  for (const DrawnSet& set : sets) {
    const std::string prefix = sets.size() > 1 ? set.name + "/" : "";
    by_name[prefix + "tokens"] = by_name[prefix + "oracle_log_probs"] = &set;
    tensors.push_back({prefix + "tokens", golden::Element::i32, shape});
    tensors.push_back({prefix + "oracle_log_probs", golden::Element::f64, shape});
  }
  const auto fetch = [&](const std::string& name) -> std::vector<double> {
    const DrawnSet& set = *by_name.at(name);
    if (name.ends_with("oracle_log_probs")) return set.log_probs;
    return {set.tokens.begin(), set.tokens.end()};
  };
  const std::map<std::string, std::string> attributes{{"source", options.source},
                                                      {"seed", std::to_string(options.seed)}};
  if (out.ends_with(".npz")) {
    golden::write_npz(out, tensors, fetch, golden::Rounding::refuse, options.force);
  } else if (out.ends_with(".safetensors")) {
    golden::write_safetensors(out, tensors, attributes, fetch, golden::Rounding::refuse,
                              options.force);
  } else {
    golden::write_hdf5(out, tensors, attributes, fetch, options.force);
  }
}

void check_out(const DataOptions& options) {
  const std::string& out = options.out;
  const bool known = out.ends_with(".npz") || out.ends_with(".safetensors") ||
                     out.ends_with(".h5") || out.ends_with(".hdf5") || out.ends_with(".bin");
  if (!known) {
    throw InputError("--out " + out +
                     ": expected a name that ends in .npz, .h5, .hdf5, "
                     ".safetensors or .bin");
  }
  if (out.ends_with(".bin") && options.sets.size() > 1) {
    throw InputError("--out " + out + ": a .bin holds one set: say which with --set");
  }
  const auto tokens = static_cast<uint64_t>(options.rows * options.positions);
  golden::check_target(out, options.force, 12 * tokens * options.sets.size());
}

std::string rate_text(const datasets::Law& law) {
  if (const std::optional<double> rate = law.entropy_rate()) {
    return fmt::format("{:.6g} nats a token ({:.6g} bits)", *rate, *rate / std::log(2.0));
  }
  const datasets::Estimate estimate = datasets::estimated_entropy_rate(law);
  return fmt::format("{:.4g} +- {:.1g} nats a token, estimated", estimate.value,
                     estimate.standard_error);
}

// Rows that two of the sets share, which for a law of little entropy may be by chance.
void print_overlaps(const std::vector<DrawnSet>& sets, int64_t positions) {
  for (std::size_t i = 0; i < sets.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const auto tokens = static_cast<double>(sets[i].tokens.size());
      const int64_t window = datasets::telling_window(sets[i].mean / 2, tokens, tokens);
      if (window > positions) continue;
      const std::size_t shared =
          datasets::overlapping_rows(sets[i].tokens, positions, sets[j].tokens, positions, window)
              .size();
      fmt::print("{} and {}: {} rows share a window of {} tokens\n", sets[j].name, sets[i].name,
                 shared, window);
    }
  }
}

void run_data(DataOptions options) {
  if (options.list) return print_laws();
  if (options.commit) {
    fmt::print("{}\n", datasets::seed_commitment(options.seed));
    return;
  }
  if (options.source.empty()) {
    throw InputError(
        "assay data: expected a source, as in markov:order=2,vocab=64 ('assay data "
        "--list' lists them)");
  }
  if (options.out.empty()) throw InputError("--out: expected a file to write, got none");
  check_options(options);
  check_out(options);
  const auto law = datasets::parse_law(options.source, "source");
  std::vector<DrawnSet> sets;
  for (const std::string& set : options.sets) sets.push_back(draw(*law, set, options));
  write(sets, law->vocab_size(), options);
  if (options.quiet) return;
  fmt::print("{}: vocabulary {}, entropy rate {}\n", options.source, law->vocab_size(),
             rate_text(*law));
  for (const DrawnSet& set : sets) {
    fmt::print("{:<5} [{},{}], -log p {:.6g} nats a token on average\n", set.name, options.rows,
               options.positions, set.mean);
  }
  print_overlaps(sets, options.positions);
  fmt::print("seed {}, commitment {}\n{}\n", options.seed, datasets::seed_commitment(options.seed),
             options.out);
}

}  // namespace

void add_data(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand(
      "data", "draw tokens from a source of known probabilities, with the log probabilities");
  auto options = std::make_shared<DataOptions>();
  command->add_option("source", options->source,
                      "uniform, markov, hmm, copy, induction, brackets, canaries or mixture, with "
                      "settings: markov:order=2,vocab=64 (--list explains them)");
  command->add_option("--out", options->out,
                      "file to write: .npz, .h5, .safetensors, or .bin (ids alone, uint16)");
  command
      ->add_option("--set", options->sets,
                   "train, val or fresh, or several with commas: arrays tokens and "
                   "oracle_log_probs, of several sets below train/, val/, fresh/")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--rows", options->rows, "sequences of each set")->capture_default_str();
  command->add_option("--positions,--seq", options->positions, "tokens of a sequence")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "seed of the sets (the law's own is a setting)")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--committed", options->committed,
                      "hash that the seed must have: what --commit printed before training");
  command->add_flag("--commit", options->commit, "print the hash of the seed, and draw nothing");
  command->add_flag("--list", options->list, "list the sources and their settings");
  command->add_flag("--force", options->force, "replace an existing file");
  command->add_flag("--quiet", options->quiet, "print nothing but errors");
  command->callback([options] { run_data(*options); });
}

}  // namespace assay::cli
