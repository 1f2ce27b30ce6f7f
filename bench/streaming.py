"""Streams measured: memory along a long one, bytes of a cache by method, streams beside whole
passes.

usage: streaming.py ASSAY [--tokens N] [--method-tokens N] [--longest T] [--longest-full T]
                    [--picture SVG] [--parts long,bytes,full]

Prints the tables of docs/streaming.md, and draws its picture. Runs `assay stream` on text that is
drawn here, through a pipe. Needs nothing but Python.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import pictures

SMALL = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
         "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
         "vocab_size": 256, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048,
         "tie_word_embeddings": False, "rope_theta": 10000.0}
LARGER = dict(SMALL, hidden_size=64, intermediate_size=128, num_hidden_layers=4,
              num_attention_heads=4, num_key_value_heads=2, head_dim=16)
METHODS = ["plain", "1", "2", "3.1", "3.2", "4.1", "4.2", "1-plan-a", "1-plan-b", "5.1", "5.2",
           "5.3", "5.4", "5.5", "5.6", "5.7", "5.8", "5.1A", "5.1B", "5.1C", "5.1D", "5.1E",
           "C-base", "D-base"]


def text_of(count, seed=1):
    """Bytes with some structure: words of a small vocabulary."""
    draw = random.Random(seed)
    words = ["".join(draw.choice("abcdefghijklmnop") for _ in range(draw.randint(1, 8)))
             for _ in range(500)]
    out, size = [], 0
    while size < count:
        out.append(draw.choice(words))
        size += len(out[-1]) + 1
    return (" ".join(out) + "\n").encode()[:count]


def stream(assay, folder, config, text, *options):
    """The report of a stream through a pipe, and its largest resident memory in bytes."""
    path, report = os.path.join(folder, "config.json"), os.path.join(folder, "report.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    command = [assay, "stream", "--config", path, "--tokens", "-", "--tokens-format", "text",
               "--json", report, "--quiet", *options]
    with tempfile.TemporaryFile() as pipe:
        pipe.write(text)
        pipe.seek(0)
        feed = subprocess.Popen(["cat"], stdin=pipe, stdout=subprocess.PIPE)
        done = subprocess.run(command, stdin=feed.stdout, capture_output=True, text=True,
                              check=False)
        feed.stdout.close()
        feed.wait()
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    with open(report, encoding="utf-8") as file:
        return json.load(file)


def long_streams(assay, folder, tokens, method_tokens):
    print("| method | model | window | tokens | loss | tokens/s | resident at 10 points, MB "
          "| most over least behind the first |")
    print("|---|---|---|---|---|---|---|---|")
    for method, name, config, window, count in (
            ("plain", "D=16, L=3", SMALL, 32, tokens),
            ("1", "D=64, L=4", LARGER, 64, method_tokens),
            ("5.1", "D=64, L=4", LARGER, 64, method_tokens)):
        got = stream(assay, folder, config, text_of(count), "--method", method, "--window",
                     str(window), "--every", str(count // 10))
        memory = [sample["resident_bytes"] / 1e6 for sample in got["samples"]]
        spread = max(memory[1:]) / min(memory[1:]) - 1
        print(f"| {method} | {name} | {window} | {got['tokens']} | {got['loss_nats']:.4f} "
              f"| {got['tokens'] / got['seconds']:.0f} "
              f"| {', '.join(f'{m:.1f}' for m in memory)} | {100 * spread:.2f} % |", flush=True)


def bytes_by_formula(config, method):
    """Of a position: K and V of every layer, values of layers run again, factors of keys, and a
    byte that says whether the position is real."""
    layers = config["num_hidden_layers"]
    head = config["num_key_value_heads"] * config["head_dim"]
    numbers = 2 * layers * head
    if method == "1-plan-a":  # nothing reads the last layer's keys, nor values behind the first's
        numbers = layers * head
    if method[0] in "1234":
        numbers += layers * (layers - 1) // 2 * head
    if method == "5.1E":
        numbers += layers * (layers + 1) // 2
    return 8 * numbers + 1


def cache_bytes(assay, folder, capacity):
    """Resident memory of a cache that is full, beside one of a window."""
    print(f"\n| method | bytes a position, formula | `cache.bytes` / capacity | resident memory, "
          f"{capacity} positions less 64 |")
    print("|---|---|---|---|")
    text = text_of(capacity)
    for method in METHODS:
        sized = method in ("5.1A", "5.1B", "5.1C", "C-base")
        # A parameter for each of so many positions would outgrow the cache.
        if method == "5.1A":
            count = 1024
        else:
            count = capacity
        options = ["--method", method, "--window", "16", "--chunk", "64"]
        options += ["--score-positions", str(count)] if sized else []
        full = stream(assay, folder, LARGER, text[:count], *options, "--capacity", str(count))
        few = stream(assay, folder, LARGER, text[:count], *options)
        measured = (full["resident_bytes"] - few["resident_bytes"]) / (count - 64)
        print(f"| {method} | {bytes_by_formula(LARGER, method)} "
              f"| {full['cache']['bytes'] / full['cache']['capacity']:.0f} | {measured:.0f} |",
              flush=True)


def whole_pass(assay, folder, text):
    """Seconds and largest memory in bytes of one forward pass."""
    path = os.path.join(folder, "text.data")
    with open(path, "wb") as file:
        file.write(text)
    start = time.monotonic()
    child = subprocess.Popen(
        [assay, "generate", "--config", os.path.join(folder, "config.json"), "--tokens", path,
         "--tokens-format", "text", "--seq", str(len(text)), "--capture", "hash", "--quiet",
         "--force", "--out", os.path.join(folder, "whole.h5")])
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"assay generate: status {status}")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def beside_full_attention(assay, folder, longest, longest_full, picture):
    """Time and memory of one pass over T tokens without a window, of the same chunk by chunk with
    a cache of T, and of a stream with a window."""
    print("\n| T | whole pass, s | MB | chunks, cache of T, s | MB | window 128, s | MB "
          "| saved of the whole pass | of the cache |")
    print("|---|---|---|---|---|---|---|---|---|")
    curves = {name: [] for name in ("whole pass", "chunks, cache of T", "window of 128")}
    for power in range(10, 17):
        positions = 2 ** power
        text, cells = text_of(positions), []
        got = stream(assay, folder, SMALL, text, "--window", "128", "--chunk", "128")
        cache = got["cache"]["bytes"] / (positions * bytes_by_formula(SMALL, "plain"))
        rows = {"window of 128": (got["seconds"], got["resident_bytes"])}
        if positions <= longest:
            rows["whole pass"] = whole_pass(assay, folder, text)
        if positions <= longest_full:
            full = stream(assay, folder, SMALL, text, "--capacity", str(positions), "--chunk",
                          "128")
            rows["chunks, cache of T"] = (full["seconds"], full["resident_bytes"])
        for name, curve in curves.items():
            if name not in rows:
                cells += ["", ""]
                continue
            seconds, size = rows[name]
            curve.append((positions, seconds, size / 1e6))
            cells += [f"{seconds:.2f}", f"{size / 1e6:.1f}"]
        saved = ""
        if "whole pass" in rows:
            saved = f"{100 * (1 - got['resident_bytes'] / rows['whole pass'][1]):.1f} %"
        print(f"| {positions} | {' | '.join(cells)} | {saved} | {100 * (1 - cache):.1f} % |",
              flush=True)
    if picture:
        pictures.write(picture, "Memory and time of full attention and of streams", [
            (title, [(name, [(point[0], point[i]) for point in curve])
                     for name, curve in curves.items()], "tokens", unit)
            for title, i, unit in (("Memory of the process", 2, "MB"), ("Time", 1, "s"))])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assay")
    parser.add_argument("--tokens", type=int, default=1000000)
    parser.add_argument("--method-tokens", type=int, default=100000)
    parser.add_argument("--capacity", type=int, default=20000)
    parser.add_argument("--longest", type=int, default=8192, help="of whole passes")
    parser.add_argument("--longest-full", type=int, default=16384, help="of caches of T")
    parser.add_argument("--picture", default="", help="SVG to write")
    parser.add_argument("--parts", default="long,bytes,full")
    options = parser.parse_args()
    parts = options.parts.split(",")
    with tempfile.TemporaryDirectory() as folder:
        if "long" in parts:
            long_streams(options.assay, folder, options.tokens, options.method_tokens)
        if "bytes" in parts:
            cache_bytes(options.assay, folder, options.capacity)
        if "full" in parts:
            beside_full_attention(options.assay, folder, options.longest, options.longest_full,
                                  options.picture)


if __name__ == "__main__":
    main()
