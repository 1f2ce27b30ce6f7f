"""A training step of the reference beside PyTorch in float64, on the same cores: the same model,
AdamW, one batch [B,T]; side by side in turn, so that both see the same machine.

    python bench/training_step.py build/release/cli/assay [--preset small|author] [--seq 256]

Needs torch and transformers. Both take the cores that they find (`taskset -c 0,1 python ..` gives
them two). Reported: the best and the median of several steps of each, and
their quotient; the reference's steps include writing a row of the curve.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import torch
    import transformers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


def own_steps(assay, preset, batch, positions, steps):
    """Seconds of each step but the first, from the times at which rows of the curve appear."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        command = [assay, "train", "--preset", preset, "--method", "plain", "--data",
                   "uniform:vocab=256", "--batch", batch, "--seq", positions, "--steps", steps + 1,
                   "--val-rows", batch, "--eval-every", 10 ** 6, "--save-every", 10 ** 6, "--quiet",
                   "--out", run]
        process = subprocess.Popen([str(word) for word in command])
        curve, times, seen = run / "curves.jsonl", [], 0
        while seen < steps + 1 and process.poll() is None:
            time.sleep(0.0005)
            rows = curve.read_text().count("\n") if curve.exists() else 0
            times += [time.perf_counter()] * (rows - seen)
            seen = max(seen, rows)
        process.wait()
        config = json.loads((run / "config.json").read_text())["model"]
    return [after - before for before, after in zip(times, times[1:])], config


def torch_steps(config, batch, positions, steps):
    torch.set_default_dtype(torch.float64)
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings",
            "rms_norm_eps", "rope_theta", "tie_word_embeddings")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        **{key: config[key] for key in keys}))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    tokens = torch.randint(0, config["vocab_size"], (batch, positions))
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        model(tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return times[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assay")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ours, theirs = [], []
    for _ in range(options.rounds):
        times, config = own_steps(options.assay, options.preset, options.batch, options.seq,
                                  options.steps)
        ours += times
        theirs += torch_steps(config, options.batch, options.seq, options.steps)
    print(f"preset {options.preset}, [{options.batch},{options.seq}], "
          f"{torch.get_num_threads()} threads of torch")
    for name, times in (("assay reference", ours), (f"torch {torch.__version__} float64", theirs)):
        print(f"{name:<28} best {min(times):8.3f} s  median {statistics.median(times):8.3f} s")
    print(f"quotient of medians {statistics.median(ours) / statistics.median(theirs):.2f}, "
          f"of the best {min(ours) / min(theirs):.2f}")


if __name__ == "__main__":
    main()
