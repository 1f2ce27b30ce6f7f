"""`assay data` and `assay overfit` as a user runs them: simulated learners on tokens of known
probability in every file format, curves of other programs, and files that are no such thing.

usage: overfit_test.py ASSAY
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ASSAY = sys.argv[1]
SETS = ("train", "val", "fresh")
failures = []


def assay(*arguments):
    done = subprocess.run([ASSAY, *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def expect(what, condition, shown=""):
    if not condition:
        failures.append(what)
        print(f"expected: {what}; got: {shown}")


class Data:
    """Three sets that `assay data` drew."""

    def __init__(self, folder, source, rows=64, positions=128, seed=1):
        self.source = source
        self.folder = folder
        path = folder / f"{len(list(folder.iterdir()))}.npz"
        code, text = assay("data", source, "--out", path, "--rows", rows, "--positions", positions,
                           "--seed", seed)
        expect(f"{source} is drawn", code == 0, text)
        arrays = np.load(path)
        self.path = path
        self.tokens = {s: arrays[f"{s}/tokens"] for s in SETS}
        self.oracle = {s: -arrays[f"{s}/oracle_log_probs"] for s in SETS}

    def learner(self, rng, excess=0.0, spread=0.05):
        """Losses of a causal learner: the oracle, and a tilt that gains nothing on average."""
        return {s: np.maximum(self.oracle[s] + excess + spread ** 2 / 2
                              + spread * rng.standard_normal(self.oracle[s].shape), 0)
                for s in SETS}

    def leaky(self, rng, leak, where=slice(None)):
        losses = self.learner(rng)
        for s in SETS:
            part = losses[s][:, where]
            losses[s][:, where] = -np.log((1 - leak) * np.exp(-part) + leak)
        return losses

    def arrays(self, losses):
        named = {f"{s}/losses": losses[s] for s in losses}
        named.update({f"{s}/tokens": self.tokens[s] for s in losses})
        return named


def verdict(name, expected, codes, path, *options):
    report = path.parent / "report.json"
    code, text = assay("overfit", path, "--json", report, "--force", *options)
    found = json.loads(report.read_text())["verdict"] if code in (0, 1, 3) else text
    expect(f"{name}: {expected} and exit code {codes}", found == expected and code == codes,
           f"{found}, {code}\n{text}")
    return text


def saved(folder, arrays, name="run.npz"):
    path = folder / name
    np.savez(path, **arrays)
    return path


def check_verdicts(folder, rng):
    """On every source: what is healthy passes, what leaks, memorises or saw val is named."""
    for source in ("uniform:vocab=64", "markov:order=2,vocab=16", "hmm:states=4,vocab=16",
                   "copy:vocab=32,length=8,noise=0.1", "induction:vocab=16,repeat=0.7",
                   "brackets:kinds=3,depth=4,open=0.6",
                   "mixture:0.4*uniform:vocab=16+0.6*markov:order=1,vocab=16"):
        data = Data(folder, source)
        oracle = ("--oracle", source)
        near, far = data.learner(rng), data.learner(rng, 0.4)
        path = saved(folder, data.arrays(near))
        verdict(f"{source}, near the oracle", "HEALTHY", 0, path, *oracle)
        verdict(f"{source}, oracle from a file", "HEALTHY", 0, path, "--oracle", data.path)
        verdict(f"{source}, no oracle", "INSUFFICIENT", 3, path)
        verdict(f"{source}, far", "UNDERFIT", 1, saved(folder, data.arrays(far)), *oracle)
        verdict(f"{source}, leak", "LEAK (behavioural)", 1,
                saved(folder, data.arrays(data.leaky(rng, 0.3))), *oracle)
        seen = {s: 0.2 * losses for s, losses in near.items()}
        verdict(f"{source}, memorised", "OVERFIT", 1,
                saved(folder, data.arrays({"train": seen["train"], "val": far["val"],
                                           "fresh": far["fresh"]})), *oracle)
        verdict(f"{source}, val seen", "EVAL CONTAMINATION", 1,
                saved(folder, data.arrays({"train": seen["train"], "val": seen["val"],
                                           "fresh": far["fresh"]})), *oracle)


def check_strata(folder, rng):
    data = Data(folder, "uniform:vocab=256", rows=64, positions=256)
    losses = data.leaky(rng, 0.05, slice(17, None, 64))
    text = verdict("leak at 1 position in 64", "LEAK (behavioural)", 1,
                   saved(folder, data.arrays(losses)), "--oracle", data.source)
    expect("the positions are named", "positions 17 modulo 64" in text, text)


def check_formats(folder, rng):
    data = Data(folder, "markov:order=1,vocab=32")
    oracle = ("--oracle", data.source)
    losses = data.learner(rng)
    arrays = data.arrays(losses)
    with h5py.File(folder / "run.h5", "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
    verdict("HDF5", "HEALTHY", 0, folder / "run.h5", *oracle)
    halves = {name: values.astype(np.float16) if "losses" in name else values
              for name, values in arrays.items()}
    verdict("float16", "HEALTHY", 0, saved(folder, halves), *oracle)
    rounded = {name: np.round(values, 4) if "losses" in name else values
               for name, values in arrays.items()}
    verdict("4 decimals", "HEALTHY", 0, saved(folder, rounded), *oracle)
    cut = {name: values[:, 1:] if "losses" in name else values for name, values in arrays.items()}
    verdict("losses of all but the first token", "HEALTHY", 0, saved(folder, cut), *oracle)
    shifted = {name: np.roll(values, -1, 1) if "losses" in name else values
               for name, values in arrays.items()}
    verdict("losses shifted by one", "INSUFFICIENT", 3, saved(folder, shifted), *oracle)
    bits = {name.replace("losses", "log_probs"): -values / np.log(2) if "losses" in name else values
            for name, values in arrays.items()}
    verdict("log probabilities in bits", "HEALTHY", 0, saved(folder, bits), "--unit", "bits",
            *oracle)
    options = []
    for s in SETS:
        np.save(folder / f"{s}_losses.npy", losses[s])
        np.save(folder / f"{s}_ids.npy", data.tokens[s])
        options += [f"--{s}-losses", folder / f"{s}_losses.npy",
                    f"--{s}-data", folder / f"{s}_ids.npy"]
    code, text = assay("overfit", *options, *oracle)
    expect("six .npy files are HEALTHY", code == 0 and "HEALTHY" in text, text)
    page = folder / "page.html"
    code, text = assay("overfit", folder / "run.h5", *oracle, "--report", page, "--junit",
                       folder / "r.xml")
    html = page.read_text()
    expect("a page with its pictures",
           html.count("<svg class=\"plot\"") >= 2 and "Code length" in html and "oracle" in html,
           html[:200])


def check_wrong_oracles(folder, rng):
    data = Data(folder, "markov:order=1,vocab=32")
    path = saved(folder, data.arrays(data.learner(rng)))
    for wrong in ("markov:order=1,vocab=32,seed=2", "uniform:vocab=32", "uniform:vocab=64",
                  "brackets:kinds=16"):
        verdict(f"judged by {wrong}", "INSUFFICIENT", 3, path, "--oracle", wrong)
    same = data.learner(rng)
    arrays = data.arrays({"train": 0.1 * same["train"], "val": data.learner(rng, 0.4)["val"],
                          "fresh": 0.1 * same["train"]})
    arrays["fresh/tokens"] = data.tokens["train"]
    verdict("a fresh set that is train", "INSUFFICIENT", 3, saved(folder, arrays), "--oracle",
            data.source)


def check_canaries(folder, rng):
    """64 uniform tokens each: planted in train, in val, and never shown."""
    data = Data(folder, "canaries:vocab=50257,subset=256", rows=64, positions=64)
    losses = data.learner(rng, 0.5)
    arrays = data.arrays(losses)
    seen = {**arrays, "train/losses": 0.3 * losses["train"]}
    verdict("canaries of train are known", "OVERFIT", 1, saved(folder, seen), "--oracle",
            data.source)
    both = {**seen, "val/losses": 0.3 * losses["val"]}
    text = verdict("canaries of val are known", "EVAL CONTAMINATION", 1, saved(folder, both),
                   "--oracle", data.source)
    expect("their exposure is told", "canary exposure" in text and "6.02 on average" in text, text)


def check_sizes(folder, rng):
    """The counting bound, and the bits a parameter."""
    data = Data(folder, "uniform:vocab=64")
    losses = data.learner(rng)
    arrays = data.arrays({**losses, "train": 0.01 * losses["train"]})
    text = verdict("memorised", "OVERFIT", 1, saved(folder, arrays), "--oracle", data.source,
                   "--parameters", 1000, "--bits", 8)
    expect("more than 1,000 parameters hold", "also:    LEAK SUSPECTED" in text, text)
    only = {name: values for name, values in arrays.items() if name.startswith("train")}
    verdict("train alone", "LEAK SUSPECTED", 3, saved(folder, only), "--oracle", data.source,
            "--parameters", 1000)
    verdict("train alone, large model", "INSUFFICIENT", 3, saved(folder, only), "--oracle",
            data.source, "--parameters", 1000000)


def check_offsets(folder, rng):
    """Logits that copy their own input, with labels that were not shifted."""
    tokens = rng.integers(0, 16, (8, 32)).astype(np.int32)
    logits = rng.standard_normal((8, 32, 16))
    np.put_along_axis(logits, tokens[..., None], 6.0, -1)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    reported = -np.take_along_axis(log_probs, tokens[..., None], -1).mean()
    arrays = {"fresh/tokens": tokens, "fresh/logits": logits}
    verdict("labels that were not shifted", "SHIFT ERROR", 1,
            saved(folder, {**arrays, "fresh/reported_loss": reported}))
    right = -np.take_along_axis(log_probs[:, :-1], tokens[:, 1:, None], -1)[..., 0]
    verdict("the next token's loss", "INSUFFICIENT", 3,
            saved(folder, {**arrays, "fresh/losses": right}))
    verdict("labels that reach the loss", "LEAK (labels)", 1,
            saved(folder, {**arrays, "fresh/losses": 0.1 * right}))
    verdict("log probabilities that sum to more", "LEAK (labels)", 1,
            saved(folder, {"fresh/tokens": tokens, "fresh/log_probs": log_probs + 0.2}))


def check_untrained(folder):
    data = Data(folder, "markov:order=1,vocab=32")
    flat = {s: np.full_like(data.oracle[s], np.log(32.0)) for s in SETS}
    verdict("uniform output on a chain", "DEGENERATE", 1, saved(folder, data.arrays(flat)),
            "--oracle", data.source)
    uniform = Data(folder, "uniform:vocab=32")
    flat = {s: np.full_like(uniform.oracle[s], np.log(32.0)) for s in SETS}
    verdict("uniform output on uniform tokens", "HEALTHY", 0,
            saved(folder, uniform.arrays(flat)), "--oracle", uniform.source)
    bad = {s: np.where(np.arange(128) == 5, np.nan, flat[s]) for s in SETS}
    verdict("NaN", "DIVERGING", 1, saved(folder, uniform.arrays(bad)), "--oracle", uniform.source)


def curve_file(folder, name, train, val, step=10):
    path = folder / name
    rows = []
    for i, loss in enumerate(train):
        rows.append({"step": (i + 1) * step, "epoch": (i + 1) / len(train), "loss": loss,
                     "grad_norm": 1.0 / (i + 1), "learning_rate": 1e-3})
    for i, loss in enumerate(val):
        rows.append({"step": (i + 1) * step * len(train) // len(val), "eval_loss": loss,
                     "epoch": (i + 1) / len(val)})
    rows.sort(key=lambda row: row["step"])
    rows.append({"step": len(train) * step, "train_loss": float(np.mean(train)),
                 "train_runtime": 1.0, "total_flos": 1.0})
    path.write_text(json.dumps({"log_history": rows}))
    return path


def check_curves(folder, rng):
    steps = np.linspace(0, 6, 100)
    falling = 2 + 3 * np.exp(-steps) + 0.01 * rng.standard_normal(100)
    quirk = np.round(falling * 31 / 32, 4)
    verdict("a good run of Hugging Face", "INSUFFICIENT", 3,
            curve_file(folder, "trainer_state.json", quirk.tolist(), falling[4::5].tolist()))
    verdict("an overfit run", "OVERFIT", 1,
            curve_file(folder, "trainer_state.json", (falling - 1.9).tolist(),
                       (falling[4::5] - 1.1).tolist()))
    verdict("val below the oracle", "LEAK SUSPECTED", 3, folder / "trainer_state.json",
            "--oracle", "1.94")
    verdict("NaN at the end", "DIVERGING", 1,
            curve_file(folder, "trainer_state.json", [*falling.tolist(), float("nan")], []))
    near = (3 * np.exp(-2 * steps)).round(4).tolist()
    text = verdict("both near 0", "INSUFFICIENT", 3,
                   curve_file(folder, "trainer_state.json", near, near[4::5]))
    expect("what would decide is listed", "supply: " in text, text)
    run = folder / "run" / "checkpoint-1000"
    run.mkdir(parents=True)
    curve_file(run, "trainer_state.json", falling.tolist(), falling[4::5].tolist())
    verdict("a folder of checkpoints", "INSUFFICIENT", 3, folder / "run")


def check_units(folder):
    """Two curves in bits: each is scaled once, whichever comes first."""
    train, val = folder / "train.csv", folder / "val.csv"
    train.write_text("step,train_loss\n" + "".join(f"{i},{3 - i / 50}\n" for i in range(100)))
    val.write_text("step,val_loss\n" + "".join(f"{i},{4 - i / 50}\n" for i in range(100)))
    late = (np.array([3, 4]) - np.mean(np.arange(90, 100)) / 50) * np.log(2)
    for files in ((train, val), (val, train)):
        code, text = assay("overfit", *files, "--unit", "bits")
        expect("levels of both curves in nats",
               f"val {late[1]:.4g} - training {late[0]:.4g} = {late[1] - late[0]:.4g}" in text,
               f"{code}: {text}, expected {late}")


def check_inputs_kept(folder):
    """A report is never written over what it was made from, also inside a folder."""
    run = folder / "run"
    run.mkdir()
    rows = [{"step": i + 1, "loss": 2.0 - i / 50} for i in range(20)]
    state = run / "trainer_state.json"
    state.write_text(json.dumps({"log_history": rows}))
    before = state.read_bytes()
    for option in ("--json", "--report", "--junit"):
        for path in (state, run / ".." / "run" / "trainer_state.json"):
            code, text = assay("overfit", run, option, path, "--force")
            expect(f"{option} on an input is refused",
                   code == 2 and state.read_bytes() == before, f"{code}: {text}")


def check_other_tokens(folder, rng):
    """Fresh tokens that are val, losses of rows in another order, an oracle of other tokens."""
    data = Data(folder, "markov:order=1,vocab=16")
    oracle = ("--oracle", data.source)
    losses = data.learner(rng)
    arrays = data.arrays(losses)
    same = {**arrays, "fresh/losses": losses["val"], "fresh/tokens": data.tokens["val"]}
    text = verdict("fresh is val", "INSUFFICIENT", 3, saved(folder, same), *oracle)
    expect("it says so", "the fresh set is in val" in text, text)
    half = {**arrays, "fresh/tokens": data.tokens["fresh"].copy()}
    half["fresh/losses"] = losses["fresh"].copy()
    for name, of_val in (("fresh/tokens", data.tokens), ("fresh/losses", losses)):
        half[name][:16] = of_val["val"][:16]
    text = verdict("a quarter of fresh is val", "HEALTHY", 0, saved(folder, half), *oracle)
    expect("they are left out", "they are in val" in text, text)
    turned = {**arrays, "fresh/losses": np.roll(losses["fresh"], 7, 0)}
    text = verdict("rows in another order", "INSUFFICIENT", 3, saved(folder, turned), *oracle)
    expect("it says so, too", "another order" in text, text)
    other = Data(folder, "markov:order=1,vocab=16", seed=2)
    code, text = assay("overfit", saved(folder, arrays), "--oracle", other.path)
    expect("an oracle file of other tokens is refused",
           code == 2 and "the oracle is of other tokens" in text, f"{code}: {text}")


def check_refusals(folder):
    (folder / "text.npz").write_text("no archive")
    (folder / "text.csv").write_text("a,b\n1,2\n")
    np.savez(folder / "weights.npz", w=np.zeros(3))
    np.savez(folder / "unnamed.npz", losses=np.ones((2, 3)))
    np.savez(folder / "shapes.npz", **{"fresh/losses": np.ones((2, 3)),
                                       "fresh/tokens": np.ones((3, 3), int)})
    np.savez(folder / "signs.npz", **{"fresh/losses": -np.ones((2, 3))})
    np.savez(folder / "only_tokens.npz", **{"fresh/tokens": np.ones((2, 3), int)})
    for name in ("text.npz", "text.csv", "weights.npz", "unnamed.npz", "shapes.npz", "signs.npz",
                 "only_tokens.npz", "absent.npz", "."):
        code, text = assay("overfit", folder / name)
        expect(f"{name} is refused", code == 2 and text.count("\n") == 1, f"{code}: {text}")
    good = folder / "good.csv"
    good.write_text("step,loss\n1,2\n2,1.9\n")
    for options in (["--oracle", "markov:vocab"], ["--oracle", folder / "absent.npz"],
                    ["--alpha", "2"], ["--vocab", "0"], ["--unit", "decibels"],
                    ["--json", good]):
        code, text = assay("overfit", good, *options)
        expect(f"{options} is refused", code == 2, f"{code}: {text}")
    for options in (["uniform"], ["uniform", "--out", folder / "x.txt"], ["unifrom", "--out", "x"],
                    ["uniform", "--out", folder / "x.bin"], ["uniform", "--out", good],
                    ["uniform", "--out", folder / "x.npz", "--rows", "0"],
                    ["uniform", "--out", folder / "x.npz", "--set", "dev"],
                    ["uniform", "--out", folder / "x.npz", "--committed", "00"]):
        code, text = assay("data", *options)
        expect(f"data {options} is refused", code == 2 and not (folder / "x.npz").exists(),
               f"{code}: {text}")


def check_data(folder):
    code, commitment = assay("data", "--commit", "--seed", "77")
    expect("a commitment", code == 0 and len(commitment.strip()) == 32, commitment)
    code, text = assay("data", "markov:order=1,vocab=300", "--set", "fresh", "--seed", "77",
                       "--committed", commitment.strip(), "--out", folder / "fresh.h5")
    expect("the committed set is drawn", code == 0, text)
    code, _ = assay("data", "markov:order=1,vocab=300", "--set", "fresh", "--seed", "77", "--out",
                    folder / "fresh.bin")
    with h5py.File(folder / "fresh.h5") as file:
        tokens = file["tokens"][:]
        expect("log probabilities are 0 or less", (file["oracle_log_probs"][:] <= 0).all())
        source = file.attrs["source"]
        source = source.decode() if isinstance(source, bytes) else source
        expect("the source is stated", source == "markov:order=1,vocab=300", source)
    ids = np.fromfile(folder / "fresh.bin", dtype="<u2")
    expect("the .bin has the same ids", code == 0 and (ids == tokens.ravel()).all())


def main():
    rng = np.random.default_rng(20260101)
    for check in (check_verdicts, check_strata, check_formats, check_wrong_oracles, check_canaries,
                  check_sizes, check_offsets, check_untrained,
                  check_curves, check_units, check_inputs_kept, check_other_tokens,
                  check_refusals, check_data):
        with tempfile.TemporaryDirectory() as folder:
            takes_rng = check.__code__.co_argcount == 2
            check(pathlib.Path(folder), *([rng] if takes_rng else []))
    print(f"overfit_test: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
