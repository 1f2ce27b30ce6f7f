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

# For code whose own speed nobody waits for, tests and the command line: half the time of -O3 to compile.
set(ASSAY_GLUE_OPTIONS $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>)

# assay_test(NAME SOURCES file.. LINK target.. LABELS label.. [ENVIRONMENT VAR=value..] [TIMEOUT seconds] [COST seconds])
# A Boost.Test program (its main comes from the framework) registered with CTest. Exit code 77 is a skip.
# COST is for tests of minutes under a sanitizer, about its seconds without: CTest starts them first.
function(assay_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT;COST" "SOURCES;LINK;LABELS;ENVIRONMENT" ${ARGN})
  add_executable(${NAME} ${ARG_SOURCES})
  target_compile_definitions(${NAME} PRIVATE BOOST_TEST_MODULE=${NAME})
  target_compile_options(${NAME} PRIVATE ${ASSAY_GLUE_OPTIONS})
  target_link_libraries(${NAME} PRIVATE assay_flags ${ARG_LINK} Boost::unit_test_framework)
  add_test(NAME ${NAME} COMMAND ${NAME} --log_level=message)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_COST)
    set(ARG_COST 0)
  endif()
  set_tests_properties(${NAME} PROPERTIES
    LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} COST ${ARG_COST} SKIP_RETURN_CODE 77 ENVIRONMENT "${ARG_ENVIRONMENT}")
endfunction()
