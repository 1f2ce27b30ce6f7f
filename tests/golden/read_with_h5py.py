"""A golden file read with h5py holds what was written. Usage: read_with_h5py.py WRITE_SAMPLE

WRITE_SAMPLE makes the file of tests/golden/sample.h; its values are worked out again here, without
any code of Assay. Exits with 77 (skip) where h5py or numpy is missing.
"""

import json
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

EMBED = "/weights/model.embed_tokens.weight"
HIDDEN = 1.0 / np.arange(1, 321, dtype=np.float64).reshape(2, 5, 32)
SCORES = np.where(np.tril(np.ones((5, 5), bool)),
                  np.subtract.outer(np.arange(5.0), np.arange(5.0)) / 3.0, -np.inf)
SCORES[0, 0] = -0.0
EXPECTED = {
    "/inputs/tokens": np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]], np.int32),
    "/inputs/attention_mask": np.array([[1] * 5, [1, 1, 1, 0, 0]], np.uint8),
    "/forward/embed": HIDDEN,
    "/forward/loss": np.array(0.1),
    "/grad/embed": HIDDEN,
}
for layer in range(3):
    EXPECTED[f"/forward/layers/{layer}/attn/scores"] = SCORES
    EXPECTED[f"/forward/layers/{layer}/mlp_out"] = HIDDEN


def same(a, b):
    """Bit for bit, type and shape included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def philox(counter, key):
    """Philox4x32-10 of the words in counter [4][n]."""
    mask = np.uint64(0xFFFFFFFF)
    c = [np.asarray(word, np.uint64) for word in counter]
    k = [np.uint64(word) for word in key]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k[0], p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ k[1],
             p0 & mask]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    return c


def drawn_embedding(seed, shape):
    """The synthetic embedding of golden/contract/weights.h: uniform, standard deviation 1, rounded
    to bfloat16."""
    stream = 0xCBF29CE484222325
    for byte in b"model.embed_tokens.weight":
        stream = ((stream ^ byte) * 0x100000001B3) % 2**64
    count = int(np.prod(shape))
    block = np.arange((count + 3) // 4, dtype=np.uint64)
    zero = np.zeros_like(block)
    words = philox([block, zero, zero + np.uint64(stream % 2**32), zero + np.uint64(stream >> 32)],
                   [seed % 2**32, seed >> 32])
    words = np.stack(words, axis=1).reshape(-1)[:count].astype(np.float64)
    values = np.sqrt(3.0) * ((words + 0.5) * 2.0**-31 - 1.0)
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent).reshape(shape).astype(np.float32)


def check(condition, claim):
    if not condition:
        sys.exit(f"FAIL: {claim}")


def text(raw):
    return raw.decode() if isinstance(raw, bytes) else raw


def check_attributes(f, root, capture):
    a = f.attrs
    check(text(a["schema"]) == "assay-golden", "schema")
    check(a["schema_version"] == 1, "schema_version")
    check(a["seed"] == 7, "seed")
    check(text(a["capture"]) == capture, "capture")
    check(text(a["root_hash"]) == root, "root_hash is what finish() returned")
    check(json.loads(text(a["provenance"])) == {"host": "sample"}, "provenance")
    config = json.loads(text(a["config"]))
    check(config["hidden_size"] == 32 and config["num_hidden_layers"] == 3, "config")
    check(text(a["method"]) == config["assay"]["method"] == "plain", "method")


def check_row(row, stored, raw_file):
    """One row of the manifest against the values worked out here."""
    path = text(row["path"])
    expected = EXPECTED[path].astype(np.float64)
    finite = expected[np.isfinite(expected)]
    check(row["nonfinite"] == expected.size - finite.size, f"{path}: nonfinite")
    check(row["zero_share"] == np.mean(expected == 0), f"{path}: zero_share")
    check(row["min"] == finite.min() and row["max"] == finite.max(), f"{path}: min, max")
    check(np.isclose(row["rms"], np.sqrt(np.mean(finite**2)), rtol=1e-14), f"{path}: rms")
    check(tuple(row["shape"][: row["rank"]]) == EXPECTED[path].shape, f"{path}: shape")
    check(text(row["dtype"]) == str(EXPECTED[path].dtype), f"{path}: dtype")
    check(row["bytes"] == EXPECTED[path].nbytes, f"{path}: bytes")
    check(len(row["hash"]) == 32 and bytes.fromhex(text(row["hash"])), f"{path}: hash")
    check(row["stored"] == stored, f"{path}: stored")
    if stored:
        raw = raw_file[row["offset"] : row["offset"] + row["bytes"]]
        check(raw == EXPECTED[path].tobytes(), f"{path}: raw data at its offset")


def check_file(path, root, capture):
    with open(path, "rb") as f:
        raw_file = f.read()
    with h5py.File(path, "r") as f:
        check_attributes(f, root, capture)
        EXPECTED[EMBED] = drawn_embedding(7, (64, 32))
        manifest = f["manifest"][...]
        rows = {text(row["path"]): row for row in manifest}
        check(len(rows) == len(EXPECTED) + 3, "a row for each dataset")  # three more weights
        for name, values in EXPECTED.items():
            stored = capture == "full" or name.startswith("/inputs/")
            check((name in f) == stored, f"{name}: stored under capture {capture}")
            if stored:
                check(same(f[name][()] if values.shape else np.array(f[name][()]), values), name)
                check(f[name].chunks is None and f[name].compression is None, f"{name}: contiguous")
            check_row(rows[name], stored, raw_file)
    return {text(row["path"]): text(row["hash"]) for row in manifest}


def main():
    hashes = []
    with tempfile.TemporaryDirectory() as folder:
        for capture in ("full", "stats"):
            path = os.path.join(folder, f"{capture}.h5")
            written = subprocess.run([sys.argv[1], path, capture], check=True,
                                     stdout=subprocess.PIPE)
            hashes.append(check_file(path, written.stdout.decode().strip(), capture))
    check(hashes[0] == hashes[1], "hashes do not depend on the capture level")
    check(hashes[0]["/forward/embed"] == hashes[0]["/grad/embed"], "equal values have equal hashes")
    check(hashes[0]["/forward/embed"] != hashes[0]["/forward/loss"],
          "other values have other hashes")
    print(f"h5py {h5py.__version__}: {len(EXPECTED)} datasets equal bit for bit, statistics too")


main()
