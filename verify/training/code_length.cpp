#include "verify/training/code_length.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace assay::verify::training {
namespace {

constexpr int64_t kMostModulus = 128;
constexpr int64_t kParts = 8;

}  // namespace

CodeLengthTest::CodeLengthTest(int64_t positions, int64_t documents)
    : positions_(std::max<int64_t>(positions, 1)) {
  strata_.push_back({"all tokens", std::log(0.5)});
  int64_t classes = 0;
  for (int64_t m = 2; m <= kMostModulus && m <= positions_; m *= 2) classes += m;
  for (int64_t m = 2; m <= kMostModulus && m <= positions_; m *= 2) {
    first_of_modulus_.push_back(strata_.size());
    for (int64_t r = 0; r < m; ++r) {
      strata_.push_back({fmt::format("positions {} modulo {}", r, m),
                         std::log(0.25 / static_cast<double>(classes))});
    }
  }
  first_part_ = strata_.size();
  parts_ = static_cast<std::size_t>(std::min(kParts, positions_));
  for (std::size_t part = 0; part < parts_; ++part) {
    const int64_t begin =
        (positions_ * static_cast<int64_t>(part) + static_cast<int64_t>(parts_) - 1) /
        static_cast<int64_t>(parts_);
    const int64_t end =
        (positions_ * static_cast<int64_t>(part + 1) + static_cast<int64_t>(parts_) - 1) /
        static_cast<int64_t>(parts_);
    strata_.push_back({fmt::format("positions {} .. {}", begin, end - 1),
                       std::log(0.125 / static_cast<double>(parts_))});
  }
  first_document_ = strata_.size();
  documents_ = documents > 1 ? static_cast<std::size_t>(documents) : 0;
  for (std::size_t document = 0; document < documents_; ++document) {
    strata_.push_back({fmt::format("row or document {}", document),
                       std::log(0.125 / static_cast<double>(documents_))});
  }
}

void CodeLengthTest::advance(std::size_t stratum, double d) {
  Stratum& at = strata_[stratum];
  at.sum += d;
  ++at.tokens;
  if (at.sum > at.highest) {
    at.highest = at.sum;
    log_e_ = std::max(log_e_, at.log_e());
  }
}

void CodeLengthTest::add(int64_t position, int64_t document, double d) {
  advance(0, d);
  int64_t m = 2;
  for (const std::size_t first : first_of_modulus_) {
    advance(first + static_cast<std::size_t>(position % m), d);
    m *= 2;
  }
  advance(
      first_part_ + static_cast<std::size_t>(position * static_cast<int64_t>(parts_) / positions_),
      d);
  if (document >= 0 && static_cast<std::size_t>(document) < documents_) {
    advance(first_document_ + static_cast<std::size_t>(document), d);
  }
}

const Stratum& CodeLengthTest::best() const {
  const Stratum* most = &strata_.front();
  for (const Stratum& stratum : strata_) {
    if (stratum.log_e() > most->log_e()) most = &stratum;
  }
  const Stratum* narrow = most;
  for (const Stratum& stratum : strata_) {
    const bool near = stratum.log_e() > 0 && stratum.log_e() >= 0.9 * most->log_e();
    if (near && stratum.tokens < narrow->tokens) narrow = &stratum;
  }
  return *narrow;
}

namespace {

// Document of token i: as the set says, else its row.
int64_t document_of(const TokenSet& set, std::size_t i) {
  return set.documents.empty() ? static_cast<int64_t>(i) / set.positions
                               : int64_t{set.documents[i]};
}

void keep_strata(const CodeLengthTest& test, CodeLength& out) {
  constexpr std::size_t kShown = 8;
  out.strata = test.strata();
  std::erase_if(out.strata, [](const Stratum& stratum) { return stratum.tokens == 0; });
  const std::size_t shown = std::min(kShown, out.strata.size());
  std::partial_sort(out.strata.begin(), out.strata.begin() + static_cast<int64_t>(shown),
                    out.strata.end(),
                    [](const Stratum& a, const Stratum& b) { return a.log_e() > b.log_e(); });
  out.strata.resize(shown);
}

}  // namespace

CodeLength code_length(const TokenSet& set, double threshold) {
  CodeLength out;
  int64_t documents = set.rows;
  for (const int32_t document : set.documents) {
    documents = std::max(documents, int64_t{document} + 1);
  }
  CodeLengthTest test(set.positions, documents);
  const std::size_t stride = std::max<std::size_t>(1, set.size() / 400);
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (!set.is_counted(i)) continue;
    const double d = set.oracle[i] - set.losses[i] - set.loss_resolution.slack(set.losses[i]) -
                     set.oracle_resolution.slack(set.oracle[i]);
    test.add(static_cast<int64_t>(i) % set.positions, document_of(set, i), d);
    if (out.alarm_token < 0 && test.log_e() >= threshold) out.alarm_token = test.tokens();
    if (i % stride == 0 || i + 1 == set.size()) {
      out.path_tokens.push_back(static_cast<double>(test.tokens()));
      out.path_sums.push_back(test.pooled().sum);
    }
  }
  if (test.tokens() == 0) {
    out.why_not = "no token is counted";
    return out;
  }
  out.ran = true;
  out.tokens = test.tokens();
  out.log_e = test.log_e();
  out.pooled = test.pooled();
  out.best = test.best();
  out.mean_gain = out.pooled.sum / static_cast<double>(out.tokens);
  keep_strata(test, out);
  return out;
}

double tokens_needed(double delta, double spread, double log_threshold, double z_power) {
  const double zs = z_power * spread;
  const double root = (zs + std::sqrt(zs * zs + 4 * delta * log_threshold)) / (2 * delta);
  return root * root;
}

}  // namespace assay::verify::training
