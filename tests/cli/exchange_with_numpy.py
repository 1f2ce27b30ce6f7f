"""Exchange files mean the same here and in numpy. Usage: exchange_with_numpy.py ASSAY

What `assay export` writes holds the golden file's values, bit for bit, as h5py reads them; what
numpy saves, `assay compare` judges. Exits with 77 (skip) where h5py or numpy is missing.
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
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

DTYPES = {"F64": "<f8", "F32": "<f4", "I32": "<i4", "U8": "|u1"}


def check(condition, claim):
    if not condition:
        sys.exit(f"FAIL: {claim}")


def assay(*arguments):
    """Exit code and output."""
    done = subprocess.run([sys.argv[1], *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode()


def run(*arguments):
    code, output = assay(*arguments)
    check(code == 0, f"assay {' '.join(arguments)} succeeds: {output}")


def golden_tensors(path):
    tensors = {}
    with h5py.File(path, "r") as f:
        f.visititems(lambda name, item: tensors.update({name: np.array(item[()])})
                     if isinstance(item, h5py.Dataset) and name != "manifest" else None)
    return tensors


def read_safetensors(path):
    """The format read from its description, without any library."""
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(length)), f.read()
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end],
                                      DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def same(a, b):
    """Bit for bit, type and shape included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def check_equal(found, due, what):
    check(set(found) == set(due), f"{what} has every tensor of the golden file and no other")
    for name, values in due.items():
        check(same(found[name], values), f"{what}: {name}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        run("generate", "--method", "1", "--seq", "9", "--out", at("g.h5"))
        due = golden_tensors(at("g.h5"))

        run("export", at("g.h5"), "--to", at("t.npz"))
        with np.load(at("t.npz"), allow_pickle=False) as found:
            check_equal({name: found[name] for name in found.files}, due, ".npz")
        run("export", at("g.h5"), "--to", at("t.safetensors"))
        found, metadata = read_safetensors(at("t.safetensors"))
        check_equal(found, due, ".safetensors")
        check(metadata["seed"] == "1", ".safetensors says the seed")

        forward = {name[len("forward/"):]: values for name, values in due.items()
                   if name.startswith("forward/")}
        fortran = {name: np.array(values, order="F") for name, values in forward.items()}
        wrong = dict(forward)
        wrong["layers/1/attn/k"] = np.ascontiguousarray(wrong["layers/1/attn/k"].swapaxes(2, 3)
                                                        ).reshape(wrong["layers/1/attn/k"].shape)
        for save, name in ((np.savez, "stored"), (np.savez_compressed, "deflated")):
            save(at("c.npz"), **forward)
            code, output = assay("compare", at("g.h5"), at("c.npz"), "--precision", "fp64")
            check(code == 0, f"{name} golden values pass: {output}")
            save(at("c.npz"), **fortran)
            code, output = assay("compare", at("g.h5"), at("c.npz"), "--precision", "fp64")
            check(code == 0, f"{name} golden values in Fortran order pass: {output}")
            save(at("c.npz"), **wrong)
            code, output = assay("compare", at("g.h5"), at("c.npz"), "--precision", "fp64")
            check(code == 1 and "layers/1/attn/k" in output, f"{name} wrong values fail: {output}")
        narrow = {name: values.astype(np.float32) for name, values in forward.items()}
        np.savez(at("c.npz"), **narrow)
        code, output = assay("compare", at("g.h5"), at("c.npz"), "--precision", "fp32")
        # Rounded golden values are near enough, though no computation in float32 gives them.
        check(code in (0, 3) and " 0 of 75 checkpoints outside" in output,
              f"golden values as float32 are within bounds: {output}")
        np.savez(at("c.npz"), logits=np.array([{"a": 1}], dtype=object))
        code, output = assay("compare", at("g.h5"), at("c.npz"))
        check(code == 2 and "dtype: expected" in output, f"a pickle is refused: {output}")
        print(f"numpy {np.__version__}: {len(due)} tensors equal bit for bit, {len(forward)} "
              "compared")


main()
