// What a program says of itself when it is greeted (docs/programs.md).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "golden/contract/precision.h"

namespace assay::verify {

inline constexpr int kProtocol = 1;  // of the messages

struct ProgramDescription {
  std::string name;                                     // with its version
  std::string storage, accumulation, schedule, angles;  // "" where it does not say
  std::vector<std::string> can;                         // "force"
  std::string wide;                                     // patterns with commas; "": none
  std::string tensors;                                  // that it gives, the same; "": all
  // Of training: the type of weights and moments, and "double" or "master", in which 1 - beta^n is
  // formed; "" where it does not say. e of clip = max_norm / (norm + e), where it says.
  std::string master, scalars;
  std::optional<double> clip_epsilon;
  int64_t batch = 0, positions = 0;  // the only ones it takes; 0: any

  bool can_do(const std::string& word) const;
};

// Why it answers nothing, printable; "" if it does not say that.
std::string error_in(const nlohmann::json& answer);

// Throws InputError "'can': expected a list of texts, got 3" for a key that is not as it should be,
// for another protocol and, where it is required, for no name.
ProgramDescription read_description(const nlohmann::json& answer, bool named);

// The schedule that it declares, where `schedule` and `angles` ("" if not) do not say another.
// Throws InputError where it computes in another type than `storage`.
golden::PrecisionSchedule schedule_of(const ProgramDescription& program, golden::Precision storage,
                                      const std::string& schedule, const std::string& angles);

}  // namespace assay::verify
