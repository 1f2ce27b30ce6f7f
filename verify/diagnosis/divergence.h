// The block of lines that tells where a candidate first goes wrong.
#pragma once

#include <string>
#include <vector>

#include "verify/numerics/views.h"

namespace assay::verify {

// Local: the checkpoint is wrong given its inputs. Free: every checkpoint is right given its
// inputs, but what they inherit adds up beyond the free-running bound.
enum class View { local, free };

struct Divergence {
  View view = View::local;
  const Failure* failure = nullptr;
  const LocalInputs* inputs = nullptr;  // what the local view starts from
  bool forced = false;                  // those are golden values, else the candidate's own
  std::string bound_why;                // of the free-running view
  std::string diagnosis;                // "" if nothing fits
};

std::vector<std::string> divergence_block(const Case& file,
                                          const golden::PrecisionSchedule& schedule,
                                          const GoldenValues& golden,
                                          const std::vector<CheckpointRow>& rows,
                                          const Divergence& divergence, const std::string& command);

}  // namespace assay::verify
