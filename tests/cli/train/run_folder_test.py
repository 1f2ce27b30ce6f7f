"""`assay train` as a user runs it: folders, resumed and interrupted runs, files of tokens, and
what is refused.

usage: run_folder_test.py ASSAY
"""

import json
import math
import shutil
import signal
import subprocess
import sys
import time

from runs import (ASSAY, MARKOV, SMALL, assay, expect, h5py, np, rows_of, run_tests, state_of,
                  steps_of, train, verdict)


def test_folder(root):
    run = root / "folder"
    code, text = train(run, *SMALL, "--steps", 20, "--eval-every", 5, "--warmup", 4,
                       "--lr-floor", 0.001, "--method", "3.1", "--accumulate", 2)
    expect("a run ends with 0", code == 0, text)
    config = json.loads((run / "config.json").read_text())
    expect("the config has the model", config["model"]["assay"]["method"] == "3.1", config)
    expect("the config has the options", config["training"]["accumulate"] == 2, config)
    expect("provenance has a version", config["provenance"]["version"], config)
    result = json.loads((run / "result.json").read_text())
    code, text = assay("data", "--commit", "--seed", result["fresh_seed"])
    expect("the fresh seed is the one that was committed to",
           text.strip() == config["fresh_seed_commitment"], text)
    steps = steps_of(run)
    expect("a row a step", [row["step"] for row in steps] == list(range(1, 21)), steps)
    rates = [row["lr"] for row in steps]
    expected = [0.0025, 0.005, 0.0075, 0.01] + [
        0.001 + 0.009 * (1 + math.cos(math.pi * k / 15)) / 2 for k in range(16)]
    expect("warm-up and cosine", np.allclose(rates, expected, rtol=1e-14), rates)
    for row in steps:
        parts = [value for name, value in row.items() if name.startswith("grad_norm/")]
        expect("the norms of the parts are that of all",
               math.isclose(math.hypot(*parts), row["grad_norm"], rel_tol=1e-12), row)
    expect("a norm for each layer", "grad_norm/layers/2" in steps[0], steps[0])
    evaluations = [row["step"] for row in rows_of(run) if "val_loss" in row]
    expect("evaluations", evaluations == [5, 10, 15, 20], evaluations)
    with h5py.File(run / "curves.h5") as file:
        expect("curves in HDF5", np.array_equal(file["train_loss"][:],
                                                [row["train_loss"] for row in steps]))
        expect("val where it is known", np.isfinite(file["val_loss"][:]).sum() == 4)
    with h5py.File(run / "losses.h5") as file:
        for name in ("train", "val", "fresh"):
            expect(f"losses of {name}", file[f"{name}/losses"].shape == (16, 15)
                   and file[f"{name}/tokens"].shape == (16, 16), list(file))
            expect(f"{name} has its mean", math.isclose(file[f"{name}/losses"][:].mean(),
                                                        result["mean_losses"][name]))
    expect("the last val loss is that of the losses",
           math.isclose(rows_of(run)[-1]["val_loss"], result["mean_losses"]["val"]))
    code, text = assay("generate", "--weights", next(run.glob("checkpoint-*")), "--out",
                       root / "trained.h5", "--seq", 8)
    expect("the checkpoint is one", code == 0, text)


def test_resume(root):
    for method, extra in (("1", []), ("5.1D", ["--dropout", 0.25]), ("pt", []),
                          ("4.2", ["--block", "gpt2"]),
                          ("plain", ["--backend", "simt", "--precision", "fp16",
                                     "--dropout", 0.25, "--keep", "inputs"])):
        arguments = [*SMALL, *extra, "--method", method, "--steps", 10, "--save-every", 4,
                     "--weight-decay", 0.1, "--clip", 1, "--rows", 12]
        whole, parts = root / f"whole-{method}", root / f"parts-{method}"
        expect(f"{method}: whole", train(whole, *arguments)[0] == 0)
        code, text = train(parts, *arguments, "--stop-after", 3)
        expect(f"{method}: stopped with 3", code == 3, text)
        expect(f"{method}: three steps", len(steps_of(parts)) == 3)
        code, text = train(parts, "--resume")
        expect(f"{method}: resumed", code == 0, text)
        expect(f"{method}: the same curve", rows_of(parts) == rows_of(whole))
        expect(f"{method}: the same weights and moments", state_of(parts) == state_of(whole))
        expect(f"{method}: the same losses", (parts / "losses.h5").read_bytes()
               == (whole / "losses.h5").read_bytes())


