// Whether what a request gets depends on its neighbours: beside the server each checked request
// runs once more in a model of its own, prompt in one piece and then token by token, and logits and
// tokens are compared bit for bit as they come.
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
  AloneCheck(MakeStepModel make, int64_t capacity) : make_(std::move(make)), capacity_(capacity) {}

  void started(const serving::Request& request);  // is checked from here on
  void token(const serving::Token& token);        // of any request
  void ended(const std::string& id);

  int64_t requests() const { return requests_; }
  int64_t tokens() const { return tokens_; }
  verify::Check check() const;

 private:
  struct Alone {
    StepModelPointer model;
    std::vector<int32_t> next;  // what its next step reads
    bool differs = false;
  };

  void compare(Alone& alone, const serving::Token& token, std::span<const double> logits);

  MakeStepModel make_;
  int64_t capacity_;
  std::map<std::string, Alone> running_;
  int64_t requests_ = 0, tokens_ = 0, differing_ = 0;
  double largest_ = 0;  // difference of logits
  std::vector<std::string> details_;
};

}  // namespace assay::cli
