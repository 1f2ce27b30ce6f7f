# The detectors of detectors.cpp, each in verify/leakage/NAME.cpp with its test in tests/verify/leakage/NAME_test.cpp.
set(LEAK_DETECTORS
  repeat
  state
  influence
  prefix
  batch
  labels)
