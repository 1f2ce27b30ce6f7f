#!/usr/bin/env python3
"""Registers, spills and shared memory of every kernel, from the log of a build with the CUDA side:
a Markdown table.

    cmake --preset release
    cmake --build --preset release --target assay_kernels_device --clean-first | tee build.log
    scripts/kernel-registers.py build.log [sm_90] > docs/gpu/registers.md
"""
import re
import subprocess
import sys


def kernels(log, arch):
    """Yields (mangled name, registers, bytes spilled, bytes of static shared memory)."""
    name = spilled = None
    for line in log:
        if found := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            name, spilled = (found[1], 0) if found[2] == arch else (None, 0)
        elif found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(found[1]) + int(found[2])
        elif (found := re.search(r"Used (\d+) registers", line)) and name:
            shared = re.search(r"(\d+) bytes smem", line)
            yield name, int(found[1]), spilled, int(shared[1]) if shared else 0
            name = None


def readable(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True,
                          check=True).stdout
    for line in text.splitlines():
        line = re.sub(r"assay::(cuda|simt)::on_device::|\(anonymous namespace\)::|^void ", "", line)
        yield re.sub(r"\((\w+)\)(\d+)", r"\1 \2", line).split("(")[0]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    arch = sys.argv[2] if len(sys.argv) == 3 else "sm_90"
    with open(sys.argv[1]) as log:
        found = list(kernels(log, arch))
    if not found:
        sys.exit(f"{sys.argv[1]}: no kernel for {arch}; the log of a build from scratch, with "
                 "nvcc, has them")
    spilling = sum(spilled > 0 for _, _, spilled, _ in found)
    print(f"# Registers and spills of the kernels\n\n{arch}, {len(found)} kernels, {spilling} of "
          "them spill. "
          "Shared memory is the static part; most kernels ask for more at their launch.\n")
    print("| kernel | registers | bytes spilled | bytes shared |\n|---|---|---|---|")
    names = readable([f[0] for f in found])
    for name, (_, registers, spilled, shared) in sorted(zip(names, found)):
        print(f"| `{name}` | {registers} | {spilled} | {shared} |")


main()
