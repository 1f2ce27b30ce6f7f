// Settings from the environment.
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "cuda_impl/simt/simt.h"

namespace assay::simt::on_host::host {
namespace {

template <class Number>
Number parse_number(const char* variable, std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, number);
  if (status != std::errc() || stop != end) {
    throw Error(std::string(variable) + ": expected a number, got '" + std::string(text) + "'");
  }
  return number;
}

Config from_environment() {
  Config config;
  if (const char* value = std::getenv("SIMT_ORDER")) {
    const std::string_view order = value;
    if (order == "forward") {
      config.order = Order::forward;
    } else if (order == "reverse") {
      config.order = Order::reverse;
    } else if (order == "random") {
      config.order = Order::random;
    } else {
      throw Error("SIMT_ORDER: expected forward, reverse or random, got '" + std::string(order) +
                  "'");
    }
  }
  if (const char* value = std::getenv("SIMT_SEED")) {
    config.seed = parse_number<std::uint64_t>("SIMT_SEED", value);
  }
  if (const char* value = std::getenv("SIMT_WORKERS")) {
    config.workers = parse_number<int>("SIMT_WORKERS", value);
  }
  if (const char* value = std::getenv("SIMT_SKIP")) {
    const std::string_view site = value;
    const std::size_t colon = site.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
      throw Error("SIMT_SKIP: expected file:line, got '" + std::string(site) + "'");
    }
    config.skip_file = site.substr(0, colon);
    config.skip_line = parse_number<unsigned>("SIMT_SKIP", site.substr(colon + 1));
  }
  return config;
}

}  // namespace

Config& config() {
  static Config config = from_environment();
  return config;
}

}  // namespace assay::simt::on_host::host
