#!/usr/bin/env bash
# clang-format over every source, lines of 100 columns at most (comments and Python too), and clang-tidy. clang-tidy
# leaves the CUDA side out, whose host executor needs std::source_location, which Debian 12's clang 14 lacks. It reads
# the sources without precompiled headers, so that a missing include shows. Exit code 1 when one of them has something
# to say.
#
#   scripts/lint.sh              every file through clang-tidy
#   scripts/lint.sh --recent N   the N that were changed last
#   scripts/lint.sh FILE..       these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for tool in clang-format clang-tidy; do
  command -v "$tool" >/dev/null || { echo "scripts/lint.sh: no $tool: install the package $tool" >&2; exit 2; }
done

git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format --dry-run --Werror
wide=$(git ls-files '*.h' '*.cpp' '*.cu' '*.py' | xargs awk 'length($0) > 100 {print FILENAME ":" FNR ": over 100 columns"}')
[ -z "$wide" ] || { echo "$wide"; exit 1; }
echo "clang-format: clean"

mapfile -t all < <(git ls-files '*.cpp' ':!cuda_impl' ':!tests/cuda_impl' ':!tests/device' ':!cli/gpu_check' \
  ':!tests/cli/systems' ':!tests/mutants/kernels' ':!bench/caches_bench.cpp')
files=("${all[@]}")
if [ "${1:-}" = --recent ]; then
  # awk keeps the first of each name, so the order is that of the last change.
  mapfile -t files < <(git log --format= --name-only | awk 'FNR == NR {known[$0]; next} ($0 in known) && !seen[$0]++' \
    <(printf '%s\n' "${all[@]}") - | head -n "$2")
elif [ $# -gt 0 ]; then
  files=("$@")
fi
cmake --preset release -B build/lint -DASSAY_PCH=OFF -DASSAY_CUDA=OFF -Wno-dev >/dev/null
# g++'s header for __float128, which is not on clang's path.
mkdir -p build/lint/include
cp "$(g++ -print-file-name=include/quadmath.h)" build/lint/include/
printf '%s\n' "${files[@]}" |
  xargs -P "$(nproc)" -n 2 clang-tidy -p build/lint --quiet --extra-arg=-isystem"$PWD"/build/lint/include 2>/dev/null
echo "clang-tidy: ${#files[@]} of ${#all[@]} files, clean"
