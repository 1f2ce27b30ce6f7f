#!/usr/bin/env bash
# Builds everything and runs every test through CTest: a release build (preset gate), with nvcc if there is one; then
# kernels and readers of files under ASan + UBSan, and kernels under TSan; and the sources through clang-format and
# clang-tidy. What a sanitizer adds nothing to, thread orders and planted defects, is the release build's alone. Needs
# no GPU.
#
#   scripts/test.sh              all of it, device code for sm_90
#   scripts/test.sh --nightly    device code for sm_80 too, every model under ASan, clang-tidy over every file
#   scripts/test.sh --release    the release build only
#   scripts/test.sh --fast       preset release, the host's side, without the tests that take longest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

presets=(gate asan tsan) nightly=OFF architectures=90 lint=(scripts/lint.sh --recent 24) tests=()
case "${1:-}" in
  "") ;;
  --nightly) architectures="80;90" lint=(scripts/lint.sh); nightly=ON; export ASSAY_TEST_ALL=1 ;;
  --release) presets=(gate) lint=() ;;
  --fast) presets=(release) lint=() architectures="" tests=(-LE slow) ;;
  *) echo "scripts/test.sh: $1: expected no option, --nightly, --release or --fast" >&2; exit 2 ;;
esac

start=$SECONDS
# step NAME COMMAND..: runs it and prints how long it took.
step() {
  local name=$1 begin=$SECONDS
  shift
  echo "== $name"
  "$@"
  echo "   ($((SECONDS - begin)) s)"
}

build() {
  local preset=$1 log=build/$1/build.log cuda=(-DASSAY_CUDA=OFF)
  if [ "$preset" = gate ] && [ -n "$architectures" ] && command -v nvcc >/dev/null; then
    cuda=(-DASSAY_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=$architectures")
  fi
  cmake --preset "$preset" "${cuda[@]}" -DASSAY_NIGHTLY=$nightly -Wno-dev | sed -n 's/^-- \(.*kernels .*\)/\1/p'
  cmake --build --preset "$preset" -j "$(nproc)" >"$log" || { tail -n 40 "$log"; return 1; }
  tail -n 1 "$log"
}

step "packages" scripts/setup.sh ${lint:+--lint}
for preset in "${presets[@]}"; do
  step "$preset: configure and build" build "$preset"
  step "$preset: test" ctest --preset "$preset" -j "$(nproc)" "${tests[@]}"
done
[ ${#lint[@]} -eq 0 ] || step "lint" "${lint[@]}"
echo "all in $((SECONDS - start)) s"
