"""`assay train --method all`: every method on the same data and seeds, and the forms that are known
to be wrong.

usage: study_test.py ASSAY
"""

import json
import math
import sys
import xml.etree.ElementTree

from runs import SMALL, assay, expect, run_tests, train


def study_of(out):
    return json.loads((out / "study.json").read_text())["methods"]


def check_pictures(out):
    for name in ("losses.svg", "gradients.svg"):
        picture = xml.etree.ElementTree.parse(out / name).getroot()
        lines = [e for e in picture.iter() if e.tag.endswith("polyline")]
        expect(f"{name} has lines of numbers", len(lines) > 30 and "nan" not in str(
            [e.get("points") for e in lines]), len(lines))
        expect(f"{name} is small", (out / name).stat().st_size < 100_000)
        texts = [e.text for e in picture.iter() if e.tag.endswith("text")]
        expect(f"{name} names the forms", {"plain", "1-replace", "5.1E", "1-re-softmax",
                                           "plain-lost-mask"} <= set(texts), texts)


def test_study(root):
    """Every method on the same data, and forms that are wrong: a table and pictures; no method is
    accused."""
    out = root / "study"
    arguments = ["--method", "all", *SMALL, "--steps", 12]
    code, text = train(out, *arguments)
    expect("a study ends with 0", code == 0, text)
    study = study_of(out)
    names = [row["method"] for row in study if not row["known_wrong"]]
    known = {}  # what is told of each method
    for line in assay("methods")[1].splitlines():
        if line and not line.startswith(" "):
            method = line.split()[0]
        known[method] = known.get(method, "") + line
    expected = [*known, *(f"{method}-replace" for method, text in known.items()
                          if "residual = keep | replace" in text), "pt-causal"]
    expect("every method is there, once", sorted(names) == sorted(expected), (names, expected))
    expect("both wrong forms are there", {row["known_wrong"] for row in study}
           == {"", "lost-mask", "re-softmax"}, study)
    for row in study:
        expect(f"{row['method']} was trained", not row["problem"] and row["parameters"] > 0, row)
        if row["known_wrong"] != "lost-mask":
            expect(f"{row['method']} is not accused", "LEAK" not in row["verdict"], row)
    expect("the table is written", (out / "study.md").read_text().count("\n") == len(study) + 2)
    check_pictures(out)
    code, text = train(out, *arguments)
    expect("a study that is there is refused", code == 2 and "--resume" in text, text)
    code, text = train(out, *arguments, "--resume", "--clip", 0.5)
    expect("runs of other options are not mixed in", code == 2 and "--clip 0.5" in text, text)
    code, text = train(out, *arguments[:-2], "--resume")
    expect("nor of options that are left out", code == 2 and "--steps 12" in text, text)
    code, text = train(out, *arguments, "--resume", "--seeds", 2)
    again = study_of(out)
    expect("runs that are over stay", code == 0 and [r["runs"][0]["fresh_loss"] for r in again]
           == [r["runs"][0]["fresh_loss"] for r in study], text)
    for row in again:
        losses = [run["fresh_loss"] for run in row["runs"]]
        mean, half = row["fresh_loss"]
        expect(f"{row['method']}: the interval of two runs", len(losses) == 2 and math.isclose(
            mean, sum(losses) / 2) and math.isclose(half, 12.7062 * abs(losses[0] - losses[1]) / 2,
                                                    rel_tol=1e-4), row)
    second = again[0]["runs"][1]
    alone = root / "alone"
    train(alone, *SMALL, "--steps", 12, "--method", "plain", "--seed", 2)
    expect("the second run has the next seed", second["seed"] == 2 and second["fresh_loss"]
           == json.loads((alone / "result.json").read_text())["mean_losses"]["fresh"], second)


