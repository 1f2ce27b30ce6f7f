#include "cli/training/live_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "cli/model_options.h"
#include "cli/training/live_model.h"
#include "datasets/known/law.h"
#include "datasets/known/sets.h"
#include "datasets/tokens.h"
#include "golden/contract/error.h"
#include "verify/training/offsets.h"

namespace assay::cli {
namespace {

namespace training = verify::training;

constexpr int64_t kUsualLength = 128, kUsualRows = 16;  // positions; rows of a request
constexpr int64_t kMostAtOnce = int64_t{1} << 22;       // logits of a request
constexpr int64_t kMostDrawn = int64_t{1} << 26;        // tokens of a set

// Some rows of whole sequences, [N,T].
struct RowsOfTokens {
  int64_t rows = 0, positions = 0;
  std::vector<int32_t> tokens;
};

class LiveRun {
 public:
  LiveRun(const LiveOptions& options, const std::string& oracle, std::optional<int64_t> vocab,
          std::array<training::SetArrays, 3>& sets)
      : options_(options), sets_(sets) {
    if (!oracle.empty() && datasets::names_law(oracle)) {
      law_ = datasets::parse_law(oracle, "--oracle");
    }
    if (!vocab && !law_) {
      throw InputError("--probe: expected --vocab, or the source of the tokens behind --oracle");
    }
    vocab_size_ = vocab.value_or(law_ ? law_->vocab_size() : 0);
    if (vocab_size_ < 2) {
      throw InputError(fmt::format("--vocab {}: expected 2 tokens or more", vocab_size_));
    }
    if (law_ && vocab_size_ < law_->vocab_size()) {
      throw InputError(fmt::format("--vocab {}: expected {} or more, which the source has",
                                   vocab_size_, law_->vocab_size()));
    }
  }

  LiveSets run() {
    // Tokens that do not fit are said before a program is started.
    const int64_t given = shortest_given();
    model_ = std::make_unique<LiveModel>(options_.subject, vocab_size_, options_.logits,
                                         options_.elsewhere);
    found_.notes.push_back("losses are those of " + model_->describe());
    const verify::Capabilities can = model_->capabilities();
    positions_ = options_.positions.value_or(can.fixed_length > 0 ? can.fixed_length
                                             : given > 0          ? given
                                                                  : kUsualLength);
    fixed_rows_ = can.fixed_batch;
    const int64_t most = std::max<int64_t>(1, kMostAtOnce / (positions_ * vocab_size_));
    rows_at_once_ =
        fixed_rows_ > 0 ? fixed_rows_ : options_.batch.value_or(std::min(kUsualRows, most));
    for (const training::Set s : {training::kFresh, training::kVal, training::kTrain}) {
      const RowsOfTokens rows = rows_of(s);
      if (rows.rows > 0) run_set(s, rows);
    }
    return std::move(found_);
  }

 private:
  const char* name_of(training::Set s) const { return training::kSetNames[s]; }

  int64_t shortest_given() const {
    int64_t shortest = 0;
    for (const training::SetArrays& arrays : sets_) {
      if (!arrays.tokens) continue;
      const golden::Shape& shape = arrays.tokens->shape;
      if (shape.size() != 2 || shape[0] < 1 || shape[1] < 2) {
        throw InputError(fmt::format("{}: tokens: expected [N,T], 2 positions or more, got {}",
                                     arrays.path, golden::shape_text(shape)));
      }
      shortest = shortest == 0 ? shape[1] : std::min(shortest, shape[1]);
    }
    return shortest;
  }

  RowsOfTokens rows_of(training::Set s) {
    if (sets_[s].tokens) return cut(s, *sets_[s].tokens);
    if (!options_.data[s].empty()) return read(s);
    return law_ ? drawn(s) : RowsOfTokens{};
  }

  // Rows that lie evenly over the set, from their beginnings.
  RowsOfTokens cut(training::Set s, const golden::Tensor& tokens) const {
    const int64_t have = tokens.shape[0], length = tokens.shape[1];
    if (length < positions_) {
      throw InputError(fmt::format("{}: {}: expected {} positions, got {}; --positions {}",
                                   sets_[s].path, name_of(s), positions_, length, length));
    }
    RowsOfTokens rows{std::min(have, options_.rows), positions_, {}};
    for (int64_t i = 0; i < rows.rows; ++i) {
      const int64_t row = i * have / rows.rows;
      for (int64_t t = 0; t < positions_; ++t) {
        const double value = tokens.values[static_cast<std::size_t>(row * length + t)];
        if (!(value >= 0 && value < static_cast<double>(vocab_size_)) ||
            value != std::floor(value)) {
          throw InputError(
              fmt::format("{}: {}: row {}, position {}: expected a token in 0 .. {}, "
                          "got {}",
                          sets_[s].path, name_of(s), row, t, vocab_size_ - 1, value));
        }
        rows.tokens.push_back(static_cast<int32_t>(value));
      }
    }
    return rows;
  }

