"""Several candidates side by side. Usage: candidates_test.py ASSAY EXAMPLES

Dumps and programs are made from examples/numpy_llama.py, right or with a defect, and every
conclusion that can come of two verdicts is asked for. Exits with 77 (skip) where numpy is missing.
"""

import json
import os
import subprocess
import sys
import tempfile
import types
import xml.etree.ElementTree

try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ASSAY, EXAMPLES = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.path.insert(0, EXAMPLES)
with open(os.path.join(EXAMPLES, "numpy_llama.py"), encoding="utf-8") as example:
    RIGHT = example.read()
# (text of the example, what it becomes)
OTHER_ORDER = ('x @ self.weights[name + ".weight"].T',
               'x[..., ::-1] @ self.weights[name + ".weight"].T[::-1]')
EPS = ('np.float32(self.config["rms_norm_eps"])', "np.float32(1e-3)")
LARGE_EPS = ('np.float32(self.config["rms_norm_eps"])', "np.float32(1e-1)")
GROUP = ("np.repeat(k, group, axis=1)", "np.tile(k, (1, group, 1, 1))")
RESIDUAL = ('"output", x + keep', '"output", keep')
LAST_NORM = ('"final_norm", self.norm(x, ', '"final_norm", 1.01 * self.norm(x, ')
MASK = ("np.where(visible, scores, -np.inf)", "np.where(visible, scores, -1e9)")
failures = 0


def program_text(defects):
    text = RIGHT
    for old, new in defects:
        assert old in text, old
        text = text.replace(old, new)
    return text


class Request:
    def __init__(self, path):
        inputs = np.load(path)
        self.tokens, self.labels = inputs["tokens"], inputs["labels"]
        self.attention_mask, self.forced = inputs["attention_mask"], {}


def tensors(*defects):
    """What the example computes, with defects, of the tokens of g.h5."""
    module = types.ModuleType("llama")
    exec(compile(program_text(defects), "llama", "exec"), module.__dict__)
    return module.Llama("model")(Request("inputs.npz"))


def program(name, *defects):
    with open(name, "w", encoding="utf-8") as file:
        file.write(program_text(defects))
    return f"exec:{sys.executable} {name}"


