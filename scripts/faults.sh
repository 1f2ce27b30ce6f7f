#!/usr/bin/env bash
# The long campaigns of faults from outside, on a release build; tests/faults runs short ones of each with CTest.
#
#   scripts/faults.sh [BUILD_DIR]    default build/release
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/release}

cmake --build "$build" --target assay assay_fail_call parsers_fuzz fault_campaign
"$build/tests/faults/fuzz/parsers_fuzz" 100000 "$RANDOM"
"$build/tests/cli/systems/fault_campaign" 500 "$RANDOM"
library=$build/tests/faults/libassay_fail_call.so
python3 tests/faults/failed_calls.py "$build/cli/assay" "$library"
python3 tests/faults/interrupted.py "$build/cli/assay" "$library" --rounds 10 --seed "$RANDOM"
python3 tests/faults/corrupted.py "$build/cli/assay" --files 5000 --seed "$RANDOM"
python3 tests/faults/hostile_inputs.py "$build/cli/assay" --rounds 20 --seed "$RANDOM"
/usr/bin/python3 tests/faults/foreign_hdf5.py "$build/cli/assay" --flips 5000 --seed "$RANDOM"  # Debian's has h5py
/usr/bin/python3 tests/faults/programs.py "$build/cli/assay" --runs 500 --seed "$RANDOM"
