#!/usr/bin/env python3
"""Our engine against PyTorch on one device, with the same weights and tokens, in one process.

    bench/device_bench.py PART --json out.json \\
        --library build/device/cuda_impl/engine/libassay_c_shared.so

Parts:
    author    method 1, forward, width 512, 8 layers, T = 1024: time and memory, against PyTorch
              that stores the probabilities, eager (a) and through torch.compile (b)
    wide      the same at width 2048, 16 layers, T = 4096
    longest   the largest T at author size that fits, by doubling, ours and (a)
    plain     method plain, forward, against PyTorch with scaled_dot_product_attention
    train     forward and backward, and whole steps of training with AdamW, author size, against (a)
    gemms     the rate of our gemms against that of torch.matmul

Both run in bf16, or with --precision tf32 in float32 whose gemms read tf32
(torch.backends.cuda.matmul.allow_tf32).

Before anything is timed, ours is compared with PyTorch in the same type, and PyTorch in float32
(tf32: float64) stands between them. Ours may differ from it by at most twice what PyTorch in that
type differs, in the root mean square over all logits (train: over all gradients); otherwise the
part fails. Times are medians around a synchronisation, after a warm-up. A peer that is not there,
or that breaks, is named under "absent" with its reason.

--small is for a machine without a GPU: tiny sizes, the engine on the host executor, fp32 only. Its
figures say nothing. Exit codes: 0 measured; 1 disagreement or a fault; 2 usage; 3 no PyTorch; 77 no
CUDA device.
"""
import argparse
import json
import sys
import time
import traceback

try:
    import torch
except ImportError as error:
    print(f"device_bench: no PyTorch: {error}", file=sys.stderr)
    sys.exit(3)

from assay_c import AssayError
from side_by_side import Bench
from torch_llama import Llama, Size, make_weights

AUTHOR = Size(width=512, inner=1024, layers=8, heads=8, kv_heads=4, head=64, vocab=32000)
WIDE = Size(width=2048, inner=4096, layers=16, heads=16, kv_heads=16, head=128, vocab=32000)
LONGEST_CAP = 1 << 18
SEARCH_SECONDS = 30  # of a doubling search; the next length takes four times as long as the last


def compiled(bench, size, weights, method):
    def make():
        if not hasattr(torch, "compile"):
            raise RuntimeError(f"torch {torch.__version__} has no torch.compile")
        return Llama(size, weights, method, "stored", compiled=True)

    return bench.attempt("torch.compile", make)


def measure_forward(bench, name, size, positions):
    weights = make_weights(size, bench.device, bench.dtype)
    tokens = bench.tokens(size, 1, positions)
    engine = bench.engine(size, weights, "1", positions, ":stacked")
    with_weights = bench.free_memory()
    engine.run(tokens)
    own_bytes = with_weights - bench.free_memory()
    bench.check_logits(name, size, weights, "1", "stored", engine, tokens)
    ours = bench.seconds(lambda: engine.run(tokens))
    each = bench.engine(size, weights, "1", positions)
    bench.faster(f"{name}: forward, our layers run again one after the other", ours,
                 bench.seconds(lambda: each.run(tokens)), None)
    each.close()
    with torch.no_grad():
        eager = Llama(size, weights, "1", "stored")
        eager_seconds = bench.attempt("PyTorch eager",
                                      lambda: bench.seconds(lambda: eager.forward(tokens)))
        if eager_seconds is not None:
            bench.faster(f"{name}: forward, eager that stores the probabilities", ours,
                         eager_seconds, 5.0)
            peak = bench.torch_peak(lambda: eager.forward(tokens))
            if peak is not None:
                bench.row(f"{name}: memory of activations, eager", own_bytes / 1e6, peak / 1e6,
                          "MB", peak / max(own_bytes, 1), None)
        fast = compiled(bench, size, weights, "1")
        if fast is not None:
            fast_seconds = bench.attempt("torch.compile, run",
                                         lambda: bench.seconds(lambda: fast.forward(tokens)))
            if fast_seconds is not None:
                bench.faster(f"{name}: forward, torch.compile", ours, fast_seconds, 2.0)
    engine.close()


def part_author(bench):
    measure_forward(bench, "author, T = 1024", bench.size(AUTHOR), bench.positions(1024))


def part_wide(bench):
    measure_forward(bench, "width 2048, T = 4096", bench.size(WIDE), bench.positions(4096))


