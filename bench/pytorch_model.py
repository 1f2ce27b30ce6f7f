#!/usr/bin/env python3
"""The author preset in PyTorch, float64, eager, forward or forward and backward: the peer of `assay
bench`.

Straightforward code that stores every attention matrix. Tuned as PyTorch on OpenBLAS wants it:

    OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 \\
    MALLOC_TOP_PAD_=268435456 OPENBLAS_CORETYPE=SkylakeX \\
    python3 bench/pytorch_model.py --method 1 --seq 1024 --backward

Prints the median of five runs after one warm-up, in seconds.
"""
import argparse
import ctypes
import re
import resource
import statistics
import time

import torch

WIDTH, INNER, LAYERS, HEADS, KV_HEADS, HEAD, VOCAB = 512, 1024, 8, 8, 4, 64, 32000


def rms_norm(x, gain):
    return gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


def rotate(x, cos, sin):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1)


def heads(x, count):
    return x.view(x.shape[0], x.shape[1], count, HEAD).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], HEADS * HEAD)


def repeated(x):
    return x.repeat_interleave(HEADS // KV_HEADS, dim=1)


def mlp(layer, x):
    return (torch.nn.functional.silu(x @ layer["gate"].T) * (x @ layer["up"].T)) @ layer["down"].T


def make_weights():
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64) / shape[-1] ** 0.5
    layer = lambda: {
        "n1": torch.rand(WIDTH, dtype=torch.float64) + 0.5,
        "n2": torch.rand(WIDTH, dtype=torch.float64) + 0.5,
        "q": draw(HEADS * HEAD, WIDTH), "k": draw(KV_HEADS * HEAD, WIDTH),
        "v": draw(KV_HEADS * HEAD, WIDTH),
        "o": draw(WIDTH, HEADS * HEAD), "gate": draw(INNER, WIDTH), "up": draw(INNER, WIDTH),
        "down": draw(WIDTH, INNER)}
    return {"embed": draw(VOCAB, WIDTH), "head": draw(VOCAB, WIDTH),
            "norm": torch.rand(WIDTH, dtype=torch.float64) + 0.5,
            "layers": [layer() for _ in range(LAYERS)]}


def forward(weights, tokens, method):
    positions = torch.arange(tokens.shape[1], dtype=torch.float64)[:, None]
    angle = positions * 10000.0 ** (-torch.arange(0, HEAD, 2, dtype=torch.float64) / HEAD)
    cos, sin = angle.cos(), angle.sin()
    future = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
    x = weights["embed"][tokens]
    probs, scores_sum = [], None
    for l, layer in enumerate(weights["layers"]):
        h = rms_norm(x, layer["n1"])
        q = rotate(heads(h @ layer["q"].T, HEADS), cos, sin)
        k = rotate(heads(h @ layer["k"].T, KV_HEADS), cos, sin)
        scores = q @ repeated(k).transpose(-1, -2)
        if method == "5.1":
            scores_sum = scores = scores if scores_sum is None else scores_sum + scores
        a = (scores / HEAD ** 0.5).masked_fill(future, float("-inf")).softmax(-1)
        probs.append(a)
        y = x + merged(a @ repeated(heads(h @ layer["v"].T, KV_HEADS))) @ layer["o"].T
        out = y + mlp(layer, rms_norm(y, layer["n2"]))
        if method == "1":
            for j, earlier in enumerate(weights["layers"][:l]):
                v = heads(rms_norm(x, earlier["n1"]) @ earlier["v"].T, KV_HEADS)
                o = merged(probs[j] @ repeated(v)) @ earlier["o"].T
                out = out + mlp(earlier, rms_norm(x + o, earlier["n2"]))
        x = out
    logits = rms_norm(x, weights["norm"]) @ weights["head"].T
    return torch.nn.functional.cross_entropy(logits[0, :-1], tokens[0, 1:])


def parameters(weights):
    yield from (weights["embed"], weights["head"], weights["norm"])
    for layer in weights["layers"]:
        yield from layer.values()


def median_seconds(work):
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def openblas_core_type(path):
    """Of a library of OpenBLAS; builds differ in what they put around its names."""
    library = ctypes.CDLL(path)
    for name in ("openblas_get_corename", "openblas_get_corename64_", "scipy_openblas_get_corename",
                 "scipy_openblas_get_corename64_"):
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype = ctypes.c_char_p
            return function().decode()
    return "of unknown core type"


def blas():
    """What PyTorch multiplies with. An OpenBLAS beside another BLAS is numpy's own."""
    built_with = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    if built_with and built_with[1] not in ("open", "generic"):
        return built_with[1].upper()
    with open("/proc/self/maps", encoding="utf-8") as maps:
        loaded = {line.split()[-1] for line in maps if "openblas" in line}
    types = ", ".join(map(openblas_core_type, sorted(loaded)))
    return f"OpenBLAS {types}" if types else "BLAS unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="1", choices=["plain", "1", "5.1"])
    parser.add_argument("--seq", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backward", action="store_true", help="also the gradient of every weight")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    weights = make_weights()
    tokens = torch.randint(0, VOCAB, (1, arguments.seq))

    def run_forward():
        with torch.no_grad():
            forward(weights, tokens, arguments.method)

    def run_both():
        for parameter in parameters(weights):
            parameter.requires_grad_(True)
            parameter.grad = None
        forward(weights, tokens, arguments.method).backward()

    seconds = median_seconds(run_both if arguments.backward else run_forward)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"torch {torch.__version__}, float64, {arguments.threads} threads, {blas()}, "
          f"method {arguments.method}, T={arguments.seq}, "
          f"{'forward+backward' if arguments.backward else 'forward'}: {seconds:.3f} s (median of "
          f"5), process at most {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
