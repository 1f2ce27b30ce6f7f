#include "verify/judge/untapped.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

namespace assay::verify {
namespace {

// Index of the first element whose bits differ; -1 if none do.
int64_t first_difference(std::span<const double> tapped, std::span<const double> untapped) {
  if (tapped.size() != untapped.size()) return 0;
  for (std::size_t i = 0; i < tapped.size(); ++i) {
    if (std::memcmp(&tapped[i], &untapped[i], sizeof(double)) != 0) return static_cast<int64_t>(i);
  }
  return -1;
}

}  // namespace

Check untapped_check(const Case& file, Subject& subject, const Ledger& ledger) {
  const auto start = std::chrono::steady_clock::now();
  Check check{.name = "numerics: untapped", .status = Status::pass, .summary = "", .details = {}};
  std::string compared;
  for (const Result result : {Result::logits, Result::loss}) {
    const std::string name = result == Result::logits ? "logits" : "loss";
    if (ledger.find_values(name) == nullptr) continue;
    const golden::Tensor untapped = subject.run_untapped(file.batch, result);
    const reference::Array tapped = ledger.values(name);
    const std::span<const double> values = tapped.values();
    compared += (compared.empty() ? "" : " and ") + name;
    const int64_t first = first_difference(values, untapped.values);
    if (first < 0) continue;
    const auto i = static_cast<std::size_t>(first);
    check.status = Status::fail;
    check.details.push_back(fmt::format(
        "{}: differs where only it is asked for, first at element {}: {:.9g} with every tensor "
        "read out, {:.9g} without",
        name, first, values[i], i < untapped.values.size() ? untapped.values[i] : 0.0));
  }
  if (compared.empty()) {
    check.status = Status::inconclusive;
    check.summary = "neither logits nor loss was handed over by the run that was judged";
  } else {
    check.summary =
        fmt::format("{} of a run without taps {} those of the one that was judged", compared,
                    check.status == Status::pass ? "equal bit for bit" : "are not");
  }
  check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return check;
}

}  // namespace assay::verify
