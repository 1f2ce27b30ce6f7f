#!/usr/bin/env bash
# From nothing to a verdict: installs packages, builds Release, makes golden data for Method 1 from real text,
# verifies our kernels in fp32 and bf16, looks for leaks, and leaves a golden file and an HTML report.
# Needs no GPU and no CUDA toolkit. Usage: scripts/quickstart.sh [OUTPUT_FOLDER]
set -euo pipefail
out=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../out}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$out"

# step NAME COMMAND..: runs it and prints how long it took.
step() {
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  "$@"
  echo "   ($((SECONDS - start)) s)"
}

build() {
  cmake --preset quickstart -Wno-dev | tee "$out/build.log" | sed -n 's/^-- \(.*kernels .*\)/   \1/p'
  cmake --build --preset quickstart -j "$(nproc)" >>"$out/build.log" || { tail -n 30 "$out/build.log"; return 1; }
}

text() {
  if command -v bible >/dev/null; then
    bible gen1:1-rev22:21 >"$out/text.txt" </dev/null
  else
    cat /usr/share/common-licenses/* >"$out/text.txt"
  fi
  echo "   $(wc -c <"$out/text.txt") bytes of text"
}

verdict=0
verify() {
  local status=0
  $assay verify "$out/golden.h5" "$@" || status=$?
  [ $status -eq 0 ] || verdict=$status
}

start=$SECONDS
assay=build/quickstart/cli/assay
step "packages" scripts/setup.sh
step "build" build
step "text" text
step "generate golden data, Method 1" \
  $assay generate --preset small --method 1 --seq 48 --batch 2 --tokens "$out/text.txt" --out "$out/golden.h5" --force
step "prove causality of the method" $assay prove --preset small --method 1
step "verify fp32, and look for leaks" \
  verify --precision fp32 --leakage --report "$out/report.html" --json "$out/report.json"
step "verify bf16" verify --precision bf16 --report "$out/report-bf16.html"
echo
echo "golden file  $out/golden.h5"
echo "report       $out/report.html (fp32, leakage) and $out/report-bf16.html"
echo "all in $((SECONDS - start)) s; exit code $verdict"
exit $verdict
