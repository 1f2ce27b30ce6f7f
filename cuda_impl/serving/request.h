// A request and what becomes of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace assay::serving {

struct Request {
  std::string id;
  std::vector<int32_t> tokens;  // the prompt
  int64_t max_new_tokens = 0;
  std::optional<int32_t> stop_token = {};  // ends the request, as its last token
};

enum class End {
  length,     // max_new_tokens are there
  stop,       // the stop token is there
  cancelled,  // asked for; the tokens until then are there
  failed,     // the model could not go on with it; the tokens until then are there
};

const char* end_name(End end);

// Times are seconds of the server's clock.
struct Outcome {
  std::string id;
  End end = End::length;
  std::string why;              // of failed
  std::vector<int32_t> tokens;  // new ones
  int64_t prompt_tokens = 0;
  int64_t overtaken = 0;  // requests that came later and started earlier
  double arrived_s = 0;
  std::optional<double> started_s, first_token_s;  // empty where it did not come to that
  double ended_s = 0;
};

}  // namespace assay::serving
