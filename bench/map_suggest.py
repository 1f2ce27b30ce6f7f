"""assay map suggest on more than 300 tensors: seconds, and the share of lines that are right.

usage: /usr/bin/python3 bench/map_suggest.py build/release/cli/assay
"""
import json
import os
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

ASSAY = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/cli/maps"))
import map_suggest_test as test  # noqa: E402

LAYERS = 23  # of 16 tensors or so


def generate(*arguments):
    done = subprocess.run([ASSAY, "generate", "--method", "plain", "--batch", "2", *arguments],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)


def golden_of(block):
    """The preset with more layers."""
    generate("--preset", "small", "--block", block, "--seq", "2", "--out", "preset.h5", "--force")
    with h5py.File("preset.h5") as file:
        config = json.loads(file.attrs["config"])
    config["num_hidden_layers" if "num_hidden_layers" in config else "n_layer"] = LAYERS
    config.get("assay", {}).pop("method", None)
    with open("config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    generate("--config", "config.json", "--seq", "64", "--out", f"{block}.h5")


def main():
    rng = np.random.default_rng(11)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for block in ("llama", "gpt2"):
            golden_of(block)
        for title, (layout, block) in test.LAYOUTS.items():
            for dtype in ("float32", "bfloat16"):
                model = test.Model(f"{block}.h5")
                dump, sources = layout(model)
                dump, sources = test.renamed(test.rounded(dump, dtype, rng), sources, 1)
                start = time.monotonic()
                test.judge(f"{block}.h5", dump, sources, f"{title}, {dtype}")
                print(f"    {len(dump)} tensors of theirs, {len(model.tensors)} of ours, "
                      f"{time.monotonic() - start:.1f} s with writing and reading")


if __name__ == "__main__":
    main()
