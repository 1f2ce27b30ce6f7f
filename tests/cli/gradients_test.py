"""Gradients of programs and of dumps, judged. usage: gradients_test.py ASSAY EXAMPLES

A program that replays what a golden file holds, in double, stands for one that computes it; each
thing that can be wrong with what it hands over is found and named. Needs numpy and h5py; exit code
77 without them.
"""

import json
import os
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from command import Command  # noqa: E402

ASSAY, EXAMPLES = Command(sys.argv[1]), os.path.abspath(sys.argv[2])
expect = ASSAY.expect
REPLAY = """
import sys
import h5py
import numpy as np
import assay_subject

def tensors(file, group):
    found = {}
    file[group].visititems(lambda name, item: found.__setitem__(name, np.array(item[()]))
                           if isinstance(item, h5py.Dataset) else None)
    return found

def run(request):
    with h5py.File(sys.argv[1]) as file:
        answer = tensors(file, "forward")
        grads = tensors(file, "grad")
    CHANGE
    if request.gradients:
        answer.update({"grad/" + name: value for name, value in grads.items()})
    return answer

assay_subject.serve(run, name="replay", can=("gradients",))
"""
UP, GATE = "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.gate_proj.weight"
ONLY_WEIGHTS = "grads = {n: v for n, v in grads.items() if n.endswith('.weight')}"
# What is changed; exit code, what is said.
CASES = {
    "right": ("pass", 0, "gradients: local"),
    "weights alone": (ONLY_WEIGHTS, 0, "of weights alone"),
    "float32": ("grads = {n: v.astype(np.float32) for n, v in grads.items()}", 1,
                "FAIL /grad/"),
    "a factor": (f"grads['{UP}'] = grads['{UP}'] * 2", 1,
                 f"FAIL /grad/{UP}"),
    "the factor is said": (f"grads['{UP}'] *= 2", 1, "equals what is due times 2"),
    "a loss scale": ("grads = {n: v * 1024 for n, v in grads.items() if n != 'loss'}", 1,
                     "FAIL /grad/logits"),
    "zero": (f"grads['{UP}'] *= 0", 1, "it is 0 everywhere"),
    "the operation": ("grads['layers/1/mlp/act'] *= 1.001", 1,
                      "backward rule of linear (layers/1/mlp/out)"),
    "the parameter": (ONLY_WEIGHTS + f"; grads['{UP}'][3, 5] += 1e-6", 1, "a parameter's"),
    "one element": (f"grads['{UP}'][3, 5] += 1e-6", 1, "first at (d3,d5)"),
    "NaN": (f"grads['{UP}'][0, 0] = np.nan", 1, f"nonfinite: replay (exec:"),
    "missing": (f"del grads['{UP}']", 1, f"grad/{UP}: missing"),
    "shape": (f"grads['{UP}'] = grads['{UP}'].T", 1, "looks transposed"),
    "swapped": (f"grads['{UP}'], grads['{GATE}'] = grads['{GATE}'], grads['{UP}']", 1,
                f"FAIL /grad/{UP}"),
    "unknown": ("grads['layers/9/input'] = np.zeros(3)", 1, "grad/layers/9/input: the golden"),
    "none": ("grads = {}", 1, "not one of"),
    "a forward tensor": ("answer['layers/1/output'] *= 1.01", 1, "FAIL /layers/1/output"),
}
programs = 0


def program(change, can=True):
    global programs
    programs += 1
    path = f"replay{programs}.py"
    text = REPLAY.replace("CHANGE", change)
    if not can:
        text = text.replace('can=("gradients",)', "can=()")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return f"exec:{sys.executable} {path} g.h5"


