# The build for a machine with a GPU that has nvcc, a C++20 compiler and little else: the contract, the CUDA side, its
# checks and its bench. Nothing is looked for on the system: the headers of fmt, nlohmann-json and Boost.Test come from a
# bundle (scripts/gpu-bundle.sh makes it), their libraries are not needed.
set(ASSAY_BUNDLE ${PROJECT_SOURCE_DIR}/build/gpu-bundle CACHE PATH "bundle with headers and cases")
foreach(HEADER fmt/format.h nlohmann/json.hpp boost/test/included/unit_test.hpp)
  if(NOT EXISTS ${ASSAY_BUNDLE}/include/${HEADER})
    message(FATAL_ERROR "${ASSAY_BUNDLE}: no include/${HEADER}: make the bundle with scripts/gpu-bundle.sh on a machine "
                        "that has Assay's packages, or name one with -DASSAY_BUNDLE=DIR")
  endif()
endforeach()
foreach(LIBRARY fmt::fmt nlohmann_json::nlohmann_json Boost::unit_test_framework)
  add_library(${LIBRARY} INTERFACE IMPORTED)
  target_include_directories(${LIBRARY} SYSTEM INTERFACE ${ASSAY_BUNDLE}/include)
endforeach()
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)
target_compile_options(Boost::unit_test_framework INTERFACE "SHELL:-include boost/test/included/unit_test.hpp")

set(ASSAY_CUDA ON)
set(ASSAY_SHARED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# The card of this machine; where there is none, that of the data centre.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE CAPABILITIES ERROR_QUIET RESULT_VARIABLE FAILED)
  if(NOT FAILED AND CAPABILITIES MATCHES "^([0-9]+)\\.([0-9]+)")
    set(CMAKE_CUDA_ARCHITECTURES ${CMAKE_MATCH_1}${CMAKE_MATCH_2})
  else()
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
endif()

include(cmake/targets.cmake)
include(cmake/cuda.cmake)
enable_testing()
add_subdirectory(golden)
add_subdirectory(cuda_impl)
add_subdirectory(verify)
add_subdirectory(cli)
add_subdirectory(tests/device)
