"""assay leak of any decoder: options, reports and pairs of dumps. usage: usage_test.py ASSAY

Exits with 77 (skip) where numpy is missing.
"""

import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import family  # noqa: E402

ASSAY = os.path.abspath(sys.argv[1])
PROGRAM = f"exec:{sys.executable} {os.path.join(HERE, 'family.py')}"


def leak(*arguments):
    done = subprocess.run([ASSAY, "leak", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120)
    return done.returncode, done.stdout.decode()


def expect(code, part, *arguments):
    got, said = leak(*arguments)
    if got != code or part not in said:
        sys.exit(f"FAIL: leak {' '.join(arguments)}: expected exit code {code} and '{part}', got "
                 f"{got}:\n{said}")


def options():
    small = ["--vocab", str(family.VOCAB), "--positions", "9"]
    clean = ["--subject", f"{PROGRAM} transformer", *small]
    expect(2, "--method: of a model that Assay makes", *clean, "--method", "1")
    expect(2, "expected a program behind --subject", *small, "--subject", "simt")
    expect(2, "--positions: expected with --vocab", "--positions", "9")
    expect(2, "--axis probs: expected NAME=AXIS", *clean, "--axis", "probs")
    expect(2, "expected an axis of x [2,9,16]", *clean, "--axis", "x=7")
    expect(2, "--vocab", "--subject", f"{PROGRAM} transformer", "--vocab", "1")
    expect(2, "no such program", "--subject", "exec:./none", *small)
    expect(3, "--axis 'logits=AXIS:FIRST'", "--subject", f"{PROGRAM} shifted_targets", *small)
    expect(0, "verdict: pass", "--subject", f"{PROGRAM} shifted_targets", *small,
           "--axis", "logits=1:1")
    expect(0, "not judged: b0.probs, b0.scores, b1.probs, b1.scores: left out", *clean,
           "--ignore", "*.probs,*.scores")
    expect(1, "leak at b0.probs", "--subject", f"{PROGRAM} bidirectional", *small,
           "--position-axis", "-2", "--ignore", "x,*normed,*.q,*.k,*context,*out,logits")
    expect(0, "not judged by positions: b0.probs [2,2,9,9]: it is said to have no positions",
           *clean, "--axis", "*.probs=none")


def reports():
    arguments = ["--subject", f"{PROGRAM} pooled", "--vocab", str(family.VOCAB), "--positions", "9",
                 "--json", "r.json", "--junit", "r.xml", "--report", "r.html"]
    expect(1, "leak at b0.pooled", *arguments)
    with open("r.json", encoding="utf-8") as file:
        report = json.load(file)
    assert report["verdict"] == "fail" and report["exit_code"] == 1
    assert report["influence"]["tensors"][0] == "x", report["influence"]["tensors"]
    assert report["influence"]["positions"] == 9
    with open("r.xml", encoding="utf-8") as file:
        assert "leak at b0.pooled" in file.read()
    with open("r.html", encoding="utf-8") as file:
        assert "Who sees whom" in file.read()


ONCE = r"""
import json, os, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import family

with open(sys.argv[3]) as file:
    request = json.load(file)
assert request["vocab"] == family.VOCAB and "model" not in request
with np.load(os.path.join(request["folder"], request["inputs"])) as inputs:
    given = [inputs[key] for key in ("tokens", "attention_mask", "labels")]
np.savez(os.path.join(request["folder"], "answer.npz"), **family.Decoder(sys.argv[2])(*given))
with open(sys.argv[4], "w") as file:
    json.dump({"file": "answer.npz"}, file)
"""


def once():
    """Programs without a loop."""
    with open("once.py", "w", encoding="utf-8") as file:
        file.write(ONCE)
    for name, code, found in (("transformer", 0, "verdict: pass"),
                              ("bidirectional", 1, "leak at b0.probs")):
        expect(code, found, "--subject", f"exec-once:{sys.executable} once.py {HERE} {name}",
               "--vocab", str(family.VOCAB), "--positions", "9")
    expect(1, "exit code 1", "--subject", f"exec-once:{sys.executable} once.py /none transformer",
           "--vocab", str(family.VOCAB), "--positions", "9")


def dump(name, rows, path, **more):
    np.savez(path, **family.Decoder(name)(rows, np.ones_like(rows), rows), **more)


def pairs():
    draw = np.random.default_rng(3)
    a = draw.integers(0, family.VOCAB, (2, 13)).astype(np.int32)
    b = np.concatenate([a[:, :7], (a[:, 7:] + 1) % family.VOCAB], axis=1)
    longer = np.concatenate([a, draw.integers(0, family.VOCAB, (2, 6)).astype(np.int32)], axis=1)
    for name, code, found in (("flat_products", 0, "verdict: pass"),
                              ("bidirectional", 1, "leak at b0.probs"),
                              ("pooled", 1, "leak at b0.pooled"),
                              ("scale_of_the_whole", 1, "leak at b0.quantised")):
        dump(name, a, "a.npz", tokens=a)
        dump(name, b, "b.npz", tokens=b)
        dump(name, longer, "longer.npz", input_ids=longer)
        expect(code, found, "file:a.npz", "file:b.npz")
        if name == "scale_of_the_whole":  # which is what it was, if no later value is larger
            continue
        expect(code, found, "file:a.npz", "file:longer.npz")
        expect(code, found, "file:longer.npz", "file:a.npz")
    dump("transformer", a, "a.npz", tokens=a)
    dump("transformer", a, "same.npz", tokens=a)
    expect(3, "no token differs", "file:a.npz", "file:same.npz")
    dump("transformer", b, "b.npz")
    np.save("a.npy", a)
    np.save("b.npy", b)
    expect(2, "its tokens are not known", "file:a.npz", "file:b.npz")
    expect(0, "verdict: pass", "file:a.npz", "file:b.npz", "--tokens-a", "a.npy", "--tokens-b",
           "b.npy")
    np.save("b.npy", b[:1])
    expect(2, "expected as many rows of tokens", "file:a.npz", "file:b.npz", "--tokens-b", "b.npy")
    np.save("b.npy", (a + 1) % family.VOCAB)
    expect(2, "expected tokens that begin alike", "file:a.npz", "file:b.npz", "--tokens-b",
           "b.npy")
    expect(2, "expected two dumps", "file:a.npz")
    expect(2, "expected file:PATH", "a.npz", "b.npz")
    expect(2, "expected neither --vocab nor --subject", "file:a.npz", "file:b.npz", "--vocab", "29")


def main():
    with tempfile.TemporaryDirectory(prefix="assay-leaks-") as folder:
        os.chdir(folder)
        options()
        reports()
        once()
        pairs()
        os.chdir("/")
    print("options, reports, programs without a loop and pairs of dumps: as expected")


main()