def judge_programs():
    for name, (change, code, said) in CASES.items():
        arguments = ["verify", "g.h5", "--precision", "fp64", "--subject", program(change)]
        print(name)
        expect(code, said, *arguments)
    right = program("pass")
    fp64 = ("--precision", "fp64", "--subject")
    # One that has no gradients after all goes on to be asked for the rest.
    said = expect(1, "gradients: ledger", "verify", "g.h5", "--leakage", *fp64,
                  program("if request.gradients: raise ValueError('none')"))
    if "ValueError: none" not in said or "repeat " not in said:
        ASSAY.fail(f"a program that refuses gradients: {said}")
    expect(0, "gives none of the", "verify", "g.h5", *fp64, program("pass", can=False))
    expect(1, "missing: grad/", "verify", "g.h5", "--require", "grad/*", *fp64,
           program("pass", can=False))
    expect(0, "gradients: free-running", "verify", "g.h5", "--require", "grad/*", *fp64, right)
    expect(1, "grad/layers/1/mlp/act: missing", "verify", "g.h5", "--require", "grad/layers/*",
           *fp64, program("del grads['layers/1/mlp/act']"))
    expect(0, "gradients: not judged: the golden file has none", "verify", "none.h5", *fp64,
           "reference")
    said = expect(0, "gradients: free-running", "verify", "g.h5", "--only", "grad/*", *fp64, right)
    expect(3, "gives none of the", "verify", "g.h5", "--only", "grad/*", *fp64,
           program("pass", can=False))
    if "numerics" in said:
        sys.exit(f"FAIL: --only 'grad/*' judges tensors too: {said}")
    wrong = program(f"grads['{UP}'] *= 2")
    for left_out in ("grad/*", f"grad/{UP}"):
        expect(0, "verdict: pass", "verify", "g.h5", "--leave-out", left_out, *fp64, wrong)
    expect(2, "has such a tensor", "verify", "g.h5", "--leave-out", "grad/no/*", *fp64, wrong)
    expect(2, "has no such tensor", "verify", "none.h5", "--only", "grad/*", *fp64, "reference")
    said = expect(0, "verdict: pass", "verify", "g.h5", "--only", "logits", *fp64, wrong)
    if "gradients" in said:
        sys.exit(f"FAIL: --only logits judges gradients too: {said}")


def judge_with_hashes(make):
    """Golden files that hold hashes of what g.h5 holds in values."""
    for capture in ("hash", "stats"):
        expect(0, "", "generate", *make, "hash.h5", "--grad", "--capture", capture, "--force")
        judged = ("verify", "hash.h5", "--precision", "fp64", "--subject")
        expect(0, "hashes equal", *judged, program("pass"))
        expect(1, f"FAIL /grad/{UP}", *judged, program(f"grads['{UP}'] *= 2"))


def judge_dumps():
    with h5py.File("g.h5") as file:
        dump = {}
        for group, prefix in (("forward", ""), ("grad", "grad/")):
            file[group].visititems(
                lambda name, item, prefix=prefix: dump.__setitem__(prefix + name, item[()])
                if isinstance(item, h5py.Dataset) else None)
    np.savez("right.npz", **dump)
    with h5py.File("right.h5", "w") as file:
        for name, value in dump.items():
            file["candidate/" + name] = value
    for path in ("right.npz", "right.h5", "g.h5"):
        expect(0, "gradients: local", "compare", "g.h5", path, "--precision", "fp64")
    dump[f"grad/{UP}"] = dump[f"grad/{UP}"] * 2
    np.savez("wrong.npz", **dump)
    expect(1, f"FAIL /grad/{UP}", "compare", "g.h5", "wrong.npz", "--precision", "fp64", "--json",
           "r.json", "--junit", "r.xml", "--report", "r.html")
    with open("r.json", encoding="utf-8") as file:
        report = json.load(file)
    rows = {row["name"]: row["status"] for row in report["checkpoints"]}
    assert rows[f"grad/{UP}"] == "fail" and rows[f"grad/{GATE}"] == "pass", rows
    for path, part in (("r.xml", f'name="grad/{UP}"'), ("r.html", "<h2>Gradients</h2>")):
        with open(path, encoding="utf-8") as file:
            assert part in file.read(), path
    expect(0, "gradients: not judged: the golden file has none", "compare", "none.h5", "right.npz",
           "--precision", "fp64")


def main():
    os.environ["PYTHONPATH"] = EXAMPLES
    with tempfile.TemporaryDirectory(prefix="assay-gradients-") as folder:
        os.chdir(folder)
        make = ["--preset", "tiny", "--method", "plain", "--seq", "12", "--batch", "2", "--out"]
        expect(0, "", "generate", *make, "g.h5", "--grad")
        expect(0, "", "generate", *make, "none.h5")
        judge_programs()
        judge_with_hashes(make)
        judge_dumps()
        os.chdir("/")
    sys.exit(1 if ASSAY.failures else 0)


main()
