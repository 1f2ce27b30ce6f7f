// The code-length test: has a model gained over the source's own probabilities?
//
//   D_t = log q(x_t | x_<t) - log p(x_t | x_<t)
//
// Of a model q that is causal, normalised and has not seen these tokens, E_n = exp(sum_{t<=n} D_t)
// is a nonnegative supermartingale that starts at 1, so
//
//   (1)  P(sup_n E_n >= 1/a) <= a                                                   (Ville, 1939)
//
// No variance, no sample size, and one may stop when one likes. The tokens are also sorted into
// strata (position modulo 2, 4, .., 128; parts of the row; rows or documents), each a process of
// its own with a share w of the error rate, so that of all of them
//
//   (2)  P(max_s sup_n w_s E_n^s >= 1/a) <= a,   sum_s w_s <= 1
//
// The pooled process has w = 1/2, positions share 1/4, parts 1/8, rows or documents 1/8.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "verify/training/evidence.h"

namespace assay::verify::training {

struct Stratum {
  std::string name;
  double log_weight = 0;  // log w
  double sum = 0;         // of D
  double highest = 0;     // sup over its tokens, from 0 on
  int64_t tokens = 0;

  double log_e() const { return highest + log_weight; }
};

class CodeLengthTest {
 public:
  // Of rows of `positions`, with so many rows or documents; strata that can have no token are left
  // out.
  CodeLengthTest(int64_t positions, int64_t documents);

  void add(int64_t position, int64_t document, double d);

  double log_e() const { return log_e_; }  // (2), log of max_s sup_n w_s E_n^s
  int64_t tokens() const { return strata_.front().tokens; }
  const Stratum& pooled() const { return strata_.front(); }
  const std::vector<Stratum>& strata() const { return strata_; }  // the pooled one first
  // The stratum with the fewest tokens of those whose log_e is within a tenth of the largest: where
  // the gain is.
  const Stratum& best() const;

 private:
  void advance(std::size_t stratum, double d);

  int64_t positions_;
  std::vector<std::size_t> first_of_modulus_;  // strata of modulus 2, 4, ..
  std::size_t first_part_ = 0, parts_ = 0, first_document_ = 0, documents_ = 0;
  std::vector<Stratum> strata_;
  double log_e_ = -1e300;
};

// The test of a set, and what a report shows of it.
struct CodeLength {
  bool ran = false;
  std::string why_not;
  int64_t tokens = 0;
  double log_e = 0;      // of all strata
  double mean_gain = 0;  // of D
  Stratum pooled, best;
  std::vector<Stratum> strata;                 // those with the largest log_e, at most 8
  int64_t alarm_token = -1;                    // the first at which log_e passed the threshold
  std::vector<double> path_tokens, path_sums;  // the pooled process, at most some hundred points
};

// D is diminished by what rounding may have cost, so that no rounding ever is a gain.
CodeLength code_length(const TokenSet& set, double threshold);

// Tokens until sum D reaches log(1/a) for a gain of `delta` a token of spread s, with power 1 - b:
//   n = [ (z_b s + sqrt(z_b^2 s^2 + 4 delta log(1/a))) / (2 delta) ]^2
double tokens_needed(double delta, double spread, double log_threshold, double z_power);

}  // namespace assay::verify::training
