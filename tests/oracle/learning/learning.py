"""Runs of small Transformers over seven verdicts, judged by `assay overfit`: which verdict did
each get? docs/learning.md has the tables and the rules.

usage: learning.py ASSAY --work FOLDER [--first N] [--runs N] [--seed N] [--kinds K,K]
       [--small] [--out docs/learning.md]

A run that stands in FOLDER is not trained again; every run is judged. Exit code 1 where the figures
of docs/learning.md are not reached, 77 without torch.
"""

import argparse
import pathlib
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

import figures
import judging
import recipes
import training


# A run of each class that is soon made.
SMALL = ("checkpoint chosen by val", "too small", "few rows", "mask lost", "future token, 10 %",
         "leak and few rows", "val in train, few rows", "NaN", "a bias alone")


def small_numbers(seed):
    first = {}
    for recipe in recipes.all_recipes(seed, len(recipes.KINDS)):
        first.setdefault(recipe.kind, recipe.number)
    return [first[kind] for kind in SMALL]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--first", type=int, default=0, help="the number of the first run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--small", action="store_true", help="one of each kind of SMALL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        return run(options, options.work or pathlib.Path(temporary))


def run(options, work):
    wanted = [kind for kind in options.kinds.split(",") if kind]
    found = []
    for recipe in recipes.all_recipes(options.seed, options.runs):
        if recipe.number < options.first or (wanted and recipe.kind not in wanted):
            continue
        if options.small and recipe.number not in small_numbers(options.seed):
            continue
        folder = work / f"{options.seed}-{recipe.number:03d}"
        result = training.make(options.assay, recipe, folder)
        if options.train_only:
            continue
        result |= judging.judge(options.assay, folder, recipe)
        found.append(result)
        right = figures.class_of(result["verdict"]) == result["class"]
        print(f"{recipe.number:4d} {recipe.kind:26s} {result['class']:14s} "
              f"{result['verdict']:20s} {result['seconds']:5.1f} s"
              f"{'' if right else '  WRONG: ' + result['reason']}", flush=True)
    if options.train_only:
        return 0
    text = figures.tables(found, f"torch {torch.__version__}, numpy {np.__version__}")
    print(text)
    if options.out:
        figures.put_into(options.out, text)
    return 0 if figures.is_reached(found) else 1


if __name__ == "__main__":
    sys.exit(main())
