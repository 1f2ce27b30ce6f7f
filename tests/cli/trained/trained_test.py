"""The trained checkpoints of datasets/trained.

usage: trained_test.py ASSAY SOURCE files|verdicts

files: each is what its entry in trained.json says (hashes, parameters), the list is complete, and
the loss on new tokens is near the one recorded and far below that of guessing.
verdicts: with each one's weights the engine on the host passes the judge, gradients as well.
"""

import hashlib
import json
import math
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from command import Command  # noqa: E402

SOURCE = pathlib.Path(sys.argv[2])
FOLDER = SOURCE / "datasets" / "trained"
sys.path.insert(0, str(SOURCE / "scripts"))
import trained  # noqa: E402  (the script that makes them)

MOST_BYTES = 2_000_000
OTHER_SEED = 4242
# In bf16 as well: a method of each family, on both blocks.
IN_BF16 = {f"{block}/{method}" for block in ("llama", "gpt2")
           for method in ("plain", "1", "2", "3.2", "4.2", "5.1", "5.6", "5.1A", "5.1E")}
IN_BF16 |= {"pt/mlm", "pt/causal"}

# Nobody reads what the last layer of plan A attends to: its weights are as training began, gains 1
# and biases 0, by which the judge cannot tell whether they were used.
UNTRUSTED = {"llama/1-plan-a", "gpt2/1-plan-a"}


def entries():
    document = json.loads((FOLDER / "trained.json").read_text())
    return document, document["checkpoints"]


def weights_in(path):
    """How many numbers a file of safetensors holds, and of which types."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    count = sum(math.prod(entry["shape"]) for entry in header.values())
    return count, {entry["dtype"] for entry in header.values()}


def check_list(assay, listed):
    made = {name: options for name, _, options in trained.checkpoints_of(assay.path)}
    if set(made) != set(listed):
        assay.fail(f"expected a checkpoint of every method: {sorted(set(made) ^ set(listed))}")
    there = {str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("config.json")}
    if there != set(listed):
        assay.fail(f"folders and trained.json differ: {sorted(there ^ set(listed))}")
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        assay.fail(f"expected at most {MOST_BYTES} bytes, got {size}")


def check_entry(assay, name, entry, work):
    folder = FOLDER / name
    for file, expected in entry["sha256"].items():
        got = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        if got != expected:
            assay.fail(f"{name}/{file}: expected sha256 {expected}, got {got}")
    count, types = weights_in(folder / "model.safetensors")
    if types != {"F32"} or count != entry["parameters"]:
        assay.fail(f"{name}: expected {entry['parameters']} numbers in F32, got {count}, {types}")
    config = json.loads((folder / "config.json").read_text())
    block, method = name.split("/")
    own = config.get("assay", {})
    expected = {"pt": "pt"}.get(block, method)
    model = "gpt2" if block == "gpt2" else "llama"
    if own.get("method", "plain") != expected or config.get("model_type", "llama") != model:
        assay.fail(f"{name}: expected method {expected}, got {config}")
    if block == "pt" and own["pt"]["output"] != method:
        assay.fail(f"{name}: expected output {method}, got {own}")
    loss, error = trained.fresh_loss(assay.path, folder, entry["source"], work, OTHER_SEED)
    off = abs(loss - entry["fresh_loss"])
    if not off <= 5 * math.hypot(error, entry["standard_error"]):
        assay.fail(f"{name}: expected a loss near {entry['fresh_loss']}, got {loss} +- {error}")
    if not loss < math.log(8) - 0.3:
        assay.fail(f"{name}: expected a loss far below log 8 = {math.log(8):.4f}, got {loss}")


def verify(assay, name, entry, work):
    tokens, golden = str(work / "tokens.npz"), str(work / "golden.h5")
    assay.expect(0, "commitment", "data", entry["source"], "--set", "fresh", "--rows", "2", "--seq",
                 "13", "--seed", str(OTHER_SEED), "--out", tokens, "--force")
    assay.expect(0, "loss", "generate", "--weights", str(FOLDER / name), "--tokens", tokens,
                 "--batch", "2", "--seq", "13", "--grad", "--out", golden, "--force")
    for precision in ["fp32"] + ["bf16"] * (name in IN_BF16):
        code, verdict = (3, "untrusted") if name in UNTRUSTED else (0, "pass")
        assay.expect(code, f"verdict: {verdict}", "verify", golden, "--subject", "simt",
                     "--precision", precision)


def main():
    assay = Command(sys.argv[1])
    document, listed = entries()
    if sys.argv[3] == "files":
        check_list(assay, listed)
    else:
        unknown = IN_BF16 - set(listed)
        if unknown:
            assay.fail(f"no such checkpoints: {sorted(unknown)}")
    with tempfile.TemporaryDirectory() as work:
        for name, entry in sorted(listed.items()):
            check = check_entry if sys.argv[3] == "files" else verify
            check(assay, name, entry, pathlib.Path(work))
    print(f"trained_test {sys.argv[3]}: {len(listed)} checkpoints of {document['version']}, "
          f"{assay.failures} failures")
    return 1 if assay.failures else 0


if __name__ == "__main__":
    sys.exit(main())
