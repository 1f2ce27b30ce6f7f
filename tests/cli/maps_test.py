"""Maps: every operation, every shipped map right and with one defect, every error, partial dumps.

usage: maps_test.py ASSAY    Needs numpy and h5py; exit code 77 without them.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np

    assert h5py
except ImportError:
    print("skipped: no numpy or h5py")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from foreign_layouts import LAYOUTS, Model, by_position, fused, joined  # noqa: E402

ASSAY = os.path.abspath(sys.argv[1])
failures = 0


def run(*arguments):
    done = subprocess.run([ASSAY, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def expect(code, parts, *arguments):
    global failures
    got, said = run(*arguments)
    for part in [parts] if isinstance(parts, str) else parts:
        if got == code and part in said:
            continue
        failures += 1
        print(f"assay {' '.join(arguments)}: expected exit code {code} and '{part}', got "
              f"{got}: {said}")


def write_map(rules, path="map.json"):
    with open(path, "w", encoding="utf-8") as file:
        file.write(rules if isinstance(rules, str) else json.dumps(rules))
    return path


def compare(code, parts, tensors, rules, *more, golden="llama.h5", precision="fp64"):
    np.savez("d.npz", **tensors)
    expect(code, parts, "compare", golden, "d.npz", "--precision", precision, "--map",
           write_map(rules) if not isinstance(rules, str) or "{" in rules else rules, *more)


def shipped(models):
    """What a map finds is judged, and a defect in any of it is found where it is."""
    for title, (layout, block) in LAYOUTS.items():
        name = title.split(" ", maxsplit=1)[0]
        model = models[block]
        dump, sources = layout(model)
        golden = f"{block}.h5"
        np.savez("d.npz", **dump)
        judged = ("compare", golden, "d.npz", "--precision", "fp64", "--map", name)
        expect(0, ["verdict: pass", f"map {name}: {len(sources)} tensors are read through it"],
               *judged, "--strict")
        expect(0, f"{len(sources)} of {len(model.tensors)} tensors are in the dump, 0 misfits",
               "map", "check", name, golden, "d.npz")
        other = Model(golden)
        bad = "layers/1/mlp/act" if "layers/1/mlp/act" in sources else "layers/1/mlp/up"
        other.tensors[bad] = other.tensors[bad].copy()
        other.tensors[bad][1, 3, 5] += 1e-3
        np.savez("d.npz", **layout(other)[0])
        expect(1, f"FAIL /{bad} ", *judged)


def operations(model):
    """One tensor a time, moved as a map says, and moved back."""
    t = model.tensors
    q, k, v = (t[f"layers/1/attn/{name}"] for name in "qkv")
    heads, groups = q.shape[1], k.shape[1]
    copies = heads // groups

    def one(name, value, rule, *parts, code=0, only=True, rename="theirs"):
        dump = {rename: value}
        more = ("--only", name) if only else ()
        compare(code, list(parts) or ["verdict: pass"], dump, {name: rule}, *more, "--require",
                "all")

    one("layers/1/attn/q", q, "theirs")
    one("layers/1/attn/q", by_position(q), {"from": "theirs", "axes": "B T H Dh -> B H T Dh"})
    one("layers/1/attn/q", joined(q), {"from": "theirs", "axes": "B T (H Dh) -> B H T Dh"})
    one("layers/1/attn/q", q.transpose(3, 1, 0, 2),
        {"from": "theirs", "axes": "Dh H B T -> B H T Dh"})
    one("layers/1/attn/context", by_position(q) * 0 + t["layers/1/attn/context"].reshape(
        by_position(q).shape), {"from": "theirs", "axes": "B T H Dh -> B T (H Dh)"})
    one("embed", t["embed"].reshape(-1, t["embed"].shape[-1]),
        {"from": "theirs", "axes": "(B T) D -> B T D"})
    one("loss", t["loss"].reshape(1, 1), {"from": "theirs", "axes": "1 1 ->"})
    # A part: an axis that is dropped, equal parts of the last axis, terms of a sum, a range.
    three = np.stack([joined(x) for x in (q, q + 1, q + 2)], axis=2)  # [B,T,3,H*Dh]
    one("layers/1/attn/q", three, {"from": "theirs", "part": [0, 3],
                                   "axes": "B T three (H Dh) -> B H T Dh"})
    one("layers/1/attn/q", three.reshape(*three.shape[:2], -1),
        {"from": "theirs", "part": [0, 3], "axes": "B T (three H Dh) -> B H T Dh"})
    one("layers/1/attn/q", three.reshape(*three.shape[:2], -1),
        {"from": "theirs", "part": [0, 3], "axes": "B T (H Dh) -> B H T Dh"})
    one("layers/1/attn/q", three, {"from": "theirs", "at": {"which": 0},
                                   "axes": "B T which (H Dh) -> B H T Dh"})
    gate_up = np.concatenate([t["layers/1/mlp/gate"], t["layers/1/mlp/up"]], axis=-1)
    one("layers/1/mlp/up", gate_up, {"from": "theirs", "part": [1, 2]})
    qkv = fused(model, 1)
    width = q.shape[3]
    for i, (name, letters) in enumerate((("q", "H"), ("k", "Hkv"), ("v", "Hkv"))):
        one(f"layers/1/attn/{name}", qkv, {
            "from": "theirs", "part": [i, 3],
            "axes": f"B T (H Dh + Hkv Dh + Hkv Dh) -> B {letters} T Dh"})
    one("layers/1/attn/k", qkv, {"from": "theirs", "axes": "B T (Hkv Dh) -> B Hkv T Dh",
                                 "range": [heads * width, (heads + groups) * width]})
    by_group = np.concatenate(
        [by_position(q).reshape(*q.shape[:1], q.shape[2], groups, copies * width), by_position(k),
         by_position(v)], axis=-1)  # [B,T,Hkv,(rep+2)*Dh]
    flat = by_group.reshape(*by_group.shape[:2], -1)
    one("layers/1/attn/v", flat, {"from": "theirs", "part": [2, 3],
                                  "axes": f"B T (Hkv ({copies} Dh + Dh + Dh)) -> B Hkv T Dh"})
    # Layers stacked; rotated pairs side by side; copies of the heads of keys and values.
    stack = np.stack([model.layer(l, "output") for l in range(model.layers)])
    compare(0, "verdict: pass", {"all": stack},
            {"layers/{l}/output": {"from": "all", "axes": "L B T D -> B T D"}}, "--require",
            "layers/*/output", "--only", "layers/*/output")
    hidden = np.stack([t["embed"]] + [model.layer(l, "output") for l in range(model.layers)])
    compare(0, "verdict: pass", {"all": hidden},
            {"layers/{l}/output": {"from": "all", "axes": "n B T D -> B T D", "at": {"n": "l+1"}}},
            "--require", "layers/*/output", "--only", "layers/*/output")
    pairs = np.stack([q[..., :width // 2], q[..., width // 2:]], axis=-1).reshape(q.shape)
    one("layers/1/attn/q", pairs, {"from": "theirs", "rotation": "interleaved"})
    one("layers/1/attn/q", joined(pairs), {"from": "theirs", "rotation": "interleaved",
                                           "axes": "B T (H Dh) -> B H T Dh"})
    one("layers/1/attn/q", pairs, {"from": "theirs",
                                   "axes": "B H T (half two) -> B H T (two half)"})
    one("layers/1/attn/q", pairs, "theirs", "FAIL /layers/1/attn/q", code=1)
    repeated = np.repeat(k, copies, axis=1)
    copied = {"from": "theirs", "axes": "B (Hkv copies) T Dh -> B Hkv T Dh"}
    one("layers/1/attn/k", repeated, copied, f"{copies} equal copies are one", "verdict: pass")
    repeated = repeated.copy()
    repeated[1, 1, 2, 3] += 1e-12
    one("layers/1/attn/k", repeated, copied,
        f"unusable: d.npz: layers/1/attn/k: {copies} copies of each element in theirs: expected "
        "all of them to be equal, got another one of element", code=1)
    # What is not judged is said.
    logits = t["logits"]
    padded = np.pad(logits, ((0, 0), (0, 0), (0, 6)), constant_values=7)
    one("logits", padded, {"from": "theirs", "axes": "B T V -> B T V", "cut": "V"},
        "map: logits: 6 of padding are cut off: not judged", "verdict: pass")
    last = {"from": "theirs", "last": True}
    said = f"map: logits: only position {model.positions - 1} is there: no other is judged"
    one("logits", logits[:, -1], last, said, "verdict: pass")
    one("logits", logits[:, -1:], last, said, "verdict: pass")
    wrong = logits[:, -1].copy()
    wrong[1, 7] += 1e-2
    one("logits", wrong, last, "FAIL /logits", code=1)
    scores = t["layers/1/attn/scores"]
    root = np.sqrt(width)
    scaled = np.where(np.isneginf(scores), -np.inf, scores * root)
    one("layers/1/attn/scores", scaled, {"from": "theirs", "factor": "1/sqrt(Dh)"},
        "map: layers/1/attn/scores: times 0.353553, rounded as the program would", "verdict: pass")
    one("layers/1/attn/scores", scores * 4, {"from": "theirs", "factor": 0.25}, "0.25, exact",
        "verdict: pass")
    future = np.where(np.isneginf(scores), 0.5, scores)
    one("layers/1/attn/scores", future, {"from": "theirs", "unmasked": True},
        "stands before the mask: what it excludes is not judged", "verdict: pass")
    one("layers/1/attn/scores", future, "theirs", "unmasked", code=1)
    for mask in (-1e4, -1e9, np.finfo(np.float32).min, np.finfo(np.float64).min):
        one("layers/1/attn/scores", np.where(np.isneginf(scores), mask, scores), "theirs")


def one_row(model):
    """A batch of one row may lack its axis."""
    q = model.tensors["layers/0/attn/q"]
    compare(0, "verdict: pass", {"q": joined(q)[0], "x": model.tensors["embed"][0]},
            {"layers/{l}/attn/q": {"from": "q", "axes": "T (H Dh) -> B H T Dh"},
             "embed": {"from": "x", "axes": "T D -> B T D"}},
            "--only", "layers/0/attn/q,embed", "--require", "all", golden="row.h5")
    three = np.stack([q[0]] * 3, axis=0)  # [3,H,T,Dh]
    compare(0, "verdict: pass", {"qkv": three.transpose(2, 0, 1, 3).reshape(q.shape[2], -1)},
            {"layers/{l}/attn/q": {"from": "qkv", "part": [2, 3],
                                   "axes": "T (three H Dh) -> B H T Dh"}},
            "--only", "layers/0/attn/q", "--require", "all", golden="row.h5")


def chosen(model):
    """Alternatives, names of one's own beside a map, and what is not selected is not read."""
    t = model.tensors
    compare(0, "84 checkpoints declared" if len(t) == 84 else "verdict: pass", dict(t),
            {"embed": ["nowhere", "embed"]}, "--require", "all")
    dump = {name: x for name, x in t.items() if name != "embed"}
    compare(0, "verdict: pass", {**dump, "second": t["embed"], "third": t["embed"]},
            {"embed": ["first", "second", "third"]}, "--require", "all", "--strict")
    compare(0, "map: embed stands in the dump too, and is not read: the map takes it from other",
            {**t, "other": t["embed"]}, {"embed": "other"}, "--require", "all")
    # A rule that does not fit is no error where its tensor is not judged.
    rules = {"embed": {"from": "other", "axes": "B D T -> B T D"}}
    compare(0, "verdict: pass", {**dump, "other": t["embed"]}, rules, "--only", "logits")
    compare(2, "map.json: embed: from other of d.npz: axes 'B D T -> B T D' of [2,8,32]: expected "
               "axis D of 32, got 8", {**dump, "other": t["embed"]}, rules)
    compare(1, "unusable", {"k": np.stack([t["layers/0/attn/k"], t["layers/1/attn/k"]])},
            {"layers/0/attn/k": {"from": "k", "axes": "n B Hkv T Dh -> B Hkv T Dh"}})
    # An exact name wins over a pattern, and a pattern that comes first over a later one.
    compare(0, "verdict: pass", {"a": t["layers/0/output"], "b1": t["layers/1/output"]},
            {"layers/{l}/output": "b{l}", "layers/0/output": "a"}, "--require",
            "layers/0/output,layers/1/output")


