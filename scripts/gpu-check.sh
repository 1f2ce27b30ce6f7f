#!/usr/bin/env bash
# Builds the CUDA side and runs every check and the bench on this machine's GPU. Needs nvcc, cmake, ninja (pip's will do)
# or make, a C++20 compiler, python3 with PyTorch, and a bundle (scripts/gpu-bundle.sh makes one where Assay's packages are).
#
#   scripts/gpu-check.sh OUT [--quick] [--bundle DIR]     --quick: no bench; DIR: default build/gpu-bundle
#
# Writes OUT/gpu-check.json, OUT/gpu-check.md and a log of every part. A part that crashes or runs out of time is reported
# and stops no other. Exit codes: 0 everything that was asked for passed; 1 not; 2 usage, no bundle; 77 no CUDA device.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

usage() { echo "scripts/gpu-check.sh: $1; usage: scripts/gpu-check.sh OUT [--quick] [--bundle DIR]" >&2; exit 2; }

out='' quick='' bundle=build/gpu-bundle
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1 ;;
    --bundle) [ $# -gt 1 ] || usage "--bundle: expected a folder"; bundle=$2; shift ;;
    -*) usage "$1: no such option" ;;
    *) [ -z "$out" ] || usage "$1: expected one folder"; out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || usage "expected a folder to write to"
out=$(realpath -m "$out") bundle=$(realpath -m "$bundle")
if [ ! -f "$bundle/bundle.json" ]; then
  echo "scripts/gpu-check.sh: $bundle: no bundle; make one where Assay is built: scripts/gpu-bundle.sh $bundle" >&2
  exit 2
fi
command -v python3 >/dev/null || { echo "scripts/gpu-check.sh: no python3, which writes the report" >&2; exit 2; }
mkdir -p "$out" || exit 2
rm -f "$out/gpu-check.json" "$out/gpu-check.md" "$out/parts.jsonl"

budget=${ASSAY_GPU_SECONDS:-530} # for all parts together
build=build/device
assay_c=$build/cuda_impl/engine/libassay_c_shared.so

# record PART CODE SECONDS: one line of parts.jsonl; CODE is an exit status, or "skipped", "absent".
record() {
  printf '{"part": "%s", "code": "%s", "seconds": %s}\n' "$1" "$2" "$3" >>"$out/parts.jsonl"
  printf '%-22s %s (%s s)\n' "$1" "$2" "$3"
}

# part NAME SECONDS COMMAND..: runs it within its time and what is left of all; 124: out of time.
part() {
  local name=$1 limit=$2 start=$SECONDS left=$((budget - SECONDS)) code=0
  shift 2
  rm -f "$out/$name.json" "$out/$name.log" # of an earlier run
  [ "$left" -lt "$limit" ] && limit=$left
  if [ "$limit" -lt 1 ]; then
    record "$name" 124 0
    return
  fi
  timeout --kill-after=5 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
  record "$name" "$code" $((SECONDS - start))
}

# Tools that pip installed may stand outside of PATH.
for tool in cmake ninja; do
  command -v $tool >/dev/null && continue
  folder=$(python3 -c "import $tool; print($tool.CMAKE_BIN_DIR if '$tool' == 'cmake' else $tool.BIN_DIR)" 2>/dev/null) &&
    PATH=$folder:$PATH
done
command -v nvcc >/dev/null || [ ! -x /usr/local/cuda/bin/nvcc ] || PATH=$PATH:/usr/local/cuda/bin
generator=()
command -v ninja >/dev/null || generator=(-G "Unix Makefiles")

part configure 60 cmake --preset device "${generator[@]}" -DASSAY_BUNDLE="$bundle" -Wno-dev
part build 240 cmake --build $build -j "$(nproc)"

export ASSAY_REQUIRE_GPU=1
part device-check 120 $build/cli/gpu_check/device_check "$bundle" --json "$out/device-check.json"
part kernels-check 120 $build/tests/device/kernels_check --json "$out/kernels-check.json"
part simt-collectives 30 $build/tests/device/simt/simt_collectives_gpu_test
part simt-mma 30 $build/tests/device/simt/simt_mma_gpu_test

for bench in author train gemms plain longest wide; do
  if [ -n "$quick" ]; then
    record bench-$bench skipped 0
  else
    part bench-$bench 90 python3 bench/device_bench.py $bench --library $assay_c --json "$out/bench-$bench.json"
  fi
done

# One case in each precision a run: what a sanitizer slows down by up to a hundred. "wide" takes tensor cores.
sanitize() {
  local name=sanitizer-$1-$2
  if command -v compute-sanitizer >/dev/null; then
    part "$name" 60 compute-sanitizer --tool "$1" --error-exitcode 86 $build/cli/gpu_check/device_check "$bundle" \
      --only "1-$2-*-keep" --precision fp32 --precision bf16 --any-methods --json "$out/$name.json"
  else
    record "$name" absent 0
  fi
}
for tool in memcheck racecheck synccheck; do sanitize $tool llama-gqa; done
for tool in memcheck racecheck; do sanitize $tool wide; done

{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "no nvidia-smi"
} | head -n 1 >"$out/device.log"
nvcc --version 2>/dev/null | sed -n 's/.*release \([^,]*\).*/\1/p' >"$out/cuda.log"
{ git describe --always --dirty 2>/dev/null || sed 's/$/ (of the bundle; no git here)/' "$bundle/commit.txt"; } >"$out/commit.log"
python3 scripts/gpu-report.py "$out"