def test_engine(root):
    """Dropout of the engine has the masks of the reference, and what is kept changes no bit."""
    for method in ("plain", "1", "4.2", "5.1D"):
        arguments = [*SMALL, "--method", method, "--steps", 5, "--accumulate", 2, "--dropout", 0.3]
        curves = {}
        for name, options in (("reference", []), ("all", ["--backend", "simt"]),
                              ("shared", ["--backend", "simt", "--keep", "shared"]),
                              ("inputs", ["--backend", "simt", "--keep", "inputs"])):
            if options:
                options += ["--precision", "fp64"]
            run = root / f"engine-{method}-{name}"
            code, text = train(run, *arguments, *options)
            expect(f"{method}, {name}: runs", code == 0, text)
            curves[name] = steps_of(run)
        for row, own in zip(curves["reference"], curves["all"], strict=True):
            for key in ("train_loss", "grad_norm"):
                expect(f"{method}: {key} of step {row['step']}",
                       math.isclose(row[key], own[key], rel_tol=1e-9), (row, own))
        expect(f"{method}: the same bits", curves["all"] == curves["shared"] == curves["inputs"],
               curves)


def test_longer(root):
    """At a constant rate n + k steps are n steps, and k more of the run that ended."""
    arguments = [*SMALL, "--lr-floor", 0.01, "--method", "3.2", "--eval-every", 3]
    whole, parts = root / "at-once", root / "longer"
    train(whole, *arguments, "--steps", 9)
    train(parts, *arguments, "--steps", 6)
    longer = root / "stopped-again"
    shutil.copytree(parts, longer)
    code, text = train(longer, "--resume", "--steps", 9, "--stop-after", 7)
    expect("results of fewer steps are gone", code == 3 and not any(
        (longer / name).exists() for name in ("losses.h5", "result.json")), text)
    expect("a run cannot be made shorter", train(parts, "--resume", "--steps", 5)[0] == 2)
    code, text = train(parts, "--resume", "--steps", 9, "--stop-after", 6)
    expect("a run cannot stop before where it stands",
           code == 2 and "--stop-after 6: expected a step behind 6" in text, text)
    code, text = train(parts, "--resume", "--steps", 9)
    expect("a run that ended is made longer", code == 0, text)
    expect("the same curve", rows_of(parts) == rows_of(whole))
    expect("the same weights and moments", state_of(parts) == state_of(whole))
    config = json.loads((parts / "config.json").read_text())
    expect("its config says so", config["training"]["steps"] == 9
           and config["data"]["train_rows"] == 36, config)


def test_killed(root):
    """Rows behind the last checkpoint are done again."""
    whole, killed = root / "unhurt", root / "killed"
    arguments = [*SMALL, "--steps", 12, "--save-every", 5]
    train(whole, *arguments)
    train(killed, *arguments, "--stop-after", 5)
    with (killed / "curves.jsonl").open("a") as file:
        file.write(json.dumps({"step": 6, "train_loss": 99.0}) + "\n" + '{"step": 7, "tra')
    (killed / ".checkpoint-7.partial-1").mkdir()
    code, text = train(killed, *arguments, "--resume")
    expect("a killed run goes on", code == 0, text)
    expect("what was not saved is done again", rows_of(killed) == rows_of(whole))
    expect("nothing partial is left", not list(killed.glob(".*")), list(killed.glob(".*")))


def test_save_every(root):
    """A run that goes on saves as often as it was told at first."""
    run = root / "often"
    train(run, *SMALL, "--steps", 30, "--save-every", 29, "--stop-after", 1)
    process = subprocess.run([ASSAY, "train", "--out", run, "--resume", "--stop-after", "2"],
                             capture_output=True, text=True, check=False)
    stored = json.loads((run / "config.json").read_text())["options"]
    expect("it is told how often it saves", process.returncode == 3
           and stored["--save-every"] == ["29"], (process.stderr, stored))
    code, text = train(run, "--resume", "--save-every", 5)
    expect("another is taken", code == 0, text)


def test_mask(root):
    """A masked language model has a token for the mask beside those of the source."""
    run = root / "masked"
    train(run, *SMALL, "--steps", 1, "--method", "pt")
    config = json.loads((run / "config.json").read_text())["model"]
    expect("a token more than the source has", config["vocab_size"] == 9, config)
    errors = json.loads((run / "result.json").read_text())["standard_errors"]
    with h5py.File(run / "losses.h5") as file:
        losses, labels = file["fresh/losses"][:], file["fresh/labels"][:]
    counted = (labels != -100).sum(1)
    mean = losses.sum() / counted.sum()
    n = len(losses)
    off = math.sqrt(n / (n - 1) * ((losses.sum(1) - mean * counted) ** 2).sum()) / counted.sum()
    expect("the standard error of a mean over labels", math.isclose(errors["fresh"], off,
                                                                    rel_tol=1e-9), (errors, off))


