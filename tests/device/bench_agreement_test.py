#!/usr/bin/env python3
"""The bench times nothing that computes something else.

usage: bench_agreement_test.py SOURCE_DIR LIBRARY

LIBRARY is assay_c_shared; the engine runs on the host executor. Exit code 3 without PyTorch.
"""
import sys
import unittest

sys.path.insert(0, sys.argv[1] + "/bench")
LIBRARY = sys.argv[2]
del sys.argv[1:]

import device_bench  # noqa: E402  exits with 3 without PyTorch
import side_by_side  # noqa: E402
from torch_llama import make_weights  # noqa: E402


class Agreement(unittest.TestCase):
    def setUp(self):
        self.bench = side_by_side.Bench(LIBRARY, small=True)
        self.size = side_by_side.TINY
        self.weights = make_weights(self.size, "cpu", self.bench.dtype)
        self.tokens = self.bench.tokens(self.size, 2, 9)

    def check(self, method, engine_method, weights):
        engine = self.bench.engine(self.size, weights, engine_method, 9)
        try:
            self.bench.check_logits("test", self.size, self.weights, method, "stored", engine,
                                    self.tokens)
        finally:
            engine.close()

    def test_the_same_model_agrees(self):
        for method in ("plain", "1"):
            self.check(method, method, self.weights)

    def test_another_weight_and_another_method_do_not(self):
        changed = dict(self.weights)
        name = "model.layers.2.mlp.down_proj.weight"
        changed[name] = changed[name].clone()
        changed[name][0, 0] += 0.01
        for method, weights in (("1", changed), ("plain", self.weights)):
            with self.assertRaisesRegex(AssertionError, "test: logits: expected"):
                self.check("1", method, weights)

    def test_nan_and_a_yardstick_that_shows_nothing_do_not(self):
        exact = device_bench.torch.ones(4)
        with self.assertRaisesRegex(AssertionError, "got nan"):
            self.bench.agree("nan", exact * float("nan"), exact, exact)
        with self.assertRaisesRegex(AssertionError, "shows nothing"):
            self.bench.agree("yardstick", exact, exact * 2, exact)

    def test_every_part_runs_and_compares(self):
        for name, part in device_bench.PARTS.items():
            with self.subTest(part=name):
                bench = side_by_side.Bench(LIBRARY, small=True)
                part(bench)
                self.assertTrue(bench.agreements)
                self.assertTrue(bench.rows or bench.absent)


if __name__ == "__main__":
    unittest.main()
