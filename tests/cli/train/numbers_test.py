"""The numbers of `assay train`: AdamW once more, micro-batches, backends, skipped steps, and
what `assay overfit` says of the folders as they stand.

usage: numbers_test.py ASSAY
"""

import json
import math
import sys

from runs import (MARKOV, SMALL, assay, expect, np, numbers_of, rows_of, run_tests, state_of,
                  steps_of, train, verdict)


def adamw(weights, first, second, gradients, step, rate, decay):
    """The equations once more."""
    for name, g in gradients.items():
        first[name] = 0.9 * first[name] + 0.1 * g
        second[name] = 0.999 * second[name] + 0.001 * g * g
        root = np.sqrt(second[name] / (1 - 0.999 ** step))
        move = first[name] / (1 - 0.9 ** step) / (root + 1e-8)
        weights[name] = weights[name] - rate * (move + decay[name] * weights[name])


def test_adamw(root):
    """Two steps one after the other: the gradient of a step is what the first moment gained."""
    run = root / "adamw"
    arguments = [*SMALL, "--steps", 3, "--method", "2", "--weight-decay", 0.25, "--lr-floor", 0.01]
    states = []
    for stop in (1, 2, 3):
        train(run, *(arguments if stop == 1 else ["--resume"]), "--stop-after", stop)
        (folder,) = run.glob("checkpoint-*")
        states.append((numbers_of(folder / "model.safetensors"),
                       numbers_of(folder / "moments.safetensors", "first/"),
                       numbers_of(folder / "moments.safetensors", "second/")))
    for step in (2, 3):
        (weights, first, second), after = states[step - 2], states[step - 1]
        gradients = {name: (after[1][name] - 0.9 * first[name]) / 0.1 for name in first}
        decay = {name: 0.0 if "norm" in name else 0.25 for name in weights}
        adamw(weights, first, second, gradients, step, 0.01, decay)
        for mine, its in zip((weights, first, second), after):
            for name, values in its.items():
                expect(f"step {step}: {name}", np.allclose(mine[name], values, rtol=1e-9,
                                                           atol=1e-12))
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
        expect("the norm is that of the gradients",
               math.isclose(norm, steps_of(run)[step - 1]["grad_norm"], rel_tol=1e-9), norm)


def test_same_numbers(root):
    """Micro-batches, and what is kept for the backward pass, change no more than roundings."""
    arguments = ["--data", MARKOV, "--seq", 16, "--val-rows", 16, "--lr", 0.003, "--steps", 4,
                 "--method", "2", "--eps", 0.001]
    runs = {}
    for name, extra in (("whole", ["--batch", 8]), ("shared", ["--batch", 8, "--keep", "shared"]),
                        ("inputs", ["--batch", 8, "--keep", "inputs"]),
                        ("parts", ["--batch", 2, "--accumulate", 4]),
                        ("simt", ["--batch", 8, "--backend", "simt", "--precision", "fp64"])):
        code, text = train(root / f"same-{name}", *arguments, *extra)
        expect(f"{name} runs", code == 0, text)
        runs[name] = root / f"same-{name}"
    for name in ("shared", "inputs"):
        expect(f"{name}: the same bits", state_of(runs[name]) == state_of(runs["whole"])
               and rows_of(runs[name]) == rows_of(runs["whole"]))
    for name in ("parts", "simt"):
        for mine, its in zip(rows_of(runs[name]), rows_of(runs["whole"])):
            for key in ("train_loss", "grad_norm", "val_loss", "lr"):
                if key in its:
                    expect(f"{name}: {key}", math.isclose(mine[key], its[key], rel_tol=1e-9),
                           (mine, its))


def test_overfit(root):
    """A causal model is never accused; what a short run shows is said."""
    learned = root / "learned"
    code, text = train(learned, "--data", MARKOV, "--seq", 32, "--batch", 16, "--steps", 300,
                       "--lr", 0.01, "--lr-floor", 0.0003, "--warmup", 10, "--clip", 1,
                       "--val-rows", 64)
    expect("a run that learns", code == 0, text)
    code, said, text = verdict(learned)
    expect("a run that learned is HEALTHY", code == 0 and "HEALTHY" in said, text)
    expect("its oracle is its source", MARKOV in text, text)
    expect("fresh tokens are judged", "code length of fresh" in text.split("not run:")[0], text)
    short = root / "short"
    train(short, *SMALL, "--steps", 5)
    code, few, text = verdict(short)
    expect("a run of 5 steps is UNDERFIT or INSUFFICIENT",
           code in (1, 3) and ("UNDERFIT" in few or "INSUFFICIENT" in few), text)
    small = root / "memorised"
    train(small, "--data", "uniform:vocab=32", "--seq", 16, "--batch", 4, "--rows", 4, "--steps",
          300, "--lr", 0.01, "--val-rows", 64)
    code, memorised, text = verdict(small)
    expect("four rows by heart are OVERFIT", code == 1 and "OVERFIT" in memorised, text)
    again = root / "again"  # the same rows, which its start weights have seen
    train(again, "--data", "uniform:vocab=32", "--seq", 16, "--batch", 4, "--steps", 2, "--lr", 0,
          "--weights", next(small.glob("checkpoint-*")), "--val-rows", 64)
    expect("the rows are known", steps_of(again)[0]["train_loss"] < 1, steps_of(again))
    code, tuned, text = verdict(again)
    expect("a run that went on from weights is no first epoch",
           "which steps are of the first epoch is unknown" in text, text)
    for line in (said, few, memorised, tuned):
        expect("no LEAK of a causal model", "LEAK" not in line and "SHIFT" not in line, line)
    code, other, text = verdict(learned, "--oracle", "uniform:vocab=8")
    expect("an oracle that is given counts", "uniform:vocab=8" in text, text)


def test_overflow(root):
    """A learning rate that sends fp16 out of its range: skipped steps change nothing."""
    run = root / "overflow"
    code, text = train(run, "--data", MARKOV, "--seq", 16, "--batch", 4, "--val-rows", 16,
                       "--steps", 6, "--lr", 300, "--backend", "simt", "--precision", "fp16")
    steps = steps_of(run)
    expect("it runs on", code == 0 and len(steps) == 6, text)
    skipped = [row for row in steps if row["skipped"]]
    expect("steps are skipped", skipped, steps)
    for row, after in zip(steps, steps[1:]):
        expect("a skipped step halves the scale, another keeps it",
               after["loss_scale"] == row["loss_scale"] * (0.5 if row["skipped"] else 1),
               (row, after))
    (folder,) = run.glob("checkpoint-*")
    progress = json.loads((folder / "progress.json").read_text())
    expect("skipped steps are not counted", progress["steps_taken"] == 6 - len(skipped), progress)


if __name__ == "__main__":
    sys.exit(run_tests("numbers_test", test_adamw, test_same_numbers, test_overfit, test_overflow))
