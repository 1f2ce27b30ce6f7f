"""Maps: every operation, every shipped map right and with one defect, every error.

usage: maps_test.py ASSAY    Needs numpy and h5py; exit code 77 without them.
"""
import json
import os
import sys
import tempfile

try:
    import h5py
    import numpy as np

    assert h5py
except ImportError:
    print("skipped: no numpy or h5py")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from command import Command  # noqa: E402
from foreign_layouts import (LAYOUTS, Model, by_position, fused, joined,  # noqa: E402
                             write_map)

ASSAY = Command(sys.argv[1])
expect = ASSAY.expect


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
    compare(0, f"{len(t)} checkpoints declared", dict(t),
            {"embed": ["nowhere", "embed"]}, "--require", "all")
    dump = {name: x for name, x in t.items() if name != "embed"}
    compare(0, "verdict: pass", {**dump, "second": t["embed"], "third": t["embed"]},
            {"embed": ["first", "second", "third"]}, "--require", "all", "--strict")
    compare(0, "map: embed stands in the dump too, and is not read: the map takes it from other",
            {**t, "other": t["embed"]}, {"embed": "other"}, "--require", "all")
    # What a map names is not read by its own name, and a source that is not there is said.
    compare(0, ["map: logits stands in the dump too, and is not read: the map takes it from typo, "
                "which is not there", "the sources of 1 tensors are not in the dump, first typo of "
                "logits"], dict(t), {"logits": "typo"})
    compare(1, "logits: missing", dict(t), {"logits": "typo"}, "--require", "all")
    expect(0, "absent   logits  <- typo, which is not there", "map", "check", "map.json",
           "llama.h5", "d.npz")
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


def shown():
    """What is there by name."""
    expect(0, ["hf_llama", "hf_gpt2", "transformer_lens", "llm_c", "maxtext"], "map", "list")
    for name in ("hf_llama", "hf_gpt2", "transformer_lens", "llm_c", "maxtext"):
        code, text = ASSAY.run("map", "show", name)
        if code != 0 or not json.loads(text):
            ASSAY.fail(f"assay map show {name}: {code}: {text}")


def kept(model):
    """An output never replaces an input."""
    np.savez("d.npz", **model.tensors)
    path = write_map({"logits": "logits"})
    inputs = ("llama.h5", "d.npz", path)
    before = [open(name, "rb").read() for name in inputs]
    for name in inputs[:2]:
        expect(2, "is the input", "map", "suggest", "llama.h5", "d.npz", "--out", name, "--force")
    for option in ("--json", "--report", "--junit"):
        expect(2, "is the input", "compare", "llama.h5", "d.npz", "--precision", "fp64", "--map",
               path, option, path, "--force")
    if before != [open(name, "rb").read() for name in inputs]:
        ASSAY.fail("an input was replaced")


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
        kept(models["llama"])
        hostile()
    print("maps_test: " + (f"{ASSAY.failures} failures" if ASSAY.failures else "all as expected"))
    return 1 if ASSAY.failures else 0


if __name__ == "__main__":
    sys.exit(main())
