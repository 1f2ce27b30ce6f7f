#!/usr/bin/env bash
# Builds everything and runs every test through CTest: the release build, then kernels and readers of files under
# ASan + UBSan, and kernels under TSan. What a sanitizer adds nothing to, thread orders and mutants, is the release build's
# alone. Needs no GPU and no CUDA toolkit; with nvcc the CUDA side is built too.
#
#   scripts/test.sh              all of it
#   scripts/test.sh --release    the release build only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

presets=(release asan tsan)
case "${1:-}" in
  "") ;;
  --release) presets=(release) ;;
  *) echo "scripts/test.sh: $1: expected no option or --release" >&2; exit 2 ;;
esac

scripts/setup.sh
for preset in "${presets[@]}"; do
  echo "== $preset: configure and build"
  cmake --preset "$preset" -Wno-dev | sed -n 's/^-- \(.*kernels .*\)/\1/p'
  log=build/$preset/build.log
  cmake --build --preset "$preset" -j "$(nproc)" >"$log" || { tail -n 40 "$log"; exit 1; }
  tail -n 1 "$log"
  echo "== $preset: test"
  ctest --preset "$preset" -j "$(nproc)"
done