def hostile():
    """Everything that is no map: exit code 2 and what is wrong."""
    def bad(part, text):
        np.savez("d.npz", x=np.zeros((2, 8, 32)))
        expect(2, part, "compare", "llama.h5", "d.npz", "--map", write_map(text))

    bad("map.json: expected JSON", "{\"embed\"")
    bad("map.json: expected a JSON object, got array", "[]")
    bad("map.json: expected a name of ours, got an empty map", "{}")
    bad("map.json: expected each key once, got 'embed' twice", '{"embed": "x", "embed": "y"}')
    bad("at most 4 nested levels", '{"embed": ' * 1 + "[" * 2000 + "]" * 2000 + "}")
    bad("map.json: embedd: no tensor has such a name; near it is embed", {"embedd": "x"})
    bad("layers/{l}/attn/qq: no tensor has such a name; near it is layers/{l}/attn/q",
        {"layers/{l}/attn/qq": "x"})
    bad("expected {l}, got '{l/at'", {"layers/{l/attn/q": "x"})
    bad("expected {l}, got '{l+1}'", {"layers/{l+1}/output": "x"})
    bad("from: {l} stands in 'h.{l}' and not in our name", {"embed": "h.{l}"})
    bad("from: expected {l}, {l+1} or {l-1}, got '{l+2}'", {"layers/{l}/output": "h.{l+2}"})
    bad("from: expected a tensor's name, got ''", {"embed": ""})
    bad("embed: expected a name, or an object with \"from\", got number", {"embed": 7})
    bad("embed: expected a name, got an empty list", {"embed": []})
    bad("embed: key \"from\" is missing", {"embed": {"axes": "B T D -> B T D"}})
    bad("embed: axis: no such option; have from, axes, part", {"embed": {"from": "x", "axis": 1}})
    bad("part: expected [i, n] with 0 <= i < n <= 1024, got [3, 3]",
        {"embed": {"from": "x", "part": [3, 3]}})
    bad("part: expected two numbers, got 3", {"embed": {"from": "x", "part": [0, 1, 2]}})
    bad("part: expected a list of whole numbers", {"embed": {"from": "x", "part": "first"}})
    bad("expected part or range, got both",
        {"embed": {"from": "x", "part": [0, 2], "range": [0, 1]}})
    bad("rotation: expected half or interleaved, got odd",
        {"embed": {"from": "x", "rotation": "odd"}})
    bad("factor: expected a number that is not 0", {"embed": {"from": "x", "factor": "1/0"}})
    bad("factor: expected a number that is not 0", {"embed": {"from": "x", "factor": 0}})
    bad("factor: expected a number that is not 0", {"embed": {"from": "x", "factor": "__import__"}})
    bad("at: n: expected a whole number, or a letter of our name",
        {"embed": {"from": "x", "axes": "n B T D -> B T D", "at": {"n": "l"}}})
    bad("block: mamba: no such block; have llama, gpt2", {"embed": {"from": "x", "block": "mamba"}})

    def axes(said, text, **more):
        bad(said, {"embed": {"from": "x", "axes": text, **more}})

    axes("expected '->', got the end at column 6", "B T D")
    axes("expected an axis, '+' or ')', got '-'", "B (T D -> B T D")
    axes("expected ')', got the end", "B (T D")
    axes("expected the end, got ')'", "B T D -> B T D)")
    axes("expected an axis, got ')'", "B () T D -> B T D")
    axes("expected '->', got '['", "[B] T D -> B T D")
    axes("at most 4 nested groups", "(((((((((B))))))))) T D -> B T D")
    axes("at most 300 characters", "B " * 400 + "-> B T D")
    axes("a number of at most 9 digits, got '99999999999999999999'",
         "99999999999999999999 T D -> B T D")
    axes("expected '+' on the left only", "B T D -> B T (D + D)")
    axes("expected a tensor of 4 axes, got one of 3", "B T H Dh -> B T (H Dh)")
    axes("expected 3 axes on the right, those of [2,8,32], got 2", "B T D -> B (T D)")
    axes("expected axis (five D) to be a multiple of 32, got 8", "B (five D) T -> B T D")
    axes("expected axis (3 many) to be a multiple of 3, got 32", "B T (3 many) -> B T D")
    axes("expected an axis of at most 2^40, got more",
         "B T (999999999 999999999 D) -> B T D")
    axes("expected axes whose extents follow from both shapes", "B T (a b) -> B T (b a)")
    axes("expected each axis once on a side, got D twice on the left", "D D T -> T D 1")
    axes("expected names on the right, got 7", "B T D -> 7 T D")
    axes("expected axis 1 of 1, got 2", "1 T D -> B T D")
    axes("expected axis B of 2 on the left too, got it on the right only", "n T D -> B T D")
    axes("expected an index along n below 2, got 5", "n T D -> B T D", at={"n": 5})
    axes("expected axis B, of which one index is taken, on the left only, got both",
         "B T D -> B T D", at={"B": 1})
    axes("expected an axis z that \"at\" is of, got none on the left", "B T D -> B T D",
         at={"z": 1})
    axes("which term of the sum it is, got none", "B T (D + D) -> B T D")
    axes("as many as the sum has terms, got [0, 3]", "B T (D + D) -> B T D", part=[0, 3])
    axes("expected an axis F that \"cut\" is of, not in a group, got none", "B T D -> B T D",
         cut="F")
    bad("expected a range within [0, 32] of the last axis, got [16, 64]",
        {"embed": {"from": "x", "range": [16, 64]}})
    bad("expected a last axis of 5 equal parts, got 32", {"embed": {"from": "x", "part": [0, 5]}})
    expect(2, "map hf_lama: no such map; have hf_llama, hf_gpt2, transformer_lens, llm_c, maxtext",
           "compare", "llama.h5", "d.npz", "--map", "hf_lama")
    expect(2, "./none.json: ", "compare", "llama.h5", "d.npz", "--map", "./none.json")
    expect(2, "--map: expected with a dump or a program only, got reference", "verify", "llama.h5",
           "--subject", "reference", "--map", "hf_llama")
    expect(2, "1 of its rules do not fit d.npz", "map", "check",
           write_map({"embed": {"from": "x", "axes": "B D T -> B T D"}}), "llama.h5", "d.npz")


