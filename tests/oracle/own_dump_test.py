"""The script of docs/dumps.md does what the page says. usage: own_dump_test.py ASSAY SOURCE_DIR

Full and partial dumps in float32 and bfloat16 pass, a factor of 1.05 does not. Exits with 77 (skip)
where torch, safetensors or h5py is missing.
"""

import os
import re
import subprocess
import sys
import tempfile

try:
    import h5py  # noqa: F401
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ASSAY = os.path.abspath(sys.argv[1])
with open(os.path.join(sys.argv[2], "docs/dumps.md"), encoding="utf-8") as page:
    SCRIPT = re.search(r"```python\n(.*?)```", page.read(), re.DOTALL)[1]


def expect(code, part, *command):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != code or part not in done.stdout:
        said = f"got {done.returncode}: {done.stdout}"
        sys.exit(f"FAIL: {' '.join(command)}: expected exit code {code} and '{part}', {said}")


def main():
    model = ("--preset", "small", "--method", "plain", "--seq", "64")
    expect(0, "root hash", ASSAY, "generate", *model, "--out", "golden.h5")
    with open("dump.py", "w", encoding="utf-8") as file:
        file.write(SCRIPT)
    for dtype, precision in (("float32", "fp32"), ("bfloat16", "bf16")):
        judged = (ASSAY, "compare", "golden.h5", "dump.safetensors", "--precision", precision)
        expect(0, "", sys.executable, "dump.py", "golden.h5", "dump.safetensors", dtype)
        expect(0, "verdict: pass", *judged)
        tensors = load_file("dump.safetensors")
        part = {name: x for name, x in tensors.items() if name.endswith(("/output", "embed"))}
        save_file(part, "dump.safetensors")
        expect(0, "checkpoints judged", *judged)
        expect(0, "verdict: pass", *judged, "--only", "embed,layers/*/output")
        tensors["layers/1/mlp/up"] *= 1.05
        save_file(tensors, "dump.safetensors")
        expect(1, "layers/1/mlp/up", *judged)
    print(f"torch {torch.__version__}: the script of docs/dumps.md is judged as the page says")


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    main()
