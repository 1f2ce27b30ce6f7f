// Sources of tokens of which every probability is known: what a model can reach, and not beat.
//
// A law gives p(x_t | x_0 .. x_{t-1}) of a sequence, exactly, from its first token on. A set of
// data is rows that are drawn independently, each a sequence of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace assay::datasets {

// Of -log p of a token that is drawn from p.
struct Surprise {
  double mean = 0;  // the entropy, nats
  double variance = 0;
};

// One sequence, as far as it was observed.
class Predictor {
 public:
  virtual ~Predictor() = default;
  virtual double probability(
      int32_t token) const = 0;                  // of being the next; 0 outside the vocabulary
  virtual int32_t quantile(double u) const = 0;  // the token at u in [0,1) of the cumulative
  virtual Surprise surprise() const = 0;         // of the next token
  virtual void observe(int32_t token) = 0;
};

class Law {
 public:
  virtual ~Law() = default;
  virtual int64_t vocab_size() const = 0;
  virtual std::unique_ptr<Predictor> begin() const = 0;
  // Nats a token, in the limit of long sequences; nothing where no sum gives it.
  virtual std::optional<double> entropy_rate() const = 0;
  // A token's law depends on no more tokens before it; nothing where it depends on all.
  virtual std::optional<int64_t> memory() const = 0;
  // -log p where it is the same for every token of every sequence.
  virtual std::optional<double> constant_surprise() const { return std::nullopt; }
};

// "markov:order=2,vocab=64": a name of known_laws() and settings. Throws InputError beginning with
// `where` for what is no such text.
std::unique_ptr<Law> parse_law(const std::string& text, const std::string& where);

// Whether the text begins as a law does, so that it is no file.
bool names_law(const std::string& text);

struct KnownLaw {
  const char* name;
  const char* settings;  // with their defaults
  const char* what;
};
std::span<const KnownLaw> known_laws();

// What is known of the tokens [N,T], a sequence a row.
struct KnownRows {
  std::vector<double> log_probs;    // [N,T] nats; -infinity for a token that cannot be
  std::vector<Surprise> surprises;  // [N,T], if asked for
};
KnownRows known_rows(const Law& law, std::span<const int32_t> tokens, int64_t positions,
                     bool with_surprises);

// -log p of a long sequence, averaged, where no sum gives the rate.
struct Estimate {
  double value = 0, standard_error = 0;
};
Estimate estimated_entropy_rate(const Law& law);

}  // namespace assay::datasets