def parts(model):
    """What is there is judged; what is to be there is said."""
    t = model.tensors
    judged = ("compare", "llama.h5", "d.npz", "--precision", "fp64")
    count = len(t)

    def dump(names, **more):
        np.savez("d.npz", **{name: t[name] for name in names}, **more)

    dump(["logits"])
    expect(0, [f"verdict: pass: 1 of {count} checkpoints judged",
               f"not judged, for they were not handed over: {count - 1} (embed,layers/*/input,"],
           *judged)
    expect(1, [f"missing: d.npz: embed: missing: expected [2,8,32] (B,T,D)",
               f"missing: {count - 1 - 5} more"], *judged, "--require", "all")
    expect(1, "missing: d.npz: loss: missing", *judged, "--require", "loss")
    expect(0, "verdict: pass", *judged, "--require", "logits")
    expect(1, "missing: d.npz: layers/2/input: missing", *judged, "--require", "logits",
           "--require", "layers/2/*")
    expect(2, "--require nothing: no such tensor among those that are to be judged", *judged,
           "--require", "nothing")
    expect(2, "--require loss: no such tensor among those that are to be judged", *judged,
           "--only", "logits", "--require", "loss")
    expect(0, "verdict: pass\n", *judged, "--only", "logits", "--require", "all")
    wrong = t["logits"].copy()
    wrong[0, 0, 0] += 1e-2
    np.savez("d.npz", logits=wrong)
    expect(1, "FAIL /logits", *judged)
    # Nothing judged proves nothing.
    np.savez("d.npz", nothing=np.zeros(3))
    expect(3, ["verdict: inconclusive: 0 of", "nothing was judged", "assay map suggest",
               "extra, and not judged: 1 tensors that the golden file does not declare: nothing"],
           *judged)
    expect(1, "extra: d.npz: nothing: the golden file does not declare it", *judged, "--strict")
    expect(3, "verdict: inconclusive", *judged, "--equal")
    dump(["loss"])
    expect(3, "verdict: inconclusive", *judged, "--only", "logits")
    expect(3, "map hf_llama: 0 tensors are read through it", *judged, "--only", "logits", "--map",
           "hf_llama")
    # Extra tensors.
    dump(t, mine=np.zeros(3))
    expect(0, ["extra, and not judged: 1 tensors", "verdict: pass"], *judged, "--require", "all")
    expect(1, "extra: d.npz: mine", *judged, "--strict")
    # Ours in another spelling are a slip.
    dump([name for name in t if name != "layers/1/attn/q"],
         **{"layers.1.attn.q": t["layers/1/attn/q"]})
    expect(1, ["layers.1.attn.q: the golden file does not declare it; it declares "
               "layers/1/attn/q: rename it, or say so in a map", "assay map suggest"], *judged)
    dump([name for name in t if name != "layers/1/attn/q"],
         **{"Layers_1_Attn_Q": t["layers/1/attn/q"]})
    expect(1, "it declares layers/1/attn/q: rename it", *judged)
    # The judge's own subjects may lack nothing.
    dump(["embed"])
    expect(0, "1 of", *judged, "--equal")
    with open("report.json", "w", encoding="utf-8"):
        pass
    run(*judged, "--json", "report.json", "--force")
    with open("report.json", encoding="utf-8") as file:
        report = json.load(file)
    rows = {row["name"]: row["status"] for row in report["checkpoints"]}
    if report["part"] != f"1 of {count} checkpoints judged" or rows["embed"] == "skipped" or \
            rows["logits"] != "skipped":
        global failures
        failures += 1
        print(f"report.json: part {report['part']}, embed {rows['embed']}, logits {rows['logits']}")


