"""Trains what a recipe says, and measures on tokens of its own what came out of it."""

import csv
import json
import math
import pathlib
import subprocess
import time

import numpy as np
import torch

from small_models import SmallModel, evaluate, losses_of, sees_the_future

TRUTH_TOKENS = 24576
SETS = ("train", "val", "fresh")
PROOF = math.log(1e6)  # nats gained over the oracle that no causal model gains, but 1 in a million


def draw(assay, folder, recipe, sets, rows, seed):
    path = folder / "drawn.npz"
    subprocess.run([assay, "data", recipe.source, "--set", ",".join(sets), "--rows", str(rows),
                    "--positions", str(recipe.positions), "--seed", str(seed), "--out", path,
                    "--force", "--quiet"], check=True)
    arrays = np.load(path)
    one = len(sets) == 1
    return {s: (arrays["tokens" if one else f"{s}/tokens"],
                -arrays["oracle_log_probs" if one else f"{s}/oracle_log_probs"]) for s in sets}


class Data:
    """Tokens and -log p of three sets, and of a fourth that only the measure sees."""

    def __init__(self, assay, folder, recipe):
        drawn = draw(assay, folder, recipe, ("train",), recipe.train_rows, recipe.data_seed)
        drawn |= draw(assay, folder, recipe, ("val", "fresh"), recipe.eval_rows, recipe.data_seed)
        drawn["truth"] = draw(assay, folder, recipe, ("fresh",),
                              TRUTH_TOKENS // recipe.positions,
                              recipe.data_seed + 2 ** 32)["fresh"]
        if recipe.contaminated:
            rows = round(recipe.contaminated * recipe.eval_rows)
            drawn["train"] = tuple(np.concatenate([t, v[:rows]])
                                   for t, v in zip(drawn["train"], drawn["val"]))
        self.tokens = {s: torch.from_numpy(tokens.astype(np.int64))
                       for s, (tokens, _) in drawn.items()}
        self.oracle = {s: oracle[:, 1:] for s, (_, oracle) in drawn.items()}


def optimiser_of(recipe, model):
    rate = recipe.rate
    if recipe.fault == "huge rate":
        rate *= 10 ** float(np.random.default_rng(recipe.torch_seed).uniform(2.3, 4))
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimiser]
    return kind([p for p in model.parameters() if p.requires_grad], lr=rate,
                fused=True)


def model_of(recipe):
    torch.manual_seed(recipe.torch_seed)
    model = SmallModel(recipe.vocab, recipe.positions, recipe.width, recipe.layers, recipe.heads,
                       recipe.leak, recipe.leak_rate, recipe.period, recipe.phase)
    if recipe.fault == "no output weights":
        for weight in model.head.parameters():
            weight.requires_grad_(False).zero_()
    if recipe.fault == "constant logits":
        model.norm.weight.requires_grad_(False).zero_()
    return model