def test_known_wrong(root):
    """What a lost mask would have shown; and nobody takes such a run for one of the method."""
    out = root / "wrong"
    arguments = ["--method", "all", "--data", "uniform:vocab=8", "--seq", 16, "--batch", 8, "--lr",
                 0.02, "--val-rows", 64, "--steps", 60]
    code, text = train(out, *arguments)
    rows = {row["method"]: row for row in study_of(out)}
    for name, row in rows.items():
        leaks = row["known_wrong"] == "lost-mask"
        expect(f"{name}: a leak is one where the mask is lost", leaks
               == ("LEAK" in row["verdict"]), row)
    for name in ("plain-lost-mask", "1-re-softmax"):
        run = out / name
        expect(f"{name}: the run says what it is",
               json.loads((run / "config.json").read_text())["known_wrong"] in name)
        before = (run / "curves.jsonl").read_bytes()
        code, text = train(run, "--resume", "--steps", 61)
        expect(f"{name}: only the study goes on with it", code == 2 and "known to be wrong" in text
               and (run / "curves.jsonl").read_bytes() == before, text)
        checkpoint = run / "checkpoint-60"
        for command in (["generate", "--weights", checkpoint, "--out", root / "no.h5"],
                        ["train", "--weights", checkpoint, *SMALL, "--steps", 1, "--out",
                         root / "no"]):
            code, text = assay(*command)
            expect(f"{name}: no command reads it", code == 2 and "known_wrong" in text, text)
    (out / "plain").rename(root / "plain")
    (out / "plain-lost-mask").rename(out / "plain")
    code, text = train(out, *arguments, "--resume")
    expect("nor takes the study one for the other", code == 2 and "lost-mask" in text, text)
    (out / "plain").rename(out / "plain-lost-mask")
    (root / "plain").rename(out / "plain")
    own = json.loads((out / "pt-causal" / "config.json").read_text())["model"]["assay"]["pt"]
    expect("pt predicts the next token from causal heads", own["output"] == "causal"
           and own["causal_heads"] and own["message"] == "symmetric", own)
    expect("a method's run says nothing", "known_wrong" not in (out / "1" / "config.json")
           .read_text())
    for more in ([], ["--resume"], ["--force"]):
        code, text = train(out / "1", *arguments, *more)
        expect(f"a run is no place for a study {more}", code == 2 and "checkpoint-60" in text, text)
    (out / "plain-lost-mask" / "result.json").unlink()
    code, text = train(out, *arguments, "--resume")
    expect("the study goes on with them", code == 0 and "known_wrong" in
           (out / "plain-lost-mask" / "config.json").read_text(), text)
    for wanted, word in ((["--method", "1", "--seeds", 2], "--method all"),
                         (["--method", "all", "--seeds", 0], "--seeds 0"),
                         (["--method", "all", "--seeds", 2, "--seed", 2**64 - 1], "--seeds 2"),
                         (["--method", "all", "--pt-output", "mlm"], "--pt-output"),
                         (["--method", "1", "--pt-output", "mlm"], "pt-output"),
                         (["--method", "pt", "--pt-output", "words"], "words")):
        code, text = train(root / "no", *SMALL, "--steps", 2, *wanted)
        expect(f"{wanted}: refused", code == 2 and word in text and not (root / "no").exists(),
               text)


def test_elsewhere(root):
    """A folder with something else in it is left as it is."""
    other = root / "other"
    (other / "plain-seed-two").mkdir(parents=True)
    (other / "study.md").write_text("mine")
    for more in ([], ["--resume"], ["--force"]):
        code, text = train(other, "--method", "all", *SMALL, "--steps", 2, *more)
        expect(f"it is refused {more}", code == 2 and "plain-seed-two" in text, text)
    expect("nothing is lost", (other / "study.md").read_text() == "mine"
           and len(list(other.iterdir())) == 2)


def test_engine_study(root):
    """The engine has no wrong forms: the table says so."""
    out = root / "engine"
    code, text = train(out, "--method", "all", "--data", "uniform:vocab=4", "--seq", 4, "--batch",
                       1, "--val-rows", 2, "--steps", 1, "--backend", "simt")
    wrong = [row for row in study_of(out) if row["known_wrong"]]
    expect("wrong forms are the reference's", code == 0 and all(
        "--backend reference" in row["problem"] for row in wrong) and wrong, text)


if __name__ == "__main__":
    sys.exit(run_tests("study_test", test_study, test_known_wrong, test_elsewhere,
                       test_engine_study))
