#include "cli/train/saved_progress.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/train/run_folder.h"
#include "golden/contract/error.h"

namespace assay::cli {

TrainBackend::Progress read_saved_progress(const std::string& checkpoint, int64_t step) {
  using nlohmann::json;
  const std::string path = checkpoint + "/progress.json";
  const json document = read_object(path, "progress of a run");
  if (!document.is_object()) throw InputError(path + ": expected an object");
  const auto number = [&](const char* name, const std::string& expected, const auto& fits) {
    json value = document.value(name, json());
    if (value.is_number() && fits(value)) return value;
    throw InputError(fmt::format("{}: {}: expected {}, got {}", path, name, expected,
                                 value.is_null() ? "none" : golden::printable(value.dump())));
  };
  const auto at_most_step = [&](const json& value) {
    return value.is_number_integer() && value >= 0 && value <= step;
  };
  const auto is_step = [&](const json& value) {
    return value.is_number_integer() && value == step;
  };
  const auto is_scale = [](const json& value) {
    return std::isfinite(value.get<double>()) && value.get<double>() > 0;
  };
  const std::string range = fmt::format("a whole number in 0 .. {}", step);
  number("step", fmt::format("{}, as the folder's name says", step), is_step);
  return {.steps = number("steps_taken", range, at_most_step).get<int64_t>(),
          .good_steps = number("good_steps", range, at_most_step).get<int64_t>(),
          .loss_scale = number("loss_scale", "a positive number", is_scale).get<double>()};
}

}  // namespace assay::cli
