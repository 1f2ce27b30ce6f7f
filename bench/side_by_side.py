"""Ours and PyTorch's on one device: the same weights and tokens, times, memory, and agreement
before anything is timed. bench/device_bench.py measures with it.
"""
import gc
import statistics
import time

import torch
from assay_c import Model, Trainer
from torch_llama import Llama, Size

TINY = Size(width=32, inner=48, layers=3, heads=4, kv_heads=2, head=8, vocab=64)
AGREEMENT = 2.0
UNTRUSTED = 0.25  # a yardstick that would let through anything


class Bench:
    def __init__(self, library, small, precision="bf16", fast_atomics=False):
        self.library, self.small, self.fast_atomics = library, small, fast_atomics
        self.device = "cpu" if small else "cuda"
        self.precision = "fp32" if small else precision
        self.dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        self.rows, self.agreements, self.absent = [], [], []

    def size(self, size):
        return TINY if self.small else size

    def positions(self, count):
        return 16 if self.small else count

    def backend(self, mode):
        return ("host" if self.small else "device") + mode + (":fast-atomics" if self.fast_atomics
                                                              else "")

    def engine(self, size, weights, method, positions, mode=""):
        return Model(self.library, size.config(method, positions), self.backend(mode),
                     self.precision, weights)

    def trainer(self, size, weights, method, positions, **options):
        config = size.config(method, positions)
        return Trainer(self.library, config, self.backend(":stacked"), self.precision, weights,
                       **options)

    def tokens(self, size, batch, positions):
        generator = torch.Generator().manual_seed(2)
        return torch.randint(0, size.vocab, (batch, positions), generator=generator).to(self.device)

    def synchronize(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work):
        """Median; the longer one run takes, the fewer there are."""
        def once():
            self.synchronize()
            start = time.perf_counter()
            work()
            self.synchronize()
            return time.perf_counter() - start

        once()
        first = once()
        more = 6 if first < 0.5 else 2 if first < 5 else 0
        return statistics.median([first] + [once() for _ in range(more)])

    def free_memory(self):
        gc.collect()
        if self.device != "cuda":
            return 0
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info()[0]

    def torch_peak(self, work):
        """Bytes above what is allocated before: activations, without weights."""
        if self.device != "cuda":
            work()
            return None
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def row(self, name, ours, peer, unit, ratio, target):
        self.rows.append({"name": name, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio,
                          "target": target,
                          "met": None if None in (ratio, target) or self.small
                          else ratio >= target})

    def faster(self, name, ours, peer, target):
        self.row(name, ours * 1e3, peer * 1e3, "ms", peer / ours, target)

    def agree(self, name, ours, same_type, exact):
        """Throws unless ours is as near to `exact` as PyTorch in the same type, up to AGREEMENT."""
        def distance(values):
            return ((values - exact).pow(2).mean().sqrt() / exact.pow(2).mean().sqrt()).item()

        own, yardstick = distance(ours), distance(same_type)
        self.agreements.append({"name": name, "ours": own, "torch": yardstick,
                                "allowed": AGREEMENT})
        if not yardstick <= UNTRUSTED:
            raise AssertionError(f"{name}: PyTorch differs from itself by {yardstick:.3g}, which "
                                 "shows nothing of ours")
        if not own <= AGREEMENT * max(yardstick, 1e-6):
            raise AssertionError(f"{name}: expected a relative difference from PyTorch in a wider "
                                 "type of at "
                                 f"most {AGREEMENT:g} x {yardstick:.3g}, got {own:.3g}")

    def reference_weights(self, weights):
        wide = torch.float32 if self.precision == "bf16" else torch.float64
        return {name: value.to(wide) for name, value in weights.items()}

    def check_logits(self, name, size, weights, method, attention, engine, tokens):
        with torch.no_grad():
            exact = Llama(size, self.reference_weights(weights), method,
                          "stored").forward(tokens).double().cpu()
            same_type = Llama(size, weights, method, attention).forward(tokens).double().cpu()
        self.free_memory()
        self.agree(f"{name}: logits", engine.logits(tokens, size.vocab), same_type, exact)

    def attempt(self, name, work):
        """What a peer gives, or None and why."""
        try:
            return work()
        except Exception as error:  # whatever PyTorch throws: the peer is absent, by name
            self.absent.append({"name": name, "why": f"{type(error).__name__}: {str(error)[:300]}"})
            return None
