#!/usr/bin/env bash
# clang-format over every source, and clang-tidy over those named; default: all but the CUDA side, whose host
# executor needs std::source_location, which Debian 12's clang 14 lacks. Exit code 1 when either has something to say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for tool in clang-format clang-tidy; do
  command -v "$tool" >/dev/null || { echo "scripts/lint.sh: no $tool: install the package $tool" >&2; exit 2; }
done

git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format --dry-run --Werror
echo "clang-format: clean"

[ -f build/release/compile_commands.json ] || cmake --preset release -Wno-dev >/dev/null
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files '*.cpp' ':!cuda_impl' ':!tests/cuda_impl'); fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy -p build/release --quiet
echo "clang-tidy: clean"
