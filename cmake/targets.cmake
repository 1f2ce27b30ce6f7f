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

# assay_test(NAME SOURCES file.. LINK target.. LABELS label.. [ENVIRONMENT VAR=value..] [TIMEOUT seconds])
# A Boost.Test program (its main comes from the framework) registered with CTest. Exit code 77 is a skip.
function(assay_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINK;LABELS;ENVIRONMENT;ARGS" ${ARGN})
  add_executable(${NAME} ${ARG_SOURCES})
  target_compile_definitions(${NAME} PRIVATE BOOST_TEST_MODULE=${NAME})
  target_link_libraries(${NAME} PRIVATE assay_flags ${ARG_LINK} Boost::unit_test_framework)
  add_test(NAME ${NAME} COMMAND ${NAME} --log_level=message ${ARG_ARGS})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${NAME} PROPERTIES
    LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77 ENVIRONMENT "${ARG_ENVIRONMENT}")
endfunction()