RECORDER = r'''
import json, shutil, subprocess, sys
inner = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        folder = message["folder"]
    inner.stdin.write(line)
    inner.stdin.flush()
    answer = inner.stdout.readline()
    if not answer:
        break
    if message["type"] == "run" and not message.get("forced"):
        name = json.loads(answer)["file"]
        shutil.copy(folder + "/" + name, sys.argv[1] + "." + name.split(".")[-1])
    sys.stdout.write(answer)
    sys.stdout.flush()
inner.stdin.close()
inner.wait()
'''


def floats_of(golden):
    """What a right implementation in float32 computes."""
    with open("recorder.py", "w", encoding="utf-8") as file:
        file.write(RECORDER)
    example = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                           "../../examples/numpy_llama.py")
    words = [sys.executable, os.path.abspath("recorder.py"), os.path.abspath("f32"),
             sys.executable, os.path.abspath(example)]
    expect(0, "verdict: pass", "verify", golden, "--subject", "exec:" + " ".join(words))
    if os.path.exists("f32.npz"):
        return dict(np.load("f32.npz"))
    with open("f32.safetensors", "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[start:][slice(*entry["data_offsets"])], np.float32).reshape(
        entry["shape"]) for name, entry in header.items()}


def containers(model, floats):
    """The type of a container is not the precision."""
    t = model.tensors
    assert floats["logits"].dtype == np.float32

    def judged(tensors, code, *parts, precision="fp32", more=()):
        np.savez("d.npz", **tensors)
        expect(code, list(parts), "compare", "llama.h5", "d.npz", "--precision", precision, *more)

    judged(floats, 0, "verdict: pass")
    wide = {name: x.astype(np.float64) for name, x in floats.items()}
    judged(wide, 0, "verdict: pass",
           f"container: {len(t)} tensors stand as float64 as float32, which holds every value")
    mixed = {name: x if i % 2 else x.astype(np.float64)
             for i, (name, x) in enumerate(floats.items())}
    judged(mixed, 0, "verdict: pass", "tensors stand as float64 as float32")
    # One value that no float is.
    wide["logits"] = wide["logits"].copy()
    wide["logits"][1, 2, 3] = t["logits"][1, 2, 3]
    judged(wide, 1, "dtype: d.npz: logits: expected float32, got float64 with 1 of 1024 values "
                    "that float32 does not hold, first", "at (b1,t2,d3)",
           "judge what is computed in it with --precision fp64")
    judged(dict(t), 1, "final_norm: expected float32, got float64 with")
    judged(floats, 1, "embed: expected float64, got float32", precision="fp64")
    judged({**floats, "logits": np.zeros((2, 8, 64), np.int64)}, 1,
           "logits: expected float32, got int32; activations are floats: save them as such")
    # bf16 and fp16 in wider containers.
    for precision, to in (("bf16", to_bf16), ("fp16", lambda x: x.astype(np.float16).astype(
            np.float32))):
        narrow = {"embed": to(t["embed"].astype(np.float32))}
        kind = {"bf16": "bfloat16", "fp16": "float16"}[precision]
        judged({"embed": narrow["embed"]}, 0, f"1 tensors stand as float32 as {kind}",
               precision=precision)
        judged({"embed": narrow["embed"].astype(np.float64)}, 0,
               f"1 tensors stand as float64 as {kind}", precision=precision)
        judged({"layers/0/attn_norm": t["layers/0/attn_norm"]}, 1,
               "expected float32, got float64 with", precision=precision)
    wide16 = {"logits": t["logits"].astype(np.float16)}
    wide16["logits"][0, 0, 0] = np.inf
    judged(wide16, 1, "nonfinite: d.npz: logits: 1 of 1024 elements are NaN or infinite",
           precision="fp16")