  // A file of tokens alone: text, .bin, JSON.
  RowsOfTokens read(training::Set s) const {
    const datasets::Tokens read =
        datasets::read_tokens(options_.data[s], datasets::TokensFormat::automatic, options_.rows,
                              positions_, vocab_size_);
    return {options_.rows, positions_, read.values};
  }

  RowsOfTokens drawn(training::Set s) {
    std::optional<uint64_t> seed = options_.data_seed;
    int64_t rows = options_.rows;
    if (s == training::kFresh) seed = fresh_seed();
    if (!seed) return {};
    if (s == training::kTrain && !options_.train_rows) {
      throw InputError(
          "--data-seed: expected with --train-rows, the rows of it that were trained on, or "
          "--train-data");
    }
    if (s == training::kTrain) rows = std::min(rows, *options_.train_rows);
    if (rows > kMostDrawn / positions_) {
      throw InputError(fmt::format("--rows {} --positions {}: expected {} tokens at most", rows,
                                   positions_, kMostDrawn));
    }
    const std::string what = s == training::kFresh ? "drawn now" : "drawn again";
    found_.notes.push_back(
        fmt::format("{}: {} rows, {} with seed {}", name_of(s), rows, what, *seed));
    return {rows, positions_, datasets::draw_rows(*law_, name_of(s), *seed, rows, positions_)};
  }

  // One that nobody could know before, unless it is given.
  uint64_t fresh_seed() const {
    if (options_.seed) return *options_.seed;
    std::random_device device;
    return (uint64_t{device()} << 20) ^ device();
  }

  void run_set(training::Set s, const RowsOfTokens& set) {
    std::vector<double> losses;
    for (int64_t first = 0; first < set.rows;) {
      const int64_t count = std::min(rows_at_once_, set.rows - first);
      const verify::Batch batch = batch_of(set, first, count);
      const std::optional<LiveAnswer> answer = answer_to(batch);
      if (!answer) continue;  // it takes one row at a time
      const std::vector<double> part = training::next_token_losses(answer->logits);
      losses.insert(losses.end(), part.begin(), part.begin() + count * (positions_ - 1));
      if (first == 0) keep(s, batch, *answer);
      first += count;
    }
    training::SetArrays& arrays = sets_[s];
    const std::string path = arrays.path.empty() ? "the law" : arrays.path;
    arrays = {};
    arrays.path = path;
    arrays.losses = golden::Tensor{{set.rows, positions_ - 1}, std::move(losses)};
    arrays.tokens = golden::Tensor{{set.rows, positions_}, {set.tokens.begin(), set.tokens.end()}};
  }

  // Rows [first, first + count); where the program takes so many only, filled up with the last.
  verify::Batch batch_of(const RowsOfTokens& set, int64_t first, int64_t count) const {
    const int64_t rows = fixed_rows_ > 0 ? fixed_rows_ : count;
    std::vector<int32_t> tokens;
    for (int64_t row = 0; row < rows; ++row) {
      const auto begin = set.tokens.begin() + std::min(first + row, first + count - 1) * positions_;
      tokens.insert(tokens.end(), begin, begin + positions_);
    }
    return unpadded(std::move(tokens), rows, positions_);
  }

  // Nothing where the program failed on its first rows and may take one at a time.
  std::optional<LiveAnswer> answer_to(const verify::Batch& batch) {
    try {
      const LiveAnswer answer = model_->run(batch);
      has_answered_ = true;
      return answer;
    } catch (const verify::SubjectFailure&) {
      if (has_answered_ || fixed_rows_ > 0 || options_.batch || batch.batch == 1) throw;
    }
    model_->start_anew();
    rows_at_once_ = 1;
    found_.notes.push_back("it failed on several rows: it is asked for one at a time");
    return std::nullopt;
  }

  // The first rows' logits and loss; of the first set, whether labels move them.
  void keep(training::Set s, const verify::Batch& batch, const LiveAnswer& answer) {
    found_.sets[s] = {answer.logits, answer.loss};
    if (found_.labels) return;
    verify::Batch other = batch;
    for (int32_t& label : other.labels) {
      label = static_cast<int32_t>((label + 1) % vocab_size_);
    }
    const LiveAnswer moved = model_->run(other), again = model_->run(batch);
    const double noise = largest_difference(answer.logits.values, again.logits.values);
    const double by = largest_difference(answer.logits.values, moved.logits.values);
    if (noise > 0) {
      found_.notes.push_back(
          fmt::format("its logits differ by up to {:.3g} from run to run: is dropout on?", noise));
    }
    found_.labels = training::LabelTrial{
        by > 0, noise == 0,
        noise > 0 ? "logits differ from run to run: nothing is told of the labels"
        : by > 0  ? fmt::format("logits move by up to {:.3g} with the labels alone", by)
                  : "logits do not move with the labels"};
  }

