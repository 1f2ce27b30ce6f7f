// Included once by a Boost.Test program whose kernels may run on a GPU: without one the program
// prints why and exits with 77, which CTest takes for a skip. With ASSAY_REQUIRE_GPU=1 it exits
// with 1. On the host executor it does nothing.
#pragma once
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cuda_impl/simt/simt.h"

struct NeedsDevice {
  NeedsDevice() {
    const std::string reason = assay::simt::unavailable();
    if (reason.empty()) return;
    const char* required = std::getenv("ASSAY_REQUIRE_GPU");
    const bool fails = required != nullptr && std::string(required) == "1";
    std::printf("%s: no usable GPU: %s\n", fails ? "failed" : "skipped", reason.c_str());
    std::fflush(stdout);
    std::_Exit(fails ? 1 : 77);
  }
};
BOOST_TEST_GLOBAL_FIXTURE(NeedsDevice);
