"""Throughput of dynamic batching against one request at a time, in one run.

usage: serving.py ASSAY [--requests N] [--rounds K] [options of assay serve-sim]

Requests come all at once (no waiting for arrivals), prompts of 4 to 24 tokens, 4 to 20 new ones.
Each round runs every batch size once, so that all see the same machine; medians of the measured
steps' throughput, and the ratio to a batch of 1.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import tempfile


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    known, options = parser.parse_known_args()
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "trace.jsonl"
        trace.write_text("".join(
            json.dumps({"prompt_tokens": draw.randint(4, 24),
                        "max_new_tokens": draw.randint(4, 20)}) + "\n"
            for _ in range(known.requests)))
        report = pathlib.Path(folder) / "report.json"
        rates = {size: [] for size in known.sizes}
        for _ in range(known.rounds):
            for size in known.sizes:
                subprocess.run([known.assay, "serve-sim", "--trace", str(trace), "--clock", "wall",
                                "--batch", str(size), "--max-wait-ms", "0", "--quiet",
                                "--json", str(report), *options], check=True)
                totals = json.loads(report.read_text())["totals"]
                rates[size].append((totals["new_tokens_per_second"],
                                    totals["batch_size"]["mean"]))
    alone = statistics.median(rate for rate, _ in rates[known.sizes[0]])
    print(f"{'batch':>6}{'requests a step':>18}{'new tokens/s':>15}{'ratio':>8}")
    for size, values in rates.items():
        rate = statistics.median(rate for rate, _ in values)
        print(f"{size:>6}{values[0][1]:>18.2f}{rate:>15.1f}{rate / alone:>8.2f}")


if __name__ == "__main__":
    main()
