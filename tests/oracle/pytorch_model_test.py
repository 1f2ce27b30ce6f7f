"""bench/pytorch_model.py runs with the PyTorch that is there.

usage: pytorch_model_test.py SOURCE_DIR

PyPI's builds bring a BLAS of their own, and numpy another one. Exits with 77 (skip) where torch is
missing.
"""

import re
import subprocess
import sys

try:
    import torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

done = subprocess.run(
    [
        sys.executable,
        sys.argv[1] + "/bench/pytorch_model.py",
        "--method",
        "plain",
        "--seq",
        "4",
        "--threads",
        "1",
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    check=False,
)
said = done.stdout.decode()
expected = r"torch .*, float64, 1 threads, \w.*, method plain, T=4, forward: [0-9.]+ s"
if done.returncode != 0 or not re.search(expected, said):
    sys.exit(f"FAIL: exit code {done.returncode}, expected '{expected}', got {said}")
print(f"torch {torch.__version__}: {said.strip()}")
