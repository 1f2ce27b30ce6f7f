#!/usr/bin/env bash
# Makes what travels to a machine with a GPU (scripts/gpu-check.sh runs there): cases with golden values and bounds, and the
# headers that the build of the CUDA side includes. Needs Assay's packages and a built `assay`.
#
#   scripts/gpu-bundle.sh [BUNDLE]     default: build/gpu-bundle, replaced
#   ASSAY=PROGRAM                  default: the newest of build/{release,gpu,cpu,quickstart}
set -euo pipefail
bundle=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../build/gpu-bundle}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# headers NAME PACKAGE INCLUDE..: every file of the package that a translation unit with these includes reads, and its licence.
headers() {
  local name=$1 package=$2 file
  shift 2
  printf '#include <%s>\n' "$@" |
    "${CXX:-g++}" -std=c++20 -DFMT_HEADER_ONLY -DBOOST_TEST_MODULE=bundle -M -x c++ - |
    grep -o '/usr/include/[^ ]*' | sed -n "s|^/usr/include/\($name/.*\)|\1|p" |
    while read -r file; do install -D -m 644 "/usr/include/$file" "$bundle/include/$file"; done
  [ -d "$bundle/include/$name" ] || { echo "scripts/gpu-bundle.sh: no headers of $name in /usr/include" >&2; exit 2; }
  install -D -m 644 "/usr/share/doc/$package/copyright" "$bundle/licences/$name.txt"
}

rm -rf "$bundle"
mkdir -p "$bundle"
headers fmt libfmt-dev fmt/format.h fmt/core.h fmt/ranges.h
headers nlohmann nlohmann-json3-dev nlohmann/json.hpp
headers boost libboost-test-dev boost/test/included/unit_test.hpp
cp -r /usr/include/boost/config "$bundle/include/boost/" # chosen by compiler: nvcc, another g++

assay=${ASSAY:-$(ls -t build/{release,gpu,cpu,quickstart}/cli/assay 2>/dev/null | head -n 1 || true)}
[ -n "$assay" ] || { echo "scripts/gpu-bundle.sh: no assay program in build/: expected one, e.g. of cmake --preset cpu" >&2; exit 2; }
"$assay" suite bundle device --dir build/gpu-bundle-golden --out "$bundle"
git describe --always --dirty >"$bundle/commit.txt" 2>/dev/null || echo unknown >"$bundle/commit.txt"
echo "$(du -sk "$bundle" | cut -f1) kB in $bundle, with headers and their licences"
