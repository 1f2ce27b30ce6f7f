"""Runs that the Trainer of Hugging Face wrote, judged by `assay overfit` as they stand: what it
reports times (T-1)/T, rounds to 4 digits and averages in its last row makes no false verdict.

usage: trainer_runs.py ASSAY [RUNS]; exit code 1 for a wrong verdict, 77 without transformers
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import transformers
    from transformers import (GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer,
                              TrainingArguments)

    import accelerate  # noqa: F401  the Trainer needs it
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ASSAY = sys.argv[1]
T = 32
# What was made, and which verdicts a curve alone may have, with the oracle's rate, and with the
# source: nothing of a curve is HEALTHY.
OPEN = ("INSUFFICIENT",)
RUNS = {
    "learns": (dict(rows=2048, steps=200), OPEN, OPEN + ("UNDERFIT",)),
    "learns, other source": (dict(rows=2048, steps=200, source="uniform:vocab=32"), OPEN,
                             OPEN + ("UNDERFIT",)),
    "resumed": (dict(rows=2048, steps=200, resumed=True), OPEN, OPEN + ("UNDERFIT",)),
    "dropout": (dict(rows=2048, steps=200, dropout=0.2), OPEN, OPEN + ("UNDERFIT",)),
    "short": (dict(rows=2048, steps=30), OPEN, OPEN + ("UNDERFIT",)),
    "few rows": (dict(rows=24, steps=250), ("OVERFIT",), ("OVERFIT",)),
    "few rows, uniform": (dict(rows=24, steps=250, source="uniform:vocab=16"), ("OVERFIT",),
                          ("OVERFIT",)),
    "huge learning rate": (dict(rows=512, steps=120, rate=3.0), ("DIVERGING",), ("DIVERGING",)),
    "sees the answer": (dict(rows=1024, steps=250, leaks=True), OPEN, ("LEAK SUSPECTED",)),
}


class Rows(torch.utils.data.Dataset):
    def __init__(self, tokens):
        self.tokens = torch.from_numpy(tokens.astype(np.int64))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        return {"input_ids": self.tokens[i], "labels": self.tokens[i]}


class Leaky(GPT2LMHeadModel):
    """The next token's embedding is added to each token's."""

    def forward(self, input_ids=None, labels=None, **other):
        after = torch.cat([input_ids[:, 1:], input_ids[:, :1]], 1)
        embeds = self.transformer.wte(input_ids) + self.transformer.wte(after).roll(1, -1)
        return super().forward(inputs_embeds=embeds, labels=labels, **other)


def drawn(folder, source, rows):
    for name, count in (("train", rows), ("val", 128)):
        subprocess.run([ASSAY, "data", source, "--set", name, "--rows", str(count), "--positions",
                        str(T), "--out", folder / f"{name}.npz", "--quiet"], check=True)
    return [Rows(np.load(folder / f"{name}.npz")["tokens"]) for name in ("train", "val")]


def train(folder, rows, steps, source="markov:order=1,vocab=16,sharpness=3", rate=5e-3,
          dropout=0.0, leaks=False, resumed=False):
    torch.manual_seed(1)
    train_rows, val_rows = drawn(folder, source, rows)
    vocab = int(source.split("vocab=")[1].split(",")[0])
    config = GPT2Config(vocab_size=vocab, n_positions=T, n_embd=32, n_layer=1, n_head=2,
                        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout)
    model = (Leaky if leaks else GPT2LMHeadModel)(config)
    run = folder / "run"

    def trainer(most):
        arguments = TrainingArguments(
            output_dir=str(run), max_steps=most, per_device_train_batch_size=16, use_cpu=True,
            per_device_eval_batch_size=64, learning_rate=rate, logging_steps=5, eval_steps=10,
            eval_strategy="steps", save_steps=max(most, 1), report_to=[], disable_tqdm=True,
            max_grad_norm=1e9 if rate > 1 else 1.0, seed=1)
        made = Trainer(model, arguments, train_dataset=train_rows, eval_dataset=val_rows)
        made.remove_callback(PrinterCallback)
        return made

    if resumed:
        trainer(steps // 2).train()
    trainer(steps).train(resume_from_checkpoint=resumed)
    return run, source


def verdict(path, *options):
    report = path.parent / "report.json"
    done = subprocess.run([ASSAY, "overfit", str(path), "--json", str(report), "--force", "--quiet",
                           *options], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        return done.stderr.strip(), ""
    found = json.loads(report.read_text())
    return found["verdict"], found["reason"]


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    wrong = 0
    names = list(RUNS)[:int(sys.argv[2])] if len(sys.argv) > 2 else list(RUNS)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    print("| run | curve alone | with the source | with the source and T |")
    print("| --- | --- | --- | --- |")
    for name in names:
        settings, alone, known = RUNS[name]
        with tempfile.TemporaryDirectory() as folder:
            run, source = train(pathlib.Path(folder), **settings)
            got = [verdict(run, "--vocab", "16") if name == "huge learning rate" else verdict(run),
                   verdict(run, "--oracle", source),
                   verdict(run, "--oracle", source, "--seq", str(T))]
        right = got[0][0] in alone and got[1][0] in known and got[2][0] in known
        wrong += not right
        print(f"| {name} | {' | '.join(found for found, _ in got)} |"
              + ("" if right else f" WRONG: {got}"), flush=True)
    print(f"trainer_runs: {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
