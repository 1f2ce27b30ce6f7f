#!/usr/bin/env bash
# libFuzzer over every parser of what a user hands over (tests/faults/fuzz), with ASan and UBSan; needs clang. Prints for
# each the executions, the coverage (edges of the instrumented code), the largest memory and what was found.
#
#   scripts/fuzz.sh [SECONDS [BUILD_DIR [PARSERS]]]    default 60 a parser, build/fuzz, all
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60} build=${2:-build/fuzz}
parsers=${3:-$(sed -n 's/^ *foreach(TARGET \(.*\))/\1/p' tests/faults/fuzz/CMakeLists.txt)}

cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=clang++ -DASSAY_FUZZ=ON > /dev/null
# shellcheck disable=SC2086  # a list of words
cmake --build "$build" --target $(printf 'fuzz_%s ' $parsers)
export LSAN_OPTIONS=suppressions=$PWD/tests/golden/lsan.supp:print_suppressions=0  # HDF5's own
failed=0
for parser in $parsers; do
  corpus=$build/corpus/$parser
  mkdir -p "$corpus" "$build/findings"
  ASSAY_FUZZ_SEEDS=$corpus "$build/tests/faults/fuzz/fuzz_$parser" -runs=0 > /dev/null 2>&1
  if ! "$build/tests/faults/fuzz/fuzz_$parser" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 \
      -artifact_prefix="$build/findings/$parser-" -print_final_stats=1 "$corpus" > "$build/$parser.log" 2>&1; then
    failed=1
    grep -m 3 -E 'ERROR|SUMMARY|what\(\)' "$build/$parser.log" || true
  fi
  printf '%-12s %9s executions, %s, peak %s MB\n' "$parser" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$parser.log")" \
    "$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$build/$parser.log" | tail -1)" \
    "$(sed -n 's/^stat::peak_rss_mb: *//p' "$build/$parser.log")"
done
exit $failed
