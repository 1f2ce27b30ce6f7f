#include "verify/judge/checkpointed.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "golden/contract/error.h"
#include "verify/judge/stopwatch.h"

namespace assay::verify {
namespace {

using Gradients = std::map<std::string, std::vector<double>>;

Gradients gradients_of(Subject& subject, const Batch& batch) {
  Gradients all;
  subject.run_gradients(batch, [&](Observed observed) {
    if (observed.read) {
      observed.tensor.values.resize(
          static_cast<std::size_t>(golden::element_count(observed.tensor.shape)));
      observed.read(observed.tensor.values);
    }
    all[observed.name] = std::move(observed.tensor.values);
  });
  return all;
}

// The first gradient that is not there in both, or has other bits; "" if none.
std::string first_difference(const Gradients& a, const Gradients& b) {
  for (const auto& [name, values] : a) {
    const auto found = b.find(name);
    if (found == b.end()) return name + ", which is missing there";
    const std::vector<double>& other = found->second;
    if (values.size() != other.size()) return name + ", which has another size there";
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::bit_cast<uint64_t>(values[i]) == std::bit_cast<uint64_t>(other[i])) continue;
      return fmt::format("{}: element {} is {:.17g} with everything kept and {:.17g} so", name, i,
                         values[i], other[i]);
    }
  }
  for (const auto& [name, values] : b) {
    if (!a.contains(name)) return name + ", which is there alone";
  }
  return "";
}

}  // namespace

std::optional<Check> checkpointed_check(const Case& file, Subject& subject) {
  const std::vector<Checkpointed> forms = subject.checkpointed();
  if (!subject.capabilities().can_grad || forms.empty()) return std::nullopt;
  Stopwatch watch;
  Check check{.name = "mode: checkpointed", .status = Status::pass, .summary = {}, .details = {}};
  std::vector<std::string> shown;
  Gradients own;
  for (const Checkpointed& form : forms) {
    try {
      const std::unique_ptr<Subject> other = form.make();
      if (own.empty()) own = gradients_of(subject, file.batch);
      const std::string differs = first_difference(own, gradients_of(*other, file.batch));
      if (!differs.empty()) {
        check.status = Status::fail;
        check.summary = fmt::format("with {}: {}", form.what, differs);
        break;
      }
      shown.push_back(form.what);
    } catch (const Unsupported& reason) {
      check.details.push_back(fmt::format("not tried: {}: {}", form.what, reason.what()));
    } catch (const InputError& reason) {
      check.details.push_back(fmt::format("not tried: {}: {}", form.what, reason.what()));
    }
  }
  if (check.summary.empty() && shown.empty()) return std::nullopt;
  if (check.summary.empty()) {
    check.summary = fmt::format("{} gradients with {}: bit for bit those with everything kept",
                                own.size(), fmt::join(shown, ", and with "));
  }
  check.seconds = watch.lap();
  return check;
}

}  // namespace assay::verify
