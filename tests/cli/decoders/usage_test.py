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
    for option in (["--axis", "nosuch=1"], ["--ignore", "x,nosuch"], ["--axis", "nosuch=none"]):
        expect(2, "nosuch: expected the name of a tensor that is handed over", *clean, *option)
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


def sums(rows, width, leaks=""):
    """[B,T,width]: of each position, what its tokens up to it add up to, and what they must not."""
    table = np.random.default_rng(5).standard_normal((family.VOCAB, width)).astype(np.float32)
    x = np.cumsum(table[rows], axis=1, dtype=np.float32)
    if leaks == "last feature":
        x[:, :-1, -1] += table[rows][:, 1:, -1]
    if leaks == "row 1":
        x[1, :-1] += table[rows][1, 1:]
    return x


def save_pair(a, b, make, of_b=None, tokens=True):
    for name, rows, of in (("a.npz", a, make), ("b.npz", b, of_b or make)):
        np.savez(name, **of(rows), **({"tokens": rows} if tokens else {}))


def drawn_pair(parts):
    """Rows of 16 tokens; row i differs from position parts[i] on."""
    draw = np.random.default_rng(7)
    a = draw.integers(0, family.VOCAB, (len(parts), 16)).astype(np.int32)
    b = a.copy()
    for row, part in enumerate(parts):
        b[row, part:] = (b[row, part:] + 1) % family.VOCAB
    return a, b


PAIR = ("file:a.npz", "file:b.npz")


def uncomparable():
    """What cannot be compared is named, not counted and no pass."""
    a, b = drawn_pair((9, 9))

    def wide(rows):
        return {"h": sums(rows, 8), "logits": sums(rows, 5)}

    def wider(rows):
        return {"h": sums(rows, 8), "logits": np.pad(sums(rows, 5) + 1, ((0, 0), (0, 0), (0, 2)))}

    save_pair(a, b, wide, wider)
    expect(3, "not compared: logits [2,16,5] and [2,16,7]: expected one shape", *PAIR)
    expect(3, "the past of 1 tensors is the same", *PAIR)
    expect(0, "verdict: pass", *PAIR, "--ignore", "logits")
    save_pair(a, b, wide, lambda rows: {k: x[:1] for k, x in wide(rows).items()})
    expect(3, "not compared: h [2,16,8] and [1,16,8]", *PAIR)
    expect(3, "not compared: h [1,16,8] and [2,16,8]", "file:b.npz", "file:a.npz")
    save_pair(a, b, wide, lambda rows: {**wide(rows), "extra": sums(rows, 3)})
    expect(3, "not compared: extra [2,16,3]: only in b.npz", *PAIR)
    expect(3, "not compared: extra [2,16,3]: only in b.npz", "file:b.npz", "file:a.npz")
    expect(0, "verdict: pass", *PAIR, "--axis", "extra=none")
    save_pair(a, b, lambda rows: {"h": sums(rows, 8), "logits": sums(rows, 5)[:, :-1]})
    expect(3, "not compared: logits [2,15,5]: no axis with the positions", *PAIR)
    expect(0, "verdict: pass", *PAIR, "--axis", "logits=1:0")
    save_pair(a, b, lambda rows: {"h": sums(rows, 8), "logits": sums(rows, 5, "row 1")[:, :-1]})
    expect(1, "leak at logits", *PAIR, "--axis", "logits=1:0")
    save_pair(a, b, lambda rows: {"h": sums(rows, 8), "table": np.ones((4, 3), np.float32)})
    expect(0, "not judged: table [4,3]: no axis with the positions", *PAIR)
    for option in (["--axis", "nosuch=1"], ["--ignore", "h,nosuch"]):
        expect(2, "nosuch: expected the name of a tensor that is handed over", *PAIR, *option)


