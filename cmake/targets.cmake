# Flags that every target of the project shares, and the function that declares a test.

# C++20, warnings as errors, and no contraction of a*b+c: doubles that count must not depend on -mfma.
add_library(assay_flags INTERFACE)
target_compile_features(assay_flags INTERFACE cxx_std_20)
target_include_directories(assay_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(NOT ASSAY_DEVICE_ONLY)  # there the compiler is whatever the machine has
  set(WARNINGS_AS_ERRORS "-Werror;")
endif()
target_compile_options(assay_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;${WARNINGS_AS_ERRORS}-ffp-contract=off>")
set(CMAKE_CXX_EXTENSIONS OFF)
# g++ 12 sees overlapping copies in "literal" + std::string (GCC bug 105651).
target_compile_options(assay_flags INTERFACE
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>)

# A sanitizer sees more accesses at -O1 than at -O2, and is told lines; the compiler takes half as long. What tests
# wait for, targets with the property ASSAY_IS_HOT, keeps -O2.
if(ASSAY_SANITIZE)
  target_compile_options(assay_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-g1;$<IF:$<BOOL:$<TARGET_PROPERTY:ASSAY_IS_HOT>>,-O2,-O1>>)
endif()
if(ASSAY_SANITIZE STREQUAL "address")
  target_compile_options(assay_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined;-fno-sanitize-recover=all;-fno-omit-frame-pointer>)
  target_link_options(assay_flags INTERFACE -fsanitize=address,undefined)
elseif(ASSAY_SANITIZE STREQUAL "thread")
  # The compile flag is left to cuda_impl: its executor talks to the TSan runtime itself and must not carry it.
  target_link_options(assay_flags INTERFACE -fsanitize=thread)
elseif(NOT ASSAY_SANITIZE STREQUAL "")
  message(FATAL_ERROR "ASSAY_SANITIZE=${ASSAY_SANITIZE}: expected address, thread or empty")
endif()

# Coverage for libFuzzer, with clang: tests/faults/fuzz.
option(ASSAY_FUZZ "build the fuzz targets of libFuzzer" OFF)
if(ASSAY_FUZZ)
  target_compile_options(assay_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=undefined -g1)
  target_link_options(assay_flags INTERFACE -fsanitize=address,undefined)
endif()

# For cold code, whose own speed nobody waits for (tests, the command line, whatever reads and writes text): half the
# time of -O3 to compile.
set(ASSAY_COLD_OPTIONS $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>)

# Precompiled headers: parsing the standard library, fmt, oneTBB, nlohmann-json or Boost.Test costs more than the code
# of most files. OFF shows what a file forgot to include.
option(ASSAY_PCH "precompile the libraries' headers" ON)
set(ASSAY_STANDARD_HEADERS
  <algorithm> <array> <cmath> <cstdint> <cstdio> <cstring> <functional> <limits> <map> <memory> <numeric> <optional>
  <set> <span> <stdexcept> <string> <string_view> <tuple> <type_traits> <utility> <vector>)

# Several sources as one: shared headers and templates are compiled once for all of them. For a build from nothing; after
# a small change it compiles more than the file. Of the libraries named to assay_in_batches; kernels stay apart.
option(ASSAY_UNITY "compile sources together, in batches" OFF)

# assay_precompile(TARGET header..): the standard headers and these, once for all sources of a target.
function(assay_precompile TARGET)
  if(ASSAY_PCH AND NOT ASSAY_DEVICE_ONLY)
    target_precompile_headers(${TARGET} PRIVATE ${ASSAY_STANDARD_HEADERS} ${ARGN})
  endif()
endfunction()

# assay_precompiled_like(TARGET OTHER): what OTHER, compiled with the same options, has precompiled.
function(assay_precompiled_like TARGET OTHER)
  if(ASSAY_PCH AND NOT ASSAY_DEVICE_ONLY)
    target_precompile_headers(${TARGET} REUSE_FROM ${OTHER})
  endif()
endfunction()

function(assay_in_batches)
  foreach(TARGET ${ARGN})
    set_target_properties(${TARGET} PROPERTIES UNITY_BUILD ${ASSAY_UNITY} UNITY_BUILD_BATCH_SIZE 8)
    if(ASSAY_UNITY)  # there a class with a member of an unnamed namespace's type is no class of a header
      target_compile_options(${TARGET} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
    endif()
  endforeach()
endfunction()

# assay_test(NAME SOURCES file.. LINK target.. LABELS label.. [FLAGS target] [ENVIRONMENT VAR=value..]
#            [TIMEOUT seconds] [COST seconds])
# A Boost.Test program registered with CTest; its main and its precompiled headers are those of tests/main.
# Exit code 77 is a skip. FLAGS: assay_kernel_flags for a test with kernels in it. COST is for tests of minutes under a
# sanitizer, about its seconds without: CTest starts them first.
function(assay_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT;COST;FLAGS" "SOURCES;LINK;LABELS;ENVIRONMENT" ${ARGN})
  add_executable(${NAME} ${ARG_SOURCES})
  target_compile_options(${NAME} PRIVATE ${ASSAY_COLD_OPTIONS})
  if(ARG_FLAGS)
    set(MAIN assay_kernel_test_main)
  else()
    set(MAIN assay_test_main)
    set(ARG_FLAGS assay_flags)
  endif()
  target_link_libraries(${NAME} PRIVATE ${ARG_FLAGS} ${ARG_LINK} fmt::fmt Boost::unit_test_framework)
  if(ASSAY_DEVICE_ONLY)  # Boost.Test is its headers there, main among them
    target_compile_definitions(${NAME} PRIVATE BOOST_TEST_MODULE=${NAME})
  else()
    target_link_libraries(${NAME} PRIVATE ${MAIN})
    if(ASSAY_PCH)
      target_precompile_headers(${NAME} REUSE_FROM ${MAIN})
    endif()
  endif()
  add_test(NAME ${NAME} COMMAND ${NAME} --log_level=message)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_COST)
    set(ARG_COST 0)
  endif()
  if(ARG_COST GREATER_EQUAL 10)  # scripts/test.sh --fast leaves these out
    list(APPEND ARG_LABELS slow)
  endif()
  set_tests_properties(${NAME} PROPERTIES
    LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} COST ${ARG_COST} SKIP_RETURN_CODE 77 ENVIRONMENT "${ARG_ENVIRONMENT}")
endfunction()

# gpu_architecture(RESULT): "90" for compute capability 9.0 of the first GPU; "" where there is none.
function(gpu_architecture RESULT)
  set(${RESULT} "" PARENT_SCOPE)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE CAPABILITIES ERROR_QUIET RESULT_VARIABLE FAILED)
  if(NOT FAILED AND CAPABILITIES MATCHES "^([0-9]+)\\.([0-9]+)")
    set(${RESULT} ${CMAKE_MATCH_1}${CMAKE_MATCH_2} PARENT_SCOPE)
  endif()
endfunction()