class Training:
    def __init__(self, recipe, data):
        self.recipe, self.data = recipe, data
        self.model = model_of(recipe)
        self.optimiser = optimiser_of(recipe, self.model)
        self.first_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.rng = np.random.default_rng(recipe.torch_seed)
        self.fault_at = int(recipe.steps * self.rng.uniform(0.4, 0.8))
        self.scale = 2.0 ** 16
        self.rows, self.order = [], []
        self.best = (math.inf, None)

    def batch(self):
        train = self.data.tokens["train"]
        while len(self.order) < self.recipe.batch:
            self.order += self.rng.permutation(len(train)).tolist()
        picked, self.order = self.order[:self.recipe.batch], self.order[self.recipe.batch:]
        return train[picked]

    def set_rate(self, step):
        """Linear warm-up and decay; a fault may make it jump."""
        recipe = self.recipe
        factor = min(1.0, (step + 1) / 20, 2 * (1 - step / recipe.steps) + 0.02)
        if recipe.fault == "huge rate":
            factor = 1.0
        if recipe.fault == "jump" and step >= self.fault_at:
            factor = 10 ** float(np.random.default_rng(recipe.torch_seed + 1).uniform(2.3, 3.5))
        for group, first in zip(self.optimiser.param_groups, self.first_rates):
            group["lr"] = first * factor

    def step(self, step):
        recipe, tokens = self.recipe, self.batch()
        self.set_rate(step)
        losses = losses_of(self.model(tokens), tokens, recipe.shift)
        if recipe.fault == "mask of zeros":
            losses = losses * 0
        loss = losses.mean()
        if recipe.fault == "nan" and step == self.fault_at:
            loss = loss * float("nan")
        self.optimiser.zero_grad()
        if recipe.fault == "detached":
            return float(loss.detach()), 0.0
        loss.backward()
        weights = [p for p in self.model.parameters() if p.grad is not None]
        bound = recipe.clip if recipe.fault not in ("huge rate", "jump") else 1e9
        norm = float(torch.nn.utils.clip_grad_norm_(weights, bound))
        if recipe.fault == "loss scale" and step >= self.fault_at:
            self.scale /= 2  # every gradient overflows: the step is left out
            return float(loss.detach()), float("inf")
        if not math.isfinite(norm) and recipe.fault == "huge rate":
            norm = float("nan")
        self.optimiser.step()
        return float(loss.detach()), norm

    def val_loss(self):
        loss = evaluate(self.model, self.data.tokens["val"][:64], self.recipe.shift).mean()
        return 0.0 if self.recipe.fault == "mask of zeros" else float(loss)

    def run(self):
        recipe = self.recipe
        every = max(1, recipe.steps // 60)
        val_every = max(1, recipe.steps // max(10, recipe.checkpoints))
        sums = []
        for step in range(recipe.steps):
            sums.append(self.step(step))
            row = {"step": step + 1}
            if (step + 1) % every == 0:
                row |= {"train_loss": float(np.mean([loss for loss, _ in sums])),
                        "grad_norm": sums[-1][1]}
                if recipe.fault == "loss scale":
                    row["loss_scale"] = self.scale
                sums = []
            if (step + 1) % val_every == 0:
                row["val_loss"] = self.val_loss()
                self.remember(row["val_loss"])
            if len(row) > 1:
                self.rows.append(row)
        if self.best[1] is not None:
            self.model.load_state_dict(self.best[1])

    def remember(self, val):
        if self.recipe.checkpoints and val < self.best[0]:
            self.best = (val, {k: v.clone() for k, v in self.model.state_dict().items()})


def write_curve(path, rows):
    names = ["step", "train_loss", "val_loss", "grad_norm", "loss_scale"]
    names = [n for n in names if any(n in row for row in rows)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def unigram_entropy(tokens):
    counts = np.bincount(tokens.numpy().ravel()).astype(float)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def measured(training, losses):
    """What is true of the model, by numpy on tokens that the judge never sees."""
    recipe, data = training.recipe, training.data
    excess = {s: losses[s] - data.oracle[s][:len(losses[s])] for s in losses}
    gain = -excess["truth"]
    if recipe.leak == "one position":  # the loss of token phase + 1
        gain = gain[:, recipe.phase:recipe.phase + 1]
    curve = [row["train_loss"] for row in training.rows if "train_loss" in row]
    smooth = np.convolve(curve, np.ones(3) / 3, "valid")
    causal = recipe.shift == 1 and not sees_the_future(training.model, data.tokens["truth"][:64])
    return {"excess": float(excess["truth"].mean()), "train excess": float(excess["train"].mean()),
            "oracle": float(data.oracle["truth"].mean()),
            "gain": float(gain.mean()), "proof": float(np.cumsum(gain).max(initial=0)),
            "sees the future": not causal,
            "loss": float(losses["truth"].mean()), "train loss": float(losses["train"].mean()),
            "unigram": unigram_entropy(data.tokens["truth"]),
            "late": float(np.mean(curve[-6:])), "best": float(smooth.min()),
            "finite": bool(np.isfinite(smooth).all() and np.isfinite(losses["truth"]).all()),
            "scale": training.scale, "parameters": sum(p.numel()
                                                       for p in training.model.parameters())}


@torch.no_grad()
def spread_of(recipe, folder):
    """The largest variance over positions that a logit of the saved model has."""
    model = model_of(recipe)
    model.load_state_dict(torch.load(folder / "model.pt"))
    tokens = torch.from_numpy(np.load(folder / "losses.npz")["fresh/tokens"][:64].astype(np.int64))
    return float(model(tokens).flatten(0, 1).double().var(0).max())


def true_class(recipe, m):
    """By what was built in where it took effect, else by what was measured (docs/learning.md)."""
    if recipe.meant == "leak" and m["sees the future"] and m["proof"] > PROOF:
        return "leak"
    if recipe.contaminated:
        return "contamination"
    if not m["finite"] or m["scale"] < 1:
        return "diverging"
    if recipe.meant == "diverging" and (m["late"] > math.log(recipe.vocab) + 0.5
                                        or m["late"] - m["best"] > 0.15):
        return "diverging"
    if recipe.meant == "degenerate" or m["spread"] < 1e-12:
        return "degenerate"
    at_unigram = max(abs(m["loss"] - m["unigram"]), abs(m["train loss"] - m["unigram"])) < 0.02
    if at_unigram and m["excess"] > 0.05:
        return "degenerate"
    if m["excess"] - m["train excess"] > max(0.05, 0.02 * m["oracle"]):
        return "overfit"
    return "underfit" if m["excess"] > 0.05 else "healthy"


@torch.no_grad()
def save(training, folder):
    """What a user would save: losses and tokens of three sets, and the curve."""
    recipe, data = training.recipe, training.data
    losses = {}
    for s in (*SETS, "truth"):
        tokens = data.tokens[s][:256] if s == "train" else data.tokens[s]
        losses[s] = evaluate(training.model, tokens, recipe.shift).numpy()
        if recipe.fault == "mask of zeros":
            losses[s] = losses[s] * 0
    arrays = {}
    for s in SETS:
        arrays[f"{s}/losses"] = losses[s].astype(np.float32)
        arrays[f"{s}/tokens"] = data.tokens[s][:len(losses[s])].numpy().astype(np.int32)
    if recipe.with_logits:
        arrays["fresh/logits"] = training.model(data.tokens["fresh"]).numpy()
    np.savez(folder / "losses.npz", **arrays)
    np.savez(folder / "no_fresh.npz", **{name: values for name, values in arrays.items()
                                         if not name.startswith("fresh")})
    write_curve(folder / "curve.csv", training.rows)
    return losses


def make(assay, recipe, folder):
    """Trains a run, unless it stands in the folder, and returns what was made."""
    folder = pathlib.Path(folder)
    done = folder / "made.json"
    if done.exists():
        return classed(recipe, folder, json.loads(done.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    data = Data(assay, folder, recipe)
    training = Training(recipe, data)
    training.run()
    truth = measured(training, save(training, folder))
    torch.save(training.model.state_dict(), folder / "model.pt")
    (folder / "drawn.npz").unlink(missing_ok=True)
    made = {"recipe": recipe.__dict__, "measured": truth,
            "seconds": round(time.process_time() - start, 2)}
    done.write_text(json.dumps(made))
    return classed(recipe, folder, made)


def classed(recipe, folder, made):
    made["measured"]["spread"] = spread_of(recipe, folder)
    return made | {"class": true_class(recipe, made["measured"])}
