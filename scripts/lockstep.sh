#!/usr/bin/env bash
# The long campaign of lockstep training, on a release build: correct training loops at random, of which none may be
# accused (CTest runs 25), and every defect planted in a program.
#   scripts/lockstep.sh [CASES] [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
assay=build/release/cli/assay
cmake --build --preset release --target assay
"$assay" campaign clean --train --cases "${1:-200}" --seed "${2:-$RANDOM}"
python3 tests/cli/lockstep/lockstep_test.py "$assay" examples
