"""How fast dumps are judged, beside h5diff and numpy.allclose, in one run.

    /usr/bin/python3 bench/judging.py build/release/cli/assay [--positions 1024] [--rounds 5]

A golden file of preset `small` (4 layers, width 128) in full, a copy of it, and its forward pass as
a dump in float32. Medians of the rounds, wall seconds; peak memory of the last. Wants h5py and
h5diff (Debian: python3-h5py, hdf5-tools); exits with 77 where they are missing.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import h5py
    import numpy
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def forward_datasets(path):
    names = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and name.startswith("forward/"):
            names.append(name)

    with h5py.File(path) as file:
        file.visititems(visit)
    return names


def write_float32(golden, dump):
    with h5py.File(golden) as file, h5py.File(dump, "w") as out:
        for name in forward_datasets(golden):
            out[name[len("forward/") :]] = file[name][()].astype("f4")


def allclose(first, second):
    with h5py.File(first) as a, h5py.File(second) as b:
        for name in forward_datasets(first):
            assert numpy.allclose(a[name][()], b[name][()], equal_nan=True)


def run(*command):
    """Wall seconds and peak megabytes; the exit code has to be 0, or 3 for an untrusted verdict."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 3):
        sys.exit(f"{' '.join(command)}: exit code {code}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def forked(call):
    """In a process of its own: what is started later would inherit this one's peak memory."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        call()
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        sys.exit("numpy.allclose: the copies differ")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("h5diff") is None:
        print("skipped: no h5diff")
        return 77
    assay = os.path.abspath(options.assay)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        golden, copy, dump = (os.path.join(folder, f"{name}.h5") for name in ("g", "copy", "f32"))
        shape = ["--preset", "small", "--seq", str(options.positions)]
        run(assay, "generate", *shape, "--out", golden)
        shutil.copy(golden, copy)
        forked(lambda: write_float32(golden, dump))
        def compare(candidate, precision, *more):
            return run(assay, "compare", golden, candidate, "--precision", precision, *more)

        rows = {
            "numpy.allclose": lambda: forked(lambda: allclose(golden, copy)),
            "h5diff": lambda: run("h5diff", golden, copy, "forward", "forward"),
            "assay compare --equal": lambda: compare(copy, "fp64", "--equal"),
            "assay compare, fp64": lambda: compare(copy, "fp64"),
            "assay compare, fp32 dump": lambda: compare(dump, "fp32"),
            "assay compare --only embed": lambda: compare(copy, "fp64", "--only", "embed"),
        }
        seconds = {name: [] for name in rows}
        peak = {}
        for _ in range(options.rounds):
            for name, measure in rows.items():
                wall, peak[name] = measure()
                seconds[name].append(wall)
        with h5py.File(golden) as file:
            size = sum(file[name].nbytes for name in forward_datasets(golden))
        base = statistics.median(seconds["numpy.allclose"])
        print(f"{size / 1e6:.0f} MB forward, {os.cpu_count()} cores, medians of {options.rounds}\n")
        print("| | s | GB/s | x allclose | peak MB |\n|---|---|---|---|---|")
        for name, walls in seconds.items():
            wall = statistics.median(walls)
            speed = size / wall / 1e9
            print(f"| {name} | {wall:.2f} | {speed:.2f} | {wall / base:.2f} | {peak[name]:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