def assay(*arguments):
    os.makedirs("tmp", exist_ok=True)
    done = subprocess.run([ASSAY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=120, check=False,
                          env={**os.environ, "TMPDIR": os.path.abspath("tmp")})
    if os.listdir("tmp"):
        fault(arguments, f"left {os.listdir('tmp')}")
    return done.returncode, done.stdout


def fault(arguments, text):
    global failures
    failures += 1
    print(f"FAIL: assay {' '.join(arguments)}: {text}")


def expect(code, parts, *arguments):
    """Every one of the parts is said."""
    got, said = assay(*arguments)
    for part in [parts] if isinstance(parts, str) else parts:
        if part not in said:
            fault(arguments, f"expected '{part}', got\n{said}")
    if got != code:
        fault(arguments, f"expected exit code {code}, got {got}:\n{said}")
    return said


def compared(code, conclusion, parting, *candidates):
    """The JSON report of a comparison of two."""
    arguments = ["compare", "g.h5", *candidates, "--json", "r.json", "--force"]
    got, said = assay(*arguments)
    if got not in (0, 1, 3):
        fault(arguments, said)
        return {}
    with open("r.json", encoding="utf-8") as file:
        report = json.load(file)
    pair = report["side_by_side"]["pairs"][0]
    for name, value, due in (("exit code", got, code), ("conclusion", pair["conclusion"],
                                                        conclusion),
                             ("parting", pair["parting"], parting)):
        if value != due:
            fault(arguments, f"{name}: expected {due}, got {value}:\n{said}")
    return report


def right_and_wrong():
    """What can come of two verdicts."""
    np.savez("a.npz", **tensors())
    np.savez("b.npz", **tensors(OTHER_ORDER))
    report = compared(0, "right_and_agree", "", "a.npz", "b.npz")
    rows = report["side_by_side"]["pairs"][0]["checkpoints"]
    if not (rows[0]["same_bits"] and any(0 < row["ratio"] < 1 for row in rows)):
        fault(("a.npz", "b.npz"), f"expected embed to be equal and others to differ: {rows}")
    expect(0, ["A and B are right and agree", "verdict: pass", "same bits", "agree"],
           "compare", "g.h5", "a.npz", "b.npz")

    np.savez("eps.npz", **tensors(EPS))
    np.savez("eps2.npz", **tensors(EPS, OTHER_ORDER))
    np.savez("large.npz", **tensors(LARGE_EPS))
    norm = "layers/0/attn_norm"
    compared(1, "one_is_wrong", norm, "a.npz", "eps.npz")
    compared(1, "one_is_wrong", norm, "eps.npz", "a.npz")
    expect(1, f"A is right, B is wrong: leaves its bounds first at {norm}",
           "compare", "g.h5", "a.npz", "eps.npz")
    expect(1, f"B is right, A is wrong: leaves its bounds first at {norm}",
           "compare", "g.h5", "eps.npz", "a.npz")
    compared(1, "wrong_and_agree", "", "eps.npz", "eps2.npz")
    expect(1, [f"both are wrong and agree with each other, first at {norm}",
               f"first outside: A and B at {norm}"], "compare", "g.h5", "eps.npz", "eps2.npz")
    compared(1, "wrong_and_differ", norm, "eps.npz", "large.npz")
    expect(1, f"both are wrong, first at {norm}; they part first at {norm}",
           "compare", "g.h5", "eps.npz", "large.npz")

    # Different layers: the later fault is found behind the earlier one of the other.
    np.savez("last.npz", **tensors(LAST_NORM))
    np.savez("group.npz", **tensors(GROUP))
    compared(1, "wrong_and_differ", "layers/0/attn/scores", "last.npz", "group.npz")
    expect(1, ["both are wrong: A: leaves its bounds first at final_norm; B: leaves its bounds "
               "first at layers/0/attn/scores", "first outside: B at layers/0/attn/scores"],
           "compare", "g.h5", "last.npz", "group.npz")
    # One fault more than the other.
    np.savez("both.npz", **tensors(EPS, LAST_NORM))
    compared(1, "wrong_and_differ", "final_norm", "eps.npz", "both.npz")
    expect(1, f"both are wrong, first at {norm}, where they agree; they part first at final_norm",
           "compare", "g.h5", "eps.npz", "both.npz")


def unusual_values():
    """NaN, masks by a large number, shapes, parts."""
    spoilt = tensors()
    spoilt["layers/1/mlp/up"][0, 1, 2] = np.nan
    np.savez("nan.npz", **spoilt)
    compared(1, "one_is_wrong", "layers/1/mlp/up", "a.npz", "nan.npz")
    again = tensors(OTHER_ORDER)
    again["layers/1/mlp/up"][0, 1, 2] = np.nan
    np.savez("nan2.npz", **again)
    compared(1, "wrong_and_agree", "", "nan.npz", "nan2.npz")
    np.savez("masked.npz", **tensors(MASK))
    compared(0, "right_and_agree", "", "a.npz", "masked.npz")

    odd = tensors()
    odd["layers/1/attn/v"] = odd["layers/1/attn/v"].transpose(0, 2, 1, 3)
    np.savez("shape.npz", **odd)
    report = compared(1, "one_is_wrong", "", "a.npz", "shape.npz")
    if report["side_by_side"]["pairs"][0]["only_in_first"] != ["layers/1/attn/v"]:
        fault(("shape.npz",), "expected layers/1/attn/v in the first alone")
    expect(1, ["A is right, B is wrong: layers/1/attn/v: shape",
               "A has 1 checkpoints that B has not: layers/1/attn/v"],
           "compare", "g.h5", "a.npz", "shape.npz")

    # Each has what the other has not; what both have decides.
    names = list(tensors())
    first = {name: x for name, x in tensors().items() if not name.endswith("/scores")}
    second = {name: x for name, x in tensors(LAST_NORM).items() if not name.endswith("/mlp/up")}
    np.savez("first.npz", **first)
    np.savez("second.npz", **second)
    expect(1, "", "compare", "g.h5", "first.npz", "second.npz", "--json", "r.json", "--force")
    with open("r.json", encoding="utf-8") as file:
        pair = json.load(file)["side_by_side"]["pairs"][0]
    if (pair["only_in_first"] != [n for n in names if n.endswith("/mlp/up")] or
            pair["only_in_second"] != [n for n in names if n.endswith("/scores")] or
            pair["parting"] != "final_norm" or
            len(pair["checkpoints"]) != len(names) - len(pair["only_in_first"]) -
            len(pair["only_in_second"])):
        fault(("first.npz", "second.npz"), f"of parts: {pair}")
    expect(1, f"{len(first)} of {len(names)} checkpoints", "compare", "g.h5", "first.npz",
           "second.npz")
    some = "embed,layers/*/output,logits"
    expect(0, "A and B agree in the 5 checkpoints that both have",
           "compare", "g.h5", "a.npz", "b.npz", "--only", some)


def programs():
    """Programs, our own subjects, and dumps, in any mixture."""
    good, other = program("good.py"), program("other.py", OTHER_ORDER)
    bad = program("bad.py", EPS)
    compared(0, "right_and_agree", "", good, other)
    compared(0, "right_and_agree", "", good, good)
    compared(1, "one_is_wrong", "layers/0/attn_norm", "a.npz", bad)
    compared(1, "wrong_and_agree", "", bad, "eps.npz")
    compared(0, "right_and_agree", "", "simt", "file:a.npz")
    compared(0, "right_and_agree", "", "reference", good)
    expect(0, "good (exec:", "compare", "g.h5", good)
    expect(0, ["A and B are right and agree", "judged as fp32", "judged as bf16"],
           "compare", "g.h5", "simt", "simt", "--precision", "fp32,bf16")
    expect(0, ["right: A, B and C; wrong: none", "A, B: A and B are right and agree",
               "B, C: B and C are right and agree"],
           "compare", "g.h5", "simt", good, "a.npz", "--schedule", "eager")
    expect(1, ["right: A and C; wrong: B", "A, C: A and C are right and agree"],
           "compare", "g.h5", "a.npz", bad, "reference")
    with open("dies.py", "w", encoding="utf-8") as file:
        file.write("input(); print('{\"name\": \"dies\"}', flush=True); input(); exit(3)\n")
    expect(1, ["B is wrong: subject: ", "ended with exit code 3", "no tensor that can be compared"],
           "compare", "g.h5", "a.npz", f"exec:{sys.executable} dies.py")
    expect(1, ["B is right, A is wrong: subject: ", "ended with exit code 3"],
           "compare", "g.h5", f"exec:{sys.executable} dies.py", "a.npz")


def reports():
    """The same in every form."""
    expect(1, "", "compare", "g.h5", "a.npz", "eps.npz", "--json", "r.json", "--junit", "r.xml",
           "--report", "r.html", "--force", "--quiet")
    with open("r.json", encoding="utf-8") as file:
        report = json.load(file)
    checks = {check["name"]: check["status"] for check in report["checks"]}
    if checks != {"A": "pass", "B": "fail", "conclusion": "fail"} or len(report["cases"]) != 2:
        fault(("json",), f"{checks}")
    suites = xml.etree.ElementTree.parse("r.xml").getroot()
    last = suites.findall("testsuite")[-1]
    conclusion = last.find("testcase[@name='conclusion']/failure")
    parted = last.find("testcase[@name='A - B: layers/0/attn_norm']/failure")
    equal = last.find("testcase[@name='A - B: embed']")
    if last.get("name") != "side by side" or conclusion is None or parted is None or len(equal):
        fault(("junit",), "expected a suite of the two side by side")
    if "B is wrong: leaves its bounds first at layers/0/attn_norm" not in conclusion.get("message"):
        fault(("junit",), conclusion.get("message"))
    with open("r.html", encoding="utf-8") as file:
        html = file.read()
    for part in ("Side by side", "A - B", "a.npz", "eps.npz", "B is wrong", "<b>part</b>"):
        if part not in html:
            fault(("html",), f"expected '{part}'")


def other_weights():
    """Weights that a storage type does not hold: each is judged by what it computes with, and the
    two do not part for that."""
    assay("export", "g.h5", "--to", "other")
    path = "other/model.safetensors"
    with open(path, "rb") as file:
        raw = bytearray(file.read())
    start = 8 + int.from_bytes(raw[:8], "little")
    values = np.frombuffer(bytes(raw[start:]), "<f4") * np.float32(1 + 2**-10)
    with open(path, "wb") as file:
        file.write(raw[:start] + values.tobytes())
    code, said = assay("generate", "--weights", "other", "--seq", "6", "--batch", "2", "--out",
                       "other.h5")
    if code != 0:
        fault(("generate", "--weights"), said)
    for precisions in ("fp32,bf16", "bf16,fp32"):
        expect(0, "A and B are right and agree", "compare", "other.h5", "simt", "reference",
               "--precision", precisions, "--json", "r.json", "--force")
        with open("r.json", encoding="utf-8") as file:
            if "are no numbers of bf16" not in file.read():
                fault(("other.h5", precisions), "expected weights that bf16 does not hold")


def bad_input():
    for part, arguments in (
            ("candidate B: a.npz: the same file as candidate A, judged alike", ["a.npz", "a.npz"]),
            ("candidate B: link.npz: the same file as candidate A", ["a.npz", "link.npz"]),
            ("candidate C: ./a.npz: the same file as candidate A", ["a.npz", "b.npz", "./a.npz"]),
            ("gone.npz: no such file: expected the path of a dump, or a subject: simt, cuda",
             ["a.npz", "gone.npz"]),
            ("smit: no such file", ["smit", "a.npz"]),
            ("simt:fast: expected :stacked", ["a.npz", "simt:fast"]),
            ("--subject file:: expected", ["a.npz", "file:"]),
            ("no such program", ["a.npz", "exec:./none"]),
            ("--precision fp32,bf16: expected one for all or one for each of 3 candidates, got 2",
             ["a.npz", "b.npz", "simt", "--precision", "fp32,bf16"]),
            ("--precision fp32,bf16: expected one for all or one for each of 1 candidates, got 2",
             ["a.npz", "--precision", "fp32,bf16"]),
            ("fp31", ["a.npz", "b.npz", "--precision", "fp32,fp31"]),
            ("--schedule: expected with a dump or a program only, got simt",
             ["a.npz", "simt", "--schedule", "eager,eager"]),
            ("expected at most 8, got 9", ["simt"] * 9),
            ("--json b.npz: is the input b.npz", ["a.npz", "b.npz", "--json", "b.npz"])):
        expect(2, part, "compare", "g.h5", *arguments)
    # Judged in two ways it is not the same twice.
    expect(0, "A and B are right and agree", "compare", "g.h5", "a.npz", "a.npz", "--schedule",
           "eager,", "--angles", "float32,storage")


def peak_megabytes(*arguments):
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        process = subprocess.Popen([ASSAY, *arguments], stdout=nothing, stderr=nothing)
    _, status, usage = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024


def memory():
    """Two large dumps take no more memory than one and a tensor or two: neither is held."""
    assay("generate", "--method", "plain", "--seq", "320", "--batch", "4", "--out", "large.h5")
    inputs("large.h5")
    right = tensors()
    np.savez("x.npz", **right)
    np.savez("y.npz", **tensors(OTHER_ORDER))
    size = sum(x.nbytes for x in right.values()) / 1e6
    allowed = 6 * max(x.nbytes for x in right.values()) / 1e6
    assert allowed < size, "a candidate that is held would not show"
    code, one = peak_megabytes("compare", "large.h5", "x.npz")
    for more in ([], ["--schedule", "eager,fused", "--angles", "double"]):
        again, two = peak_megabytes("compare", "large.h5", "x.npz", "y.npz", *more)
        if (code, again) != (0, 0) or two > one + allowed:
            fault(("memory", *more), f"{one:.0f} MB for one, {two:.0f} MB for two of {size:.0f} "
                  f"MB, expected {allowed:.0f} MB more at most; exit codes {code}, {again}")
        print(f"memory: {one:.0f} MB for one, {two:.0f} MB for two of {size:.0f} MB")


def inputs(golden):
    """Tokens, mask and labels of a golden file, as the judge sends them to a program."""
    with open("keep.py", "w", encoding="utf-8") as file:
        file.write("import json, shutil\nhello = json.loads(input())\n"
                   "print(json.dumps({'name': 'keep'}), flush=True)\n"
                   "run = json.loads(input())\n"
                   "shutil.copy(hello['folder'] + '/' + run['inputs'], 'inputs.npz')\n"
                   "shutil.copytree(hello['model'], 'model', dirs_exist_ok=True)\n")
    assay("verify", golden, "--subject", f"exec:{sys.executable} keep.py")


def main():
    os.environ["PYTHONPATH"] = EXAMPLES
    with tempfile.TemporaryDirectory(prefix="assay-candidates-") as folder:
        os.chdir(folder)
        assay("generate", "--method", "plain", "--seq", "6", "--batch", "2", "--out", "g.h5")
        inputs("g.h5")
        right_and_wrong()
        os.symlink("a.npz", "link.npz")
        unusual_values()
        programs()
        reports()
        other_weights()
        bad_input()
        memory()
        os.chdir("/")
    print("candidates: every case as expected" if failures == 0 else f"{failures} failures")
    sys.exit(failures > 0)


main()
