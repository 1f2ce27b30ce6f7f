#include "golden/error.h"

namespace assay {

void fail_check(const char* condition, const std::string& values, const char* file, int line) {
  throw InternalError(std::string(file) + ":" + std::to_string(line) + ": " + condition +
                      " does not hold: " + values);
}

}  // namespace assay
