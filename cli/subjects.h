// Subjects by the name a user gives them.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/contract/weights.h"
#include "verify/subjects/subject.h"

namespace assay::cli {

// A device was asked for and there is none. Exit code 77.
struct NoDevice : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// simt, cuda, reference, file:PATH, or auto: cuda where there is a device, else simt; behind simt, cuda and
// auto the options of cuda::parse_backend_name. `weights` must outlive the subject. Throws InputError for
// any other name, NoDevice for cuda without a device.
std::unique_ptr<verify::Subject> make_subject(const std::string& name, golden::Precision precision,
                                              const golden::ModelConfig& config,
                                              const golden::WeightSource& weights);

}  // namespace assay::cli