def to_bf16(x):
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000
    return np.where(np.isfinite(x), rounded.astype(np.uint32).view(np.float32), x)


PROGRAM = r'''
import json, sys
import numpy as np
what = sys.argv[1]
stored = dict(np.load(sys.argv[2]))
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        folder = message["folder"]
        answer = {"name": "mine"}
        if what != "none":
            answer["map"] = json.loads(what)
    elif message["type"] == "run":
        name = f"answer-{message['id']}.npz"
        np.savez(folder + "/" + name, **stored)
        answer = {"id": message["id"], "file": name}
    else:
        break
    print(json.dumps(answer), flush=True)
'''


def programs(model):
    """A program may bring its map, and lack what it does not have."""
    with open("program.py", "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    t = model.tensors
    np.savez("held.npz", hidden=t["embed"], out=t["logits"])

    def judged(code, parts, with_map, *more):
        command = f"exec:/usr/bin/env {sys.executable} program.py '{with_map}' held.npz"
        expect(code, parts, "verify", "llama.h5", "--precision", "fp64", "--subject",
               command.replace("program.py", os.path.abspath("program.py")).replace(
                   "held.npz", os.path.abspath("held.npz")), *more)

    rules = json.dumps({"embed": "hidden", "logits": "out"})
    judged(0, ["mine: map: 2 tensors are read through it",
               f"verdict: pass: 2 of {len(t)} checkpoints judged"], rules)
    judged(1, "missing: ", rules, "--require", "all")
    judged(3, "nothing was judged", "none")
    judged(0, "verdict: pass: 2 of", "none", "--map", write_map(json.loads(rules)))
    judged(2, "mine: map: embd: no tensor has such a name", json.dumps({"embd": "x"}))
    judged(2, "map nobody: no such map", '"nobody"')
    judged(1, "extra", rules.replace("hidden", "nothing"), "--strict")


def shown():
    """What is there by name."""
    expect(0, ["hf_llama", "hf_gpt2", "transformer_lens", "llm_c", "maxtext"], "map", "list")
    for name in ("hf_llama", "hf_gpt2", "transformer_lens", "llm_c", "maxtext"):
        code, text = run("map", "show", name)
        if code != 0 or not json.loads(text):
            global failures
            failures += 1
            print(f"assay map show {name}: {code}: {text}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made = ("generate", "--preset", "tiny", "--method", "plain", "--seq", "8", "--out")
        for path, more in (("llama.h5", ("--batch", "2")), ("row.h5", ("--batch", "1")),
                           ("gpt2.h5", ("--batch", "2", "--block", "gpt2"))):
            expect(0, "", *made, path, *more)
        models = {"llama": Model("llama.h5"), "gpt2": Model("gpt2.h5")}
        shown()
        shipped(models)
        operations(models["llama"])
        one_row(Model("row.h5"))
        chosen(models["llama"])
        hostile()
        parts(models["llama"])
        containers(models["llama"], floats_of("llama.h5"))
        programs(models["llama"])
    print("maps_test: " + ("all as expected" if failures == 0 else f"{failures} failures"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
