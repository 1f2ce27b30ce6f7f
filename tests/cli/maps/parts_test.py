"""Dumps and programs that have a part of the tensors, or have them in a wider container.

usage: parts_test.py ASSAY    Needs numpy and h5py; exit code 77 without them.
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
EXAMPLES = os.path.join(HERE, "../../../examples")
sys.path[:0] = [HERE, os.path.dirname(HERE), EXAMPLES]
import assay_subject  # noqa: E402
from command import Command  # noqa: E402
from foreign_layouts import Model, write_map  # noqa: E402

ASSAY = Command(sys.argv[1])
expect = ASSAY.expect


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
    dump([name for name in t if name != "layers/1/attn/q"],
         **{"layers/1/atn/q": t["layers/1/attn/q"]})
    expect(0, "layers/1/atn/q: is it layers/1/attn/q, which was not handed over?", *judged)
    # Ours in another spelling are a slip.
    dump([name for name in t if name != "layers/1/attn/q"],
         **{"layers.1.attn.q": t["layers/1/attn/q"]})
    expect(1, ["layers.1.attn.q: the golden file does not declare it; it declares "
               "layers/1/attn/q: rename it, or say so in a map", "assay map suggest"], *judged)
    dump([name for name in t if name != "layers/1/attn/q"],
         **{"Layers_1_Attn_Q": t["layers/1/attn/q"]})
    expect(1, "it declares layers/1/attn/q: rename it", *judged)
    # By equality likewise.
    dump(["embed"])
    expect(0, f"1 of {count} checkpoints judged", *judged, "--equal")
    with open("report.json", "w", encoding="utf-8"):
        pass
    ASSAY.run(*judged, "--json", "report.json", "--force")
    with open("report.json", encoding="utf-8") as file:
        report = json.load(file)
    rows = {row["name"]: row["status"] for row in report["checkpoints"]}
    if report["part"] != f"1 of {count} checkpoints judged" or rows["embed"] == "skipped" or \
            rows["logits"] != "skipped":
        ASSAY.fail(f"report.json: part {report['part']}, embed {rows['embed']}, "
                   f"logits {rows['logits']}")


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
    example = os.path.join(EXAMPLES, "numpy_llama.py")
    words = [sys.executable, os.path.abspath("recorder.py"), os.path.abspath("f32"),
             sys.executable, example]
    expect(0, "verdict: pass", "verify", golden, "--subject", "exec:" + " ".join(words))
    return assay_subject.read_safetensors("f32.safetensors")


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
    judged(1, "extra: ", rules.replace("hidden", "nothing"), "--strict")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        expect(0, "", "generate", "--preset", "tiny", "--method", "plain", "--seq", "8", "--batch",
               "2", "--out", "llama.h5")
        model = Model("llama.h5")
        parts(model)
        containers(model, floats_of("llama.h5"))
        programs(model)
    print("parts_test: " + (f"{ASSAY.failures} failures" if ASSAY.failures else "all as expected"))
    return 1 if ASSAY.failures else 0


if __name__ == "__main__":
    sys.exit(main())
