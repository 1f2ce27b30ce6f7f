"""assay map suggest, on dumps in the layouts of the shipped maps whose names say nothing.

A line is right if the values that it reads are those of our tensor: a dump may hold some twice.
usage: map_suggest_test.py ASSAY    Needs numpy and h5py; exit code 77 without them.
"""
import json
import os
import random
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
from foreign_layouts import LAYOUTS, Model, by_position, fused, joined  # noqa: E402

ASSAY = Command(sys.argv[1])
LEAST_RIGHT = 0.95


def rounded(dump, dtype, rng):
    """As a right implementation in the type has them: some errors, then its numbers."""
    if dtype == "float64":
        return dump
    unit = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    result = {}
    for name, x in dump.items():
        noise = 1 + unit * rng.standard_normal(x.shape)
        y = (x * noise).astype(np.float16 if dtype == "float16" else np.float32)
        if dtype == "bfloat16":
            bits = y.view(np.uint32)
            y = np.where(np.isfinite(y), (bits + 0x8000 & 0xffff0000).view(np.float32), y)
        result[name] = y
    return result


def renamed(dump, sources, seed):
    """Other names in another order, which say nothing."""
    order = list(dump)
    random.Random(seed).shuffle(order)
    names = {theirs: f"tensor_{i:04d}" for i, theirs in enumerate(order)}
    return ({names[theirs]: dump[theirs] for theirs in order},
            {ours: [names[theirs] for theirs in all_of] for ours, all_of in sources.items()})


def rule_for(rules, ours):
    """The rule of one of our names, and its source."""
    for pattern, rule in rules.items():
        parts, name = pattern.split("/"), ours.split("/")
        if len(parts) != len(name) or not all(
                a == b or (a == "{l}" and b.isdigit()) for a, b in zip(parts, name)):
            continue
        rule = rule if isinstance(rule, dict) else {"from": rule}
        layer = int(name[1]) if ours.startswith("layers/") else 0
        source = rule["from"]
        for added, text in ((0, "{l}"), (1, "{l+1}"), (-1, "{l-1}")):
            source = source.replace(text, str(layer + added))
        return source, rule
    return None, None


def judge(golden, dump, sources, title, least=LEAST_RIGHT):
    """The share of the dump's tensors that a suggested map reads from where they are."""
    np.savez("s.npz", **dump)
    code, said = ASSAY.run("map", "suggest", golden, "s.npz", "--out", "s.json", "--force")
    if code != 0:
        print(f"{title}: exit code {code}: {said}")
        return False
    with open("s.json", encoding="utf-8") as file:
        rules = json.load(file)
    model = Model(golden)
    wrong = []
    lines = 0
    for ours, theirs in sources.items():
        source, _ = rule_for(rules, ours)
        lines += 1
        if source in theirs:
            continue
        # Another tensor that holds the same values.
        twins = [name for name, all_of in sources.items() if source in all_of and
                 name in model.tensors and np.array_equal(model.tensors[name], model.tensors[ours])]
        if not twins:
            wrong.append(f"{ours} from {source} and not {theirs}")
    # Tensors that the dump does not have are found in none of it, but in equal ones.
    for name, values in model.tensors.items():
        source, _ = rule_for(rules, name)
        if name in sources or source is None:
            continue
        twins = [other for other in sources if np.array_equal(model.tensors[other], values)]
        lines += 1
        if not any(source in sources[other] for other in twins):
            wrong.append(f"{name} from {source}, and it is not there")
    right = 1 - len(wrong) / lines
    print(f"{title:<44} {lines - len(wrong)} of {lines} lines right")
    if right >= least:
        return True
    print("\n".join(wrong[:20]))
    print(done.stdout)
    return False


def compare(golden, precision, part):
    arguments = ["compare", golden, "s.npz", "--precision", precision, "--map", "s.json"]
    code, said = ASSAY.run(*arguments)
    if code == 0 and part in said:
        return True
    print(f"compare by the suggested map: {code}: {said}")
    return False