def ambiguous():
    """Where shapes allow several readings, all are tried."""
    a, b = drawn_pair((9, 9))
    for rows_a, rows_b, axis in ((a, b, 1), (a[:1], b[:1], 0)):
        def cut(x, axis=axis):
            return x if axis else x[0]
        save_pair(rows_a, rows_b, lambda rows: {"h": cut(sums(rows, 16))})
        expect(0, "verdict: pass", *PAIR)
        save_pair(rows_a, rows_b, lambda rows: {"h": cut(sums(rows, 16, "last feature"))})
        expect(3, f"--axis h={axis}", *PAIR)
        expect(1, "leak at h", *PAIR, "--axis", f"h={axis}")
    save_pair(a, b, lambda rows: {"h": sums(rows, 16, "row 1")})
    expect(1, "leak at h", *PAIR)
    save_pair(a, b, lambda rows: {"h": sums(rows, 16, "row 1").swapaxes(1, 2)})
    expect(1, "leak at h", *PAIR)

    def scores(rows):  # that nothing has masked
        return {"scores": np.einsum("btd,bsd->bts", sums(rows, 4), sums(rows, 4))}

    save_pair(a, b, scores)
    expect(3, "--axis scores=1,2", *PAIR)
    expect(0, "verdict: pass", *PAIR, "--axis", "scores=1,2")
    longer = np.concatenate([a, a], axis=1)
    for leaks, code, found in (("", 0, "verdict: pass"), ("row 1", 1, "leak at h")):
        for flat in (lambda x: x, lambda x: x.swapaxes(0, 1)):
            def make(rows, leaks=leaks, flat=flat):
                x = flat(sums(rows, 5, leaks))
                return {"h": x.reshape(-1, x.shape[-1])}
            for other in (b, longer):
                save_pair(a, other, make)
                expect(code, found, *PAIR)
    # Rows that part at other positions, on any axis.
    a, b = drawn_pair((5, 9))
    for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)):
        save_pair(a, b, lambda rows, order=order: {"h": sums(rows, 5).transpose(order)})
        expect(0, "verdict: pass", *PAIR)
        save_pair(a, b, lambda rows, order=order: {"h": sums(rows, 5, "row 1").transpose(order)})
        expect(1, "leak at h: row 1, position 8", *PAIR)
    save_pair(a, b, lambda rows: {"h": np.stack([sums(rows, 5), sums(rows, 5) * 2])})
    expect(0, "verdict: pass", *PAIR)


def types():
    """Two types meet at the rounding of the coarser one; what is allowed is said."""
    a, b = drawn_pair((9, 9))

    def half(rows, leaks=""):
        return {"h": sums(rows, 8, leaks).astype(np.float16)}

    def double(rows):
        return {"h": sums(rows, 8).astype(np.float64)}

    save_pair(a, b, lambda rows: {"h": sums(rows, 8)}, half)
    expect(0, "h [B,T,8]: float32 and float16, both rounded to fp16", *PAIR)
    expect(0, "both rounded to fp16", "file:b.npz", "file:a.npz")
    save_pair(a, b, double, lambda rows: {"h": sums(rows, 8)})
    expect(0, "both rounded to fp32", *PAIR)
    save_pair(a, b, lambda rows: {"h": sums(rows, 8, "row 1")}, lambda rows: half(rows, "row 1"))
    expect(1, "leak at h: row 1, position 8", *PAIR)
    save_pair(a, b, lambda rows: {"h": sums(rows, 8)},
              lambda rows: {"h": (sums(rows, 8) * np.float32(1.003)).astype(np.float16)})
    expect(3, "rounding in fp16 (as it says) brings up to 0.016", *PAIR)
    longer = np.concatenate([a, a], axis=1)
    save_pair(a, longer, lambda rows: {"h": sums(rows, 8)},
              lambda rows: {"h": sums(rows, 8) * np.float32(1.003)})
    expect(3, "brings up to 6.1e-05, in bf16 that no tensor shows 0.062", *PAIR)


def main():
    with tempfile.TemporaryDirectory(prefix="assay-leaks-") as folder:
        os.chdir(folder)
        options()
        reports()
        once()
        pairs()
        uncomparable()
        ambiguous()
        types()
        os.chdir("/")
    print("options, reports, programs without a loop and pairs of dumps: as expected")


main()
