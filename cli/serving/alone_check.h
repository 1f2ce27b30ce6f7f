// Whether what a request gets depends on its neighbours, or on its cache. Beside the server each
// checked request runs once more in a model of its own, prompt in one piece and then token by
// token, and logits and tokens are compared bit for bit as they come; at its end they are compared
// with those of one forward pass over the whole sequence, which has no cache.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/serving/step_models.h"
#include "cuda_impl/serving/server.h"
#include "verify/verdict.h"

namespace assay::cli {

class AloneCheck {
 public:
  AloneCheck(ServedModels models, int64_t capacity)
      : models_(std::move(models)), capacity_(capacity) {}

  void started(const serving::Request& request);  // is checked from here on
  void token(const serving::Token& token);        // of any request
  void ended(const std::string& id);

  verify::Check alone() const;
  verify::Check whole() const;

 private:
  struct Sequence {
    StepModelPointer model;
    std::vector<int32_t> tokens;  // read so far
    std::size_t prompt = 0;
    std::vector<int32_t> next;   // what its next step reads
    std::vector<double> logits;  // [n,V] that the server's tokens were chosen from
    bool differs = false;
  };
  struct Result {
    int64_t requests = 0, tokens = 0, differing = 0;
    double largest = 0;  // difference of logits
    std::vector<std::string> details;

    verify::Check check(const char* name, const char* what) const;
  };

  ServedModels models_;
  int64_t capacity_;
  std::map<std::string, Sequence> running_;
  Result alone_, whole_;
};

}  // namespace assay::cli
