"""Training on the host executor: tokens a second and bytes of a model of 4 layers, for each
precision, with everything kept for the backward pass, with less, and with dropout.

    python3 bench/engine_training.py build/release/cli/assay [--method plain 1 ..] [--steps 4]

The executor runs kernels thread by thread on the host's cores: its speed is that of a test bench.
Configurations take turns, so that all see the same machine; reported is the best step of each, and
what passes and gradients take beside weights and moments. A step includes writing a row of the
curve and reading its gradients back.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

MODEL = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 256,
         "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 4,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
         "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "float32"}


def run_once(options, method, precision, extra):
    """Seconds of the steps but the first, and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "config.json").write_text(json.dumps(MODEL))
        command = [options.assay, "train", "--config", root / "config.json", "--method", method,
                   "--backend", "simt", "--precision", precision, "--data", "uniform:vocab=256",
                   "--batch", options.batch, "--seq", options.seq, "--steps", options.steps + 1,
                   "--val-rows", 1, "--eval-every", 10 ** 6, "--save-every", 10 ** 6, "--quiet",
                   "--out", root / "run", *extra]
        process = subprocess.Popen([str(word) for word in command])
        curve, times, seen = root / "run" / "curves.jsonl", [], 0
        while process.poll() is None:
            time.sleep(0.001)
            rows = curve.read_text().count("\n") if curve.exists() else 0
            times += [time.perf_counter()] * (rows - seen)
            seen = max(seen, rows)
        if process.returncode != 0:
            sys.exit(f"assay train ended with {process.returncode}: {command}")
        result = json.loads((root / "run" / "result.json").read_text())
    steps = times[:options.steps + 1]
    return [after - before for before, after in zip(steps, steps[1:])], result["peak_bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assay")
    parser.add_argument("--method", nargs="+", default=["plain", "1"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    kinds = [(method, precision, extra) for method in options.method for precision, extra in
             (("fp32", []), ("fp32", ["--keep", "shared"]), ("fp32", ["--keep", "inputs"]),
              ("fp32", ["--dropout", "0.1"]), ("bf16", []), ("fp16", []))]
    times, memory = {}, {}
    for _ in range(options.rounds):
        for i, kind in enumerate(kinds):
            seconds, memory[i] = run_once(options, *kind)
            times.setdefault(i, []).extend(seconds)
    tokens = options.batch * options.seq
    print(f"4 layers, hidden size {MODEL['hidden_size']}, batches [{options.batch},{options.seq}], "
          f"{os.cpu_count()} cores")
    for i, (method, precision, extra) in enumerate(kinds):
        print(f"{method:<6} {precision} {' '.join(extra):<14} {tokens / min(times[i]):8.1f} "
              f"tokens/s, best step {min(times[i]):6.3f} s, {memory[i] / 2 ** 20:6.2f} MiB")


if __name__ == "__main__":
    main()