def doubling(bench, run, cap):
    """The largest T of 512, 1024, .. that runs, and why the search ended."""
    fits, positions, started = 0, 8 if bench.small else 512, time.perf_counter()
    while positions <= cap:
        bench.free_memory()
        start = time.perf_counter()
        try:
            run(positions)
            bench.synchronize()
        except (AssayError, RuntimeError) as error:
            if "out of memory" not in str(error) or fits == 0:
                raise
            return fits, f"{positions}: out of memory"
        fits = positions
        if time.perf_counter() - started + 4 * (time.perf_counter() - start) > SEARCH_SECONDS:
            return fits, f"{2 * positions}: not tried, it would take too long"
        positions *= 2
    return fits, f"{positions}: beyond the cap"


def part_longest(bench):
    size, cap = bench.size(AUTHOR), 32 if bench.small else LONGEST_CAP
    weights = make_weights(size, bench.device, bench.dtype)
    tokens = bench.tokens(size, 1, 8 if bench.small else 512)
    engine = bench.engine(size, weights, "1", cap)
    bench.check_logits("longest", size, weights, "1", "stored", engine, tokens)
    engine.close()

    def run_ours(positions):
        model = bench.engine(size, weights, "1", cap)
        try:
            loss = model.loss(bench.tokens(size, 1, positions))
        finally:
            model.close()
        if not 0 < loss < 1e3:
            raise AssertionError(f"T = {positions}: expected a loss, got {loss}")

    def run_eager(positions):
        with torch.no_grad():
            Llama(size, weights, "1", "stored").forward(bench.tokens(size, 1, positions))

    ours, why_ours = doubling(bench, run_ours, cap)
    eager, why_eager = doubling(bench, run_eager, cap)
    bench.row(f"largest T, method 1, author size (ours ended at {why_ours}; eager at {why_eager})",
              ours, eager, "positions", ours / eager, 16.0)


def part_plain(bench):
    if not hasattr(torch.nn.functional, "scaled_dot_product_attention"):
        bench.absent.append({"name": "scaled_dot_product_attention",
                             "why": f"torch {torch.__version__} has none"})
    has = not bench.absent
    for name, size, positions in (("author, T = 1024", AUTHOR, 1024),
                                  ("width 2048, T = 4096", WIDE, 4096)):
        size, positions = bench.size(size), bench.positions(positions)
        weights = make_weights(size, bench.device, bench.dtype)
        tokens = bench.tokens(size, 1, positions)
        engine = bench.engine(size, weights, "plain", positions)
        attention = "sdpa" if has else "stored"
        bench.check_logits(f"plain, {name}", size, weights, "plain", attention, engine, tokens)
        ours = bench.seconds(lambda: engine.run(tokens))
        with torch.no_grad():
            peer = Llama(size, weights, "plain", attention)
            peer_seconds = bench.seconds(lambda: peer.forward(tokens))
        if has:
            bench.faster(f"plain, {name}: forward, scaled_dot_product_attention", ours,
                         peer_seconds, 0.9)
        engine.close()


def torch_gradients(bench, size, weights, tokens):
    own = {name: value.clone().requires_grad_(True) for name, value in weights.items()}
    Llama(size, own, "1", "stored").loss(tokens).backward()
    return {name: value.grad.double().cpu().reshape(-1) for name, value in own.items()}


def part_train(bench):
    size, positions = bench.size(AUTHOR), bench.positions(1024)
    weights = make_weights(size, bench.device, bench.dtype)
    tokens = bench.tokens(size, 1, positions)
    engine = bench.engine(size, weights, "1", positions, ":stacked")
    received = engine.gradients(tokens)
    exact = torch_gradients(bench, size, bench.reference_weights(weights), tokens)
    same_type = torch_gradients(bench, size, weights, tokens)
    if received.keys() != exact.keys():
        raise AssertionError(f"train: expected gradients of {sorted(exact)}, "
                             f"got {sorted(received)}")
    joined = [torch.cat([part[name] for name in exact]) for part in (received, same_type, exact)]
    bench.agree("train: gradients", *joined)
    ours = bench.seconds(lambda: engine.train(tokens))
    own = {name: value.requires_grad_(True) for name, value in weights.items()}
    eager = Llama(size, own, "1", "stored")

    def step():
        for value in own.values():
            value.grad = None
        eager.loss(tokens).backward()

    bench.faster("author, T = 1024: forward and backward, eager", ours, bench.seconds(step), 3.0)
    measure_training(bench, size, weights, tokens, engine.loss(tokens))
    engine.close()


