#!/usr/bin/env bash
# What is judged and what judges it share nothing but the contract in golden/: no target of one links
# a target of the other, and no source of one includes a header of the other.
#
# usage: arrows_test.sh SOURCE_DIR LINKS    LINKS: lines "folder target linked-folder linked-target"
set -euo pipefail
source_dir=$1
links=$2
failures=0

fail() {
  echo "arrows_test: $*"
  failures=$((failures + 1))
}

# links_between FROM TO [FILE]: "target -> target" for targets below folder FROM that link one below TO.
links_between() {
  awk -v from="$1" -v to="$2" '
    function below(folder, top) { return folder == top || index(folder, top "/") == 1 }
    below($1, from) && below($3, to) { print $2 " -> " $4 }' "${3:-$links}"
}

# includes_between FROM TO [ROOT]: the lines that include a header of TO in the sources of FROM.
includes_between() {
  (cd "${3:-$source_dir}" && grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' "^#include \"$2/" "$1" || true)
}

forbid() {
  local found
  found=$(links_between "$1" "$2"; includes_between "$1" "$2")
  [[ -z $found ]] || fail "$1 must not know $2:"$'\n'"$found"
}

for other in reference verify golden/file golden/exchange golden/maps golden/suites golden/generate datasets; do
  forbid cuda_impl "$other"
done
for other in cuda_impl verify golden/file golden/exchange golden/maps golden/suites golden/generate datasets; do
  forbid reference "$other"
done
for other in cuda_impl verify; do forbid golden/generate "$other"; done
for other in cuda_impl verify; do forbid golden "$other"; done
found=$(links_between golden reference; includes_between golden reference)
found=$(grep -v '^golden/generate/\|^assay_generate ' <<< "$found" || true)
[[ -z $found ]] || fail "golden must not know reference outside generate/:"$'\n'"$found"

# Nor do they meet in a third place: all that both link is the contract and the compiler flags.
shared=$(comm -12 <(awk '$1 ~ /^cuda_impl/ { print $4 }' "$links" | sort -u) \
  <(awk '$1 ~ /^reference/ { print $4 }' "$links" | sort -u))
[[ $shared == $'assay_contract\nassay_flags' ]] || fail "cuda_impl and reference share:"$'\n'"$shared"

# The judge knows no implementation; the command line, which composes everything, does.
for other in cuda_impl cli; do forbid verify "$other"; done
for folder in golden reference cuda_impl datasets; do forbid "$folder" cli; done

# What judges on a machine that has only a GPU knows neither the reference nor readers of files that need HDF5.
for other in reference golden/file golden/exchange golden/maps golden/suites golden/generate datasets; do forbid cli/gpu_check "$other"; done
[[ -n $(links_between cli/gpu_check verify) ]] || fail "the link of cli/gpu_check to the judge is not seen"
# The detectors run where there is the contract alone.
links_of_detectors=$(awk '$2 == "assay_detectors" { print $4 }' "$links" | sort | tr '\n' ' ')
[[ $links_of_detectors == "assay_contract assay_detectors assay_flags " ]] || fail "assay_detectors links $links_of_detectors"

# The check sees what it looks for: the links of the command line, and arrows planted in a copy.
[[ -n $(links_between cli cuda_impl) ]] || fail "the command line's link to cuda_impl is not seen"
[[ -n $(links_between cli reference) ]] || fail "the command line's link to reference is not seen"
planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
mkdir -p "$planted/cuda_impl"
echo '#include "reference/numbers/array.h"' > "$planted/cuda_impl/borrowed.cu"
[[ -n $(includes_between cuda_impl reference "$planted") ]] || fail "a planted include is not seen"
echo "cuda_impl/engine assay_engine reference assay_reference" > "$planted/links.txt"
[[ -n $(links_between cuda_impl reference "$planted/links.txt") ]] || fail "a planted link is not seen"

[[ $(awk '$1 ~ /^cuda_impl/ { print $2 }' "$links" | sort -u | wc -l) -ge 3 ]] || fail "expected three targets of cuda_impl or more"
[[ $(awk '$1 ~ /^reference/ { print $2 }' "$links" | sort -u | wc -l) -ge 2 ]] || fail "expected two targets of reference or more"
[[ $failures -eq 0 ]] && echo "arrows_test: $(wc -l < "$links") links of $(awk '{ print $2 }' "$links" | sort -u | wc -l) targets, no forbidden one"
exit $((failures > 0))
