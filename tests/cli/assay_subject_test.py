"""assay_subject.py where numpy is all there is. Usage: assay_subject_test.py ASSAY EXAMPLES

Dumps of every format hold what was handed over, whole or not at all; a function of a request is a
program with sensible defaults. Exits with 77 (skip) where numpy or h5py is missing.
"""

import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ASSAY, EXAMPLES = sys.argv[1], os.path.abspath(sys.argv[2])
sys.path[:0] = [EXAMPLES, os.path.dirname(os.path.abspath(__file__))]
import assay_subject  # noqa: E402
import numpy_llama  # noqa: E402
from command import Command  # noqa: E402

expect = Command(ASSAY, stops=True).expect


def check(condition, claim):
    if not condition:
        sys.exit(f"FAIL: {claim}")


def computed():
    """What the example computes of the golden file's tokens."""
    with h5py.File("g.h5") as file:
        inputs = {name: file["inputs/" + name][()] for name in
                  ("tokens", "labels", "attention_mask")}
    return numpy_llama.Llama("model")(assay_subject.Request("model", inputs, {}))


def dumps(tensors):
    said = {"schedule": "eager", "angles": "double"}
    with h5py.File("g.h5") as file:
        tokens = file["inputs/tokens"][()]
    for suffix in ("h5", "npz", "safetensors"):
        path = f"c.{suffix}"
        assay_subject.write_tensors(path, {**tensors, "inputs/tokens": tokens.astype("i8")}, said)
        expect(0, "verdict: pass", "compare", "g.h5", path)
        # An error while it is written leaves what was there, and no other file.
        for bad in ({"loss": np.array(["a text"])}, {"loss": object()}):
            try:
                assay_subject.write_tensors(path, bad)
                check(False, f"{path}: {bad} is refused")
            except TypeError as error:
                check("loss: expected a tensor of floats" in str(error), error)
        expect(0, "verdict: pass", "compare", "g.h5", path)
    check(sorted(os.listdir()) == ["c.h5", "c.npz", "c.safetensors", "g.h5", "model"],
          f"nothing is left: {os.listdir()}")
    for path in ("c.txt", "none/c.h5"):
        try:
            assay_subject.write_tensors(path, tensors)
            check(False, f"{path} is refused")
        except (ValueError, FileNotFoundError) as error:
            check(path in str(error), error)


def types():
    """Every element type comes back as it was, bfloat16 as the float32 of the same value."""
    x = np.arange(6, dtype="f4").reshape(2, 3) / 4
    given = {"f8": x.astype("f8"), "f4": x.T, "f2": x.astype("f2"), "i8": x.astype("i8"),
             "scalar": np.float32(1.5), "number": 2.5}
    assay_subject.write_safetensors("t.safetensors", {
        **{name: assay_subject.encoded(name, y) for name, y in given.items()},
        "bf16": ("BF16", (x.view("u4") >> 16).astype("u2"))}, {})
    got = assay_subject.read_safetensors("t.safetensors")
    for name, y in {**given, "bf16": x}.items():
        y = np.asarray(y)
        check(got[name].dtype == y.dtype and got[name].shape == y.shape
              and np.array_equal(got[name], y), f"{name}: expected {y}, got {got[name]}")
    os.remove("t.safetensors")


PROGRAM = """
import sys
sys.path.insert(0, {examples!r})
import assay_subject, numpy_llama
serve = assay_subject.serve
{run}
"""
# What a function prints is none of the protocol's.
WHOLE = 'serve(lambda request: print("runs") or numpy_llama.Llama(request.model)(request))'
FAILS = 'serve(lambda request: {"logits": request.none})'


def programs():
    for run, code, part in ((WHOLE, 0, "method plain, mine (exec:"),
                            (FAILS, 1, "AttributeError: 'Request' object has no attribute 'none'")):
        with open("mine.py", "w", encoding="utf-8") as file:
            file.write(PROGRAM.format(examples=EXAMPLES, run=run))
        expect(code, part, "verify", "g.h5", "--subject", f"exec:{sys.executable} mine.py")


with tempfile.TemporaryDirectory(prefix="assay-subject-") as work:
    os.chdir(work)
    expect(0, "root hash", "generate", "--method", "plain", "--seq", "20", "--batch", "2", "--out",
           "g.h5")
    expect(0, "model.safetensors", "export", "g.h5", "--dtype", "fp32", "--to", "model")
    dumps(computed())
    types()
    programs()
    os.chdir("/")
print("dumps, types and programs: as expected")