def test_interrupt(root):
    run = root / "interrupted"
    process = subprocess.Popen([ASSAY, *map(str, ["train", "--out", run, *SMALL, "--steps", 100000,
                                                  "--save-every", 100000, "--rows", 8])],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    curves = run / "curves.jsonl"
    while process.poll() is None and not (curves.exists() and curves.stat().st_size > 1000):
        time.sleep(0.01)
    code, text = train(run, *SMALL, "--steps", 1, "--force")
    expect("a folder that is being written is refused",
           code == 2 and "another 'assay train'" in text, text)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate()
    expect("Ctrl-C saves and ends with 3", process.returncode == 3, text)
    done = len(steps_of(run))
    expect("the last step is saved", (run / f"checkpoint-{done}").is_dir(), done)
    code, text = train(run, "--resume", "--stop-after", done + 1)
    expect("it goes on", code == 3 and len(steps_of(run)) == done + 1, text)


def test_files_of_tokens(root):
    text = root / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 200)
    code, shown = train(root / "text-run", "--data", text, "--seq", 16, "--batch", 4, "--steps", 5,
                        "--val-rows", 8)
    expect("text trains", code == 0, shown)
    code, said, shown = verdict(root / "text-run")
    expect("text has no oracle", "LEAK" not in said and "HEALTHY" not in said and code in (1, 3),
           shown)
    binary = root / "ids.bin"
    np.arange(4000, dtype="<u2").__mod__(50).tofile(binary)
    code, shown = train(root / "bin-run", "--data", binary, "--vocab", 50, "--seq", 16, "--batch",
                        4, "--steps", 5, "--val-rows", 8)
    expect(".bin trains", code == 0, shown)
    code, shown = train(root / "vocab", "--data", binary, "--vocab", 20, "--steps", 2, "--val-rows",
                        2, "--seq", 16)
    expect("ids beyond the vocabulary are refused", code == 2 and "ids.bin" in shown, shown)
    code, shown = train(root / "beyond", "--data", binary, "--vocab", 50, "--steps", 100)
    expect("a file that is too short is refused", code == 2 and "--rows" in shown, shown)
    rest = binary.read_bytes()[2 * 4 * 5 * 16:]
    code, shown = train(root / "bin-run", "--resume", "--steps", 8)
    data = json.loads((root / "bin-run" / "config.json").read_text())["data"]
    expect("a longer run trains on no row that was val before",
           code == 0 and data["train_rows"] == 20, (shown, data))
    for other in (b"\0" * 640 + rest, binary.read_bytes()[2:]):
        binary.write_bytes(other)
        code, shown = train(root / "bin-run", "--resume", "--steps", 9)
        expect("another file is refused", code == 2 and "started with" in shown, shown)
    for folder in ("vocab", "beyond"):
        expect("what is refused leaves no folder", not (root / folder).exists())


