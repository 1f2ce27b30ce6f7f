// A request in a server: what server.cpp and server_queue.cpp know of it.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda_impl/serving/server.h"

namespace assay::serving {

struct Server::Job {
  Request request;
  double arrived_s = 0;
  int64_t slot = -1;  // -1 while it waits
  int64_t read = 0;   // tokens of the prompt
  int64_t overtaken = 0;
  std::vector<int32_t> tokens;  // new ones
  std::optional<double> started_s, first_token_s;
  std::optional<End> end;
  std::string why;

  // What a step reads of it.
  std::span<const int32_t> next(int64_t prefill_chunk) const {
    const std::span<const int32_t> prompt(request.tokens);
    if (read == static_cast<int64_t>(prompt.size())) return std::span(tokens).last(1);
    const int64_t left = static_cast<int64_t>(prompt.size()) - read;
    const int64_t count = prefill_chunk > 0 ? std::min(prefill_chunk, left) : left;
    return prompt.subspan(static_cast<std::size_t>(read), static_cast<std::size_t>(count));
  }
  // How many tokens that it has read stand at the beginning of `tokens` too.
  int64_t common_with(std::span<const int32_t> other) const {
    const std::span<const int32_t> prompt =
        std::span(request.tokens).first(static_cast<std::size_t>(read));
    const auto at = std::mismatch(prompt.begin(), prompt.end(), other.begin(), other.end());
    int64_t common = at.first - prompt.begin();
    // Behind its prompt stand its new tokens; the last of them has not been read.
    if (common < static_cast<int64_t>(request.tokens.size())) return common;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i, ++common) {
      const auto place = static_cast<std::size_t>(common);
      if (place >= other.size() || other[place] != tokens[i]) break;
    }
    return common;
  }
  bool prompt_is_read() const { return read == static_cast<int64_t>(request.tokens.size()); }
};

// Runs `work`; why it failed, "" if it did not. Broken invariants are not caught.
template <class Work>
std::string failure_of(const Work& work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
    return "not enough memory for one more block of its cache or its step";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

}  // namespace assay::serving
