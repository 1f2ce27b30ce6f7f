#!/usr/bin/env bash
# Installs what Assay builds and tests with, from Debian's packages. Says what it installs; a second run
# finds everything there and installs nothing. With --lint also what scripts/lint.sh runs.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config git
  libopenblas-dev libtbb-dev libboost-test-dev libboost-context-dev libfmt-dev libhdf5-dev
  libcli11-dev nlohmann-json3-dev libxxhash-dev libzip-dev
  python3 python3-h5py python3-numpy   # h5py reads golden files in a test
  bible-kjv-text bible-kjv             # real text for the quickstart
)

if [ "${1:-}" = --lint ]; then packages+=(clang-format clang-tidy); fi

missing=() required=() optional=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: every package is there"
  exit 0
fi

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: cannot install ${missing[*]}: not root, and there is no sudo" >&2; exit 2; }
  sudo=(sudo)
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
for package in "${missing[@]}"; do
  # The texts are a convenience: without them the quickstart reads the system's licence texts.
  case "$package" in bible-*) optional+=("$package") ;; *) required+=("$package") ;; esac
done
install=("${sudo[@]}" apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300)
[ ${#required[@]} -eq 0 ] || "${install[@]}" "${required[@]}" >/dev/null
[ ${#optional[@]} -eq 0 ] || "${install[@]}" "${optional[@]}" >/dev/null ||
  echo "setup: no ${optional[*]}; licence texts serve instead"