def test_refused(root):
    there = root / "there"
    train(there, *SMALL, "--steps", 2)
    partial = root / "partial"
    partial.mkdir()
    (partial / "config.json.partial-1").write_text("{")
    code, text = train(partial, *SMALL, "--steps", 2)
    expect("a run that was killed at once is no obstacle", code == 0, text)
    before = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    other = root / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    for arguments, word in (
            ([there, *SMALL, "--steps", 2], "--resume"),
            ([there, "--resume", "--force"], "both"),
            ([there, "--resume", "--lr", 0.5], "--lr 0.5"),
            ([other, *SMALL], "mine.txt"),
            ([other, *SMALL, "--force"], "mine.txt"),
            ([other, "--resume"], "config.json"),
            ([root / "no", "--steps", 2], "--data"),
            ([root / "no", "--data", "markvo:order=1"], "--data"),
            ([root / "no", "--data", "markov:vocab=many"], "--data"),
            ([root / "no", "--data", root / "absent.bin"], "--data"),
            (["", *SMALL], "--out"),
            (["", *SMALL, "--force"], "--out"),
            ([root / "no", *SMALL, "--steps", 0], "--steps 0"),
            ([root / "no", *SMALL, "--lr", -1], "--lr"),
            ([root / "no", *SMALL, "--lr", "nan"], "--lr"),
            ([root / "no", *SMALL, "--steps", 5, "--warmup", 6], "--warmup 6"),
            ([root / "no", *SMALL, "--lr-floor", 1], "--lr-floor 1"),
            ([root / "no", *SMALL, "--beta1", 1], "--beta1 1"),
            ([root / "no", *SMALL, "--eps", 0], "--eps 0"),
            ([root / "no", *SMALL, "--clip", -1], "--clip -1"),
            ([root / "no", *SMALL, "--accumulate", 0], "--accumulate 0"),
            ([root / "no", *SMALL, "--rows", 0], "--rows 0"),
            ([root / "no", *SMALL, "--vocab", 4], "4"),
            ([root / "no", *SMALL, "--method", 7], "no such method"),
            ([root / "no", *SMALL, "--backend", "tpu"], "tpu"),
            ([root / "no", *SMALL, "--precision", "bf16"], "bf16"),
            ([root / "no", *SMALL, "--backend", "simt", "--precision", "fp8"], "fp8"),
            ([root / "no", *SMALL, "--keep", "some"], "some"),
            ([root / "no", *SMALL, "--backend", "simt", "--keep", "inputs", "--method", "pt"],
             "method pt"),
            ([root / "no", *SMALL, "--dropout", 1], "--dropout 1"),
            ([root / "no", *SMALL, "--dropout", 0.1, "--method", "pt"], "residual branches"),
            ([root / "no", *SMALL, "--dropout", 0.1, "--backend", "simt", "--method", "pt"],
             "residual branches"),
            ([root / "no", *SMALL, "--dropout", 1, "--backend", "simt"], "--dropout 1"),
            ([root / "no", *SMALL, "--steps", 2**60], "--rows"),
            ([root / "no", *SMALL, "--steps", 2**62, "--rows", 4], f"--steps {2**62}"),
            ([root / "no", "--data", MARKOV, "--val-rows", 2**62], "--val-rows"),
            ([root / "no", "--data", MARKOV, "--seq", 1], "--seq")):
        code, text = train(*arguments)
        expect(f"{arguments[1:]}: refused", code == 2 and word in text, (code, text))
    expect("no folder is made for what is refused", not (root / "no").exists())
    after = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    expect("the run that was there is as it was", before == after)
    expect("another folder is as it was", (other / "mine.txt").read_text() == "mine")
    code, text = train(there, *SMALL, "--weights", there / "checkpoint-2", "--force")
    expect("a run does not remove what it starts from",
           code == 2 and (there / "checkpoint-2").is_dir(), text)
    code, text = train(root / "tuned", *SMALL, "--weights", there / "checkpoint-2", "--steps", 1)
    expect("training goes on from weights", code == 0, text)
    code, text = train(there, *SMALL, "--steps", 3, "--force")
    expect("--force replaces a run", code == 0 and len(steps_of(there)) == 3, text)


def test_damage(root):
    run = root / "damaged"
    train(run, *SMALL, "--steps", 4, "--stop-after", 2)
    moments = run / "checkpoint-2" / "moments.safetensors"
    whole = moments.read_bytes()
    moments.write_bytes(whole[:-100])
    curves = (run / "curves.jsonl").read_bytes()
    code, text = train(run, "--resume")
    expect("a cut checkpoint is refused", code == 2 and "moments.safetensors" in text, text)
    expect("and the curve is as it was", (run / "curves.jsonl").read_bytes() == curves)
    moments.write_bytes(whole)
    (run / "curves.jsonl").unlink()
    code, text = train(run, "--resume")
    expect("a curve that is missing is told", code == 2 and "curves.jsonl" in text, text)
    (run / "curves.jsonl").write_bytes(curves)
    progress = run / "checkpoint-2" / "progress.json"
    right = json.loads(progress.read_text())
    for name, values in {"step": (1, 3, 2.5), "steps_taken": (-1, 3, 1.5, "two", None),
                         "good_steps": (-1, 3, 0.5), "loss_scale": (0, -1, "1", True)}.items():
        for value in values:
            progress.write_text(json.dumps({**right, name: value}))
            code, text = train(run, "--resume")
            expect(f"{name} {value} is refused",
                   code == 2 and f"progress.json: {name}: expected" in text, text)
    progress.write_text(json.dumps(right))
    expect("the curve is as it was", (run / "curves.jsonl").read_bytes() == curves)
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace('"assay_train"', '"assay_trian"'))
    expect("another config is refused", train(run, "--resume")[0] == 2)
    (run / "config.json").write_text(config)
    expect("mended, it goes on", train(run, "--resume")[0] == 0)


if __name__ == "__main__":
    sys.exit(run_tests("run_folder_test", test_folder, test_resume, test_engine, test_longer,
                       test_killed, test_save_every, test_mask, test_interrupt,
                       test_files_of_tokens, test_refused, test_damage))
