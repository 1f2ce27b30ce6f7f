#!/usr/bin/env bash
# Makes what travels to a machine with a GPU (scripts/gpu-check.sh runs there): cases with golden values and bounds, and the
# headers that the build of the CUDA side includes. Needs Assay's packages and a built `assay`.
#
#   scripts/gpu-pack.sh [PACK]     default: build/gpu-pack, replaced
#   ASSAY=PROGRAM                  default: the newest of build/{release,gpu,cpu,quickstart}
set -euo pipefail
pack=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../build/gpu-pack}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# headers NAME PACKAGE INCLUDE..: every file of the package that a translation unit with these includes reads, and its licence.
headers() {
  local name=$1 package=$2 file
  shift 2
  printf '#include <%s>\n' "$@" |
    "${CXX:-g++}" -std=c++20 -DFMT_HEADER_ONLY -DBOOST_TEST_MODULE=pack -M -x c++ - |
    grep -o '/usr/include/[^ ]*' | sed -n "s|^/usr/include/\($name/.*\)|\1|p" |
    while read -r file; do install -D -m 644 "/usr/include/$file" "$pack/include/$file"; done
  [ -d "$pack/include/$name" ] || { echo "scripts/gpu-pack.sh: no headers of $name in /usr/include" >&2; exit 2; }
  install -D -m 644 "/usr/share/doc/$package/copyright" "$pack/licences/$name.txt"
}

rm -rf "$pack"
mkdir -p "$pack"
headers fmt libfmt-dev fmt/format.h fmt/core.h fmt/ranges.h
headers nlohmann nlohmann-json3-dev nlohmann/json.hpp
headers boost libboost-test-dev boost/test/included/unit_test.hpp
cp -r /usr/include/boost/config "$pack/include/boost/" # chosen by compiler: nvcc, another g++

assay=${ASSAY:-$(ls -t build/{release,gpu,cpu,quickstart}/cli/assay 2>/dev/null | head -n 1 || true)}
[ -n "$assay" ] || { echo "scripts/gpu-pack.sh: no assay program in build/: expected one, e.g. of cmake --preset cpu" >&2; exit 2; }
"$assay" suite pack device --dir build/gpu-pack-golden --out "$pack"
git describe --always --dirty >"$pack/commit.txt" 2>/dev/null || echo unknown >"$pack/commit.txt"
echo "$(du -sk "$pack" | cut -f1) kB in $pack, with headers and their licences"