def measure_training(bench, size, weights, tokens, loss):
    """Steps with clipping: ours on fp32 master weights, PyTorch's AdamW on weights in the type of
    the gemms, which is less work. The first step of ours has to report the loss before it, later
    ones a smaller one."""
    rate, decay, max_norm = 1e-3, 0.1, 1.0
    trainer = bench.trainer(size, weights, "1", tokens.shape[1], weight_decay=decay,
                            max_norm=max_norm)
    first = trainer.step(tokens, rate)
    if first.skipped or not abs(first.loss - loss) <= 1e-6 * loss:
        raise AssertionError(f"train: expected a step from loss {loss}, got {first.loss}, skipped "
                             f"{first.skipped}")
    ours = bench.seconds(lambda: trainer.step(tokens, rate))
    last = trainer.step(tokens, rate)
    if last.skipped or not last.loss < loss:
        raise AssertionError(f"train: expected a loss below {loss}, got {last.loss}, skipped "
                             f"{last.skipped}")
    trainer.close()
    own = {name: value.detach().clone().requires_grad_(True) for name, value in weights.items()}
    eager = Llama(size, own, "1", "stored")

    def steps():
        fused = {} if bench.small else {"fused": True}
        optimizer = torch.optim.AdamW(own.values(), lr=rate, weight_decay=decay, **fused)

        def step():
            optimizer.zero_grad()
            eager.loss(tokens).backward()
            torch.nn.utils.clip_grad_norm_(own.values(), max_norm)
            optimizer.step()

        return bench.seconds(step)

    peer = bench.attempt("AdamW", steps)
    if peer is not None:
        bench.faster("author, T = 1024: a step of training with AdamW, eager", ours, peer, None)


def part_gemms(bench):
    """Two plain models of one layer that differ in the inner width: the difference of their times
    is that of gemms (and of SwiGLU, which counts against us)."""
    width, positions, inners = (64, 16, (96, 192)) if bench.small else (4096, 4096, (8192, 16384))
    times = []
    for inner in inners:
        size = Size(width=width, inner=inner, layers=1, heads=width // 64, kv_heads=width // 64,
                    head=64, vocab=128)
        weights = make_weights(size, bench.device, bench.dtype)
        tokens = bench.tokens(size, 1, positions)
        engine = bench.engine(size, weights, "plain", positions)
        bench.check_logits(f"gemms, inner {inner}", size, weights, "plain", "stored", engine,
                           tokens)
        times.append(bench.seconds(lambda: engine.run(tokens)))
        engine.close()
    floating = 2 * positions * width * 3 * (inners[1] - inners[0])
    if times[1] <= times[0]:
        raise AssertionError(f"gemms: expected more time for inner {inners[1]}, got {times}")
    x = torch.randn(positions, width, device=bench.device, dtype=bench.dtype)
    w = torch.randn(inners[1], width, device=bench.device, dtype=bench.dtype)
    peer = bench.seconds(lambda: x @ w.T)
    ours_rate = floating / (times[1] - times[0])
    peer_rate = 2 * positions * width * inners[1] / peer
    bench.row(f"gemms, {bench.precision}, of torch.matmul's rate", ours_rate / 1e12,
              peer_rate / 1e12, "TFLOP/s", ours_rate / peer_rate, 0.6)


PARTS = {"author": part_author, "wide": part_wide, "longest": part_longest, "plain": part_plain,
         "train": part_train, "gemms": part_gemms}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--library", required=True)
    parser.add_argument("--json")
    parser.add_argument("--precision", choices=["bf16", "tf32"], default="bf16")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--fast-atomics", action="store_true",
                        help="add gradients of embeddings in the order of arrival")
    arguments = parser.parse_args()
    if arguments.small and arguments.precision == "tf32":
        parser.error("--small: expected no --precision tf32, which PyTorch has on a GPU alone")
    if not arguments.small and not torch.cuda.is_available():
        print("device_bench: no CUDA device for PyTorch; nothing was measured", file=sys.stderr)
        return 77
    bench = Bench(arguments.library, arguments.small, arguments.precision, arguments.fast_atomics)
    fault = ""
    try:
        PARTS[arguments.part](bench)
        if not bench.agreements:
            raise AssertionError("nothing was compared")
    except Exception as error:  # a part that breaks is a result
        traceback.print_exc()
        fault = f"{type(error).__name__}: {str(error)[:500]}"
    result = {"assay_device_bench": 1, "part": arguments.part, "small": arguments.small,
              "precision": bench.precision, "torch": torch.__version__,
              "device": "CPU" if arguments.small else torch.cuda.get_device_name(),
              "status": "failed" if fault else "ok",
              "fault": fault, "agreements": bench.agreements, "rows": bench.rows,
              "absent": bench.absent}
    text = json.dumps(result, indent=1)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    print(text)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
