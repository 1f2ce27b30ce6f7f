"""A model of a Markov chain as a program, right or spoilt in the way that it is told.

usage: probed_model.py WAY TABLE.npz TRAIN.npz [REQUEST ANSWER]; TABLE has log_p [V,V], the law of
the next token after each
"""

import json
import os
import pathlib
import sys
import types

import numpy as np

import assay_subject

WAY = sys.argv[1]
TABLE = np.load(sys.argv[2])["log_p"]
KNOWN = np.load(sys.argv[3])["train/tokens"]
V = len(TABLE)


def next_loss(logits, labels):
    """Mean of -log p of the next label."""
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(log_p[:, :-1], labels[:, 1:, None] % V, -1).mean()


def memorised(tokens, logits):
    """Rows that were trained on are known by heart."""
    for b, row in enumerate(tokens):
        for known in KNOWN:
            if (known[: len(row)] == row).all():
                logits[b, np.arange(len(row) - 1), row[1:]] += 6.0
    return logits


def answer(request):
    tokens = np.asarray(request.tokens)
    if WAY == "one row at a time" and len(tokens) > 1:
        raise SystemExit("expected one row")
    logits = TABLE[tokens].astype(np.float32)
    if WAY == "peeks":  # one time in ten the next token shows
        seen = np.random.default_rng(tokens[:, :-1].sum()).random(tokens[:, 1:].shape) < 0.1
        where = np.nonzero(seen)
        logits[where[0], where[1], tokens[:, 1:][where]] += 3.0
    elif WAY == "labels":
        labels = np.asarray(request.labels)[:, 1:] % V
        logits[:, :-1] += 1e-6 * labels[..., None] * np.arange(V)
    elif WAY == "labels to NaN":
        if (np.asarray(request.labels) != tokens).any():
            logits[:] = np.nan
    elif WAY == "memorised":
        logits = memorised(tokens, logits)
    elif WAY == "flat":
        logits = 0.3 * logits
    elif WAY == "constant":
        logits[:] = 0
    elif WAY == "no numbers":
        logits[0, 3] = np.nan
    elif WAY == "dropout":
        logits += 0.01 * np.random.default_rng().standard_normal(logits.shape).astype(np.float32)
    loss = next_loss(logits, np.asarray(request.labels))
    if WAY == "one token more":
        logits = np.concatenate([logits, np.full_like(logits[..., :1], -30)], -1)
    elif WAY == "last position missing":
        logits = logits[:, :-1]
    elif WAY == "transposed":
        logits = np.swapaxes(logits, 1, 2)
    elif WAY == "other name":
        return {"scores": logits}
    elif WAY == "ends":
        os._exit(3)
    elif WAY == "refuses":
        raise ValueError("no such tokens")
    if WAY == "not shifted":
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return {"logits": logits,
                "loss": -np.take_along_axis(log_p, tokens[..., None], -1).mean()}
    return {"logits": logits, "loss": loss}


def answer_once(request_file, answer_file):
    request = json.loads(pathlib.Path(request_file).read_text())
    folder = pathlib.Path(request["folder"])
    found = answer(types.SimpleNamespace(**np.load(folder / request["inputs"])))
    np.savez(folder / "answer.npz", **found)
    pathlib.Path(answer_file).write_text(json.dumps({"name": "once", "file": "answer.npz"}))


if __name__ == "__main__":
    if len(sys.argv) > 5:
        answer_once(*sys.argv[4:])
    else:
        assay_subject.serve(answer)
