"""What the tests of `assay train` share: runs, and what is in their folders."""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import h5py  # whoever reads losses.h5 needs it
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ASSAY = sys.argv[1]
MARKOV = "markov:order=1,vocab=8"
SMALL = ["--data", MARKOV, "--seq", 16, "--batch", 4, "--lr", 0.01, "--val-rows", 16]
failures = []


def assay(*arguments):
    done = subprocess.run([ASSAY, *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def verdict(*arguments):
    code, text = assay("overfit", *arguments)
    lines = [line for line in text.splitlines() if line.startswith("verdict:")]
    return code, lines[0] if lines else text, text


def train(out, *arguments):
    return assay("train", "--out", out, *arguments)


def expect(what, condition, shown=""):
    if not condition:
        failures.append(what)
        print(f"expected: {what}; got: {shown}")


def rows_of(run):
    return [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]


def steps_of(run):
    return [row for row in rows_of(run) if "train_loss" in row]


def tensors_of(path):
    """Names and bytes of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: data[8 + length:][slice(*entry["data_offsets"])]
            for name, entry in header.items()}


def numbers_of(path, prefix=""):
    return {name[len(prefix):]: np.frombuffer(data, "<f8")
            for name, data in tensors_of(path).items() if name.startswith(prefix)}


def state_of(run):
    (folder,) = run.glob("checkpoint-*")
    return {name: tensors_of(folder / name)
            for name in ("model.safetensors", "moments.safetensors")}


def run_tests(name, *tests):
    """Each in a folder of its own; the exit status."""
    with tempfile.TemporaryDirectory() as path:
        for test in tests:
            folder = pathlib.Path(path) / test.__name__
            folder.mkdir()
            test(folder)
    print(f"{name}: {len(failures)} failures" if failures else f"{name}: all as expected")
    return 1 if failures else 0