  static double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
      const double off = std::abs(a[i] - b[i]);
      if (!(off <= most)) most = std::isnan(off) ? INFINITY : off;  // a number became NaN
    }
    return most;
  }

  const LiveOptions& options_;
  std::array<training::SetArrays, 3>& sets_;
  std::unique_ptr<datasets::Law> law_;
  int64_t vocab_size_ = 0, positions_ = 0, fixed_rows_ = 0, rows_at_once_ = 0;
  bool has_answered_ = false;
  std::unique_ptr<LiveModel> model_;
  LiveSets found_;
};

}  // namespace

void add_live_options(CLI::App& command, LiveOptions& options) {
  const char* group = "A live model";
  const auto add = [&](const char* name, auto& value, const std::string& what) {
    return command.add_option(name, value, what)->group(group);
  };
  command
      .add_flag("--probe", options.probe,
                "run a model on train, val and fresh tokens, and judge its losses")
      ->group(group);
  add("--subject", options.subject,
      "exec:COMMAND, exec-once:COMMAND or lib:PATH: tokens to logits (docs/programs.md)");
  add("--rows", options.rows, "rows of each set, at most")->capture_default_str();
  add("--positions", options.positions, "tokens of a row; default: those of the data, or 128");
  add("--batch", options.batch, "rows of a request");
  add("--seed", options.seed, "of the fresh set, drawn from --oracle; default: one drawn now")
      ->check(CLI::NonNegativeNumber);
  add("--committed", options.committed,
      "hash that the seed must have: what 'assay data --commit' printed before training");
  add("--data-seed", options.data_seed,
      "of 'assay data', where train and val were drawn from --oracle and are not given")
      ->check(CLI::NonNegativeNumber);
  add("--train-rows", options.train_rows, "rows of train that were trained on, with --data-seed");
  add("--logits", options.logits, "the program's tensor of logits, [B,T,V]")->capture_default_str();
  command
      .add_option_function<double>(
          "--timeout",
          [&options](double seconds) {
            options.elsewhere.limits.timeout =
                std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds));
          },
          "seconds that a program may take for an answer; default 60")
      ->check(CLI::Range(0.001, 1e6))
      ->group(group);
}

void check_live_options(const CLI::App& command, const LiveOptions& options) {
  for (const char* name : {"--subject", "--rows", "--positions", "--batch", "--seed", "--committed",
                           "--data-seed", "--train-rows", "--logits", "--timeout"}) {
    if (!options.probe && command.get_option(name)->count() > 0) {
      throw InputError(fmt::format("{}: expected with --probe", name));
    }
  }
  if (!options.probe) return;
  if (options.subject.empty()) {
    throw InputError("--probe: expected --subject exec:COMMAND, exec-once:COMMAND or lib:PATH");
  }
  const auto positive = [](const char* name, std::optional<int64_t> value, int64_t least) {
    constexpr int64_t kMost = int64_t{1} << 20;
    if (value && (*value < least || *value > kMost)) {
      throw InputError(
          fmt::format("{} {}: expected a number in {} .. {}", name, *value, least, kMost));
    }
  };
  positive("--rows", options.rows, 1);
  positive("--positions", options.positions, 2);
  positive("--batch", options.batch, 1);
  positive("--train-rows", options.train_rows, 1);
  if (options.train_rows && !options.data_seed) {
    throw InputError("--train-rows: expected with --data-seed, from which they were drawn");
  }
  if (options.committed.empty()) return;
  if (!options.seed) throw InputError("--committed: expected with --seed");
  const std::string hash = datasets::seed_commitment(*options.seed);
  if (hash != options.committed) {
    throw InputError(fmt::format("--committed {}: expected the hash of --seed {}, which is {}",
                                 golden::printable(options.committed), *options.seed, hash));
  }
}

LiveSets run_live_sets(const LiveOptions& options, const std::string& oracle,
                       std::optional<int64_t> vocab, std::array<training::SetArrays, 3>& sets) {
  try {
    return LiveRun(options, oracle, vocab, sets).run();
  } catch (const verify::SubjectFailure& failure) {
    throw InputError(fmt::format("--subject: {}", failure.what()));
  }
}

}  // namespace assay::cli