def odd_layout(m):
    """Everything that the shipped maps do not have."""
    dump, sources = {}, {}

    def keep(theirs, value, *ours):
        dump[theirs] = value
        for name in ours:
            sources.setdefault(name, []).append(theirs)

    copies = m.heads // m.groups
    for l in range(m.layers):
        ours = f"layers/{l}/"
        q, k, v = (m.layer(l, f"attn/{name}") for name in "qkv")
        half = q.shape[-1] // 2
        pairs = lambda x: np.stack([x[..., :half], x[..., half:]], axis=-1).reshape(x.shape)
        if l == 0:
            keep(f"{l}.q", joined(pairs(q)), ours + "attn/q")
            keep(f"{l}.k", pairs(k), ours + "attn/k")
            keep(f"{l}.v", np.repeat(v, copies, axis=1), ours + "attn/v")
        elif l == 1:
            keep(f"{l}.qkv", fused(m, l), ours + "attn/q", ours + "attn/k", ours + "attn/v")
        else:
            keep(f"{l}.k", by_position(np.repeat(k, copies, axis=1)), ours + "attn/k")
        scores = m.layer(l, "attn/scores")
        if l == 0:
            scores = np.where(np.isneginf(scores), -1e9, scores * np.sqrt(2 * half))
        elif l == 1:
            scores = np.where(np.isneginf(scores), 0, scores)
        else:
            scores = np.where(np.isneginf(scores), np.finfo(np.float32).min, scores)
        keep(f"{l}.s", scores, ours + "attn/scores")
        keep(f"{l}.p", m.layer(l, "attn/probs").transpose(1, 0, 2, 3), ours + "attn/probs")
        keep(f"{l}.gate_up", np.concatenate([m.layer(l, "mlp/gate"), m.layer(l, "mlp/up")], -1),
             ours + "mlp/gate", ours + "mlp/up")
        keep(f"{l}.o", m.layer(l, "output").reshape(-1, m.layer(l, "output").shape[-1]),
             ours + "output")
        keep(f"{l}.c", m.layer(l, "attn/context"), ours + "attn/context")
    logits = m.tensors["logits"]
    keep("l", np.pad(logits, ((0, 0), (0, 0), (0, 37))), "logits")
    return dump, sources


def last_token(m):
    return ({"x": m.tensors["logits"][:, -1], "e": m.tensors["embed"]},
            {"logits": ["x"], "embed": ["e"]})


def main():
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made = ("generate", "--preset", "tiny", "--method", "plain", "--seq", "11", "--out")
        for path, more in (("llama.h5", ("--batch", "2")), ("row.h5", ("--batch", "1")),
                           ("gpt2.h5", ("--batch", "2", "--block", "gpt2"))):
            ASSAY.expect(0, "", *made, path, *more)
        ASSAY.expect(0, "", *made, "hash.h5", "--batch", "2", "--capture", "hash")
        good = True
        for title, (layout, block) in LAYOUTS.items():
            golden = f"{block}.h5"
            for dtype in ("float64", "float32", "float16", "bfloat16"):
                dump, sources = layout(Model(golden))
                dump, sources = renamed(rounded(dump, dtype, rng), sources, 3)
                good &= judge(golden, dump, sources, f"{title}, {dtype}")
                if dtype == "float64":
                    good &= compare(golden, "fp64", "verdict: pass")
        for dtype in ("float64", "float32", "bfloat16"):
            dump, sources = odd_layout(Model("llama.h5"))
            dump, sources = renamed(rounded(dump, dtype, rng), sources, 5)
            good &= judge("llama.h5", dump, sources, f"odd layouts, {dtype}", 1.0)
            if dtype == "float64":
                good &= compare("llama.h5", "fp64", "verdict: pass")
        dump, sources = last_token(Model("llama.h5"))
        good &= judge("llama.h5", dump, sources, "last token", 1.0)
        good &= compare("llama.h5", "fp64", "only position 10 is there")
        whole = Model("llama.h5").tensors
        good &= judge("llama.h5", whole, {name: [name] for name in whole}, "our own names", 1.0)
        # A golden file that holds hashes alone gives the same; names of its own are found.
        said = [ASSAY.run("map", "suggest", golden, "s.npz")[1]
                for golden in ("llama.h5", "hash.h5")]
        if said[0] != said[1]:
            good = False
            print(f"of hashes alone: {said[1]}, and not {said[0]}")
        one = Model("row.h5")
        dump = {name: x[0] if x.ndim > 2 and not name.endswith("probs") else x
                for name, x in one.tensors.items()}
        good &= judge("row.h5", *renamed(dump, {name: [name] for name in dump}, 9),
                      "no batch axis", 1.0)
        # What is there and matches nothing.
        np.savez("s.npz", x=rng.standard_normal((2, 11, 32)))
        ASSAY.expect(3, "no tensor of the dump holds the values", "map", "suggest", "llama.h5",
                     "s.npz")
    return 0 if good and ASSAY.failures == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
