// Logs of training runs as files, and what the notes on them say.
#pragma once

#include <algorithm>
#include <string>

#include "tests/golden/sample.h"
#include "verify/training/readers/text_logs.h"

namespace assay::verify::training {

struct LogFiles : golden::sample::TemporaryFolder {
  Curve read(const std::string& name, const std::string& text,
             const std::string& val_name = "") const {
    golden::sample::put_bytes(file(name), text);
    return read_curve(file(name), val_name);
  }
};

inline bool has_note(const Curve& curve, const std::string& part) {
  return std::any_of(curve.notes.begin(), curve.notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

}  // namespace assay::verify::training
