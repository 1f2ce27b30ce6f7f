"""Dumps as other people write them: what stands beside the tensors is not in the way, and what is
wrong has a hint.

usage: dumps_test.py ASSAY    Needs numpy and h5py; exit code 77 without them.
"""
import json
import os
import shutil
import struct
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError:
    print("skipped: no numpy or h5py")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from command import Command  # noqa: E402

ASSAY = Command(sys.argv[1])
expect = ASSAY.expect


def tensors_of(golden):
    with h5py.File(golden) as file:
        found = {}
        file["forward"].visititems(
            lambda name, item: found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset)
            else None)
        return found


def write_hdf5(path, tensors, more=lambda file: None):
    with h5py.File(path, "w") as file:
        for name, value in tensors.items():
            file[name] = value
        more(file)


def write_safetensors(path, tensors, others=()):
    header, data = {}, b""
    for name, value in tensors.items():
        raw = np.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": "F64", "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    for name, dtype, raw in others:
        header[name] = {"dtype": dtype, "shape": [len(raw)],
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def beside_the_tensors(tensors):
    """Members that are no tensors: in the way only if they are asked for."""
    judged = ("compare", "g.h5", "--precision", "fp64")

    def notes(file):
        file["notes"] = "made by hand"
        file["names"] = np.array(["a", "b"], dtype=h5py.string_dtype())
        file["flags"] = np.array([True, False])
        file["ids"] = np.arange(5)
        file["dangling"] = h5py.SoftLink("/nowhere")

    write_hdf5("d.h5", tensors, notes)
    np.savez("d.npz", **tensors, notes=np.array("made by hand"),
             objects=np.array([{}, None], dtype=object),
             flags=np.array([True]), ids=np.arange(5, dtype=np.uint16))
    write_safetensors("d.safetensors", tensors, [("scaled", "F8_E4M3", b"abcd")])
    for path, others in (("d.h5", "notes,names,flags,ids"), ("d.npz", "notes,flags,ids,objects"),
                         ("d.safetensors", "scaled")):
        expect(0, "verdict: pass", *judged, path, "--only", "layers/*,embed", "--only", "logits")
        expect(0, "extra, and not judged: ", *judged, path)
        expect(1, "extra: ", *judged, path, "--strict")
        expect(0, "verdict: pass", *judged, path, "--strict", "--leave-out", others)

    # Asked for, they are refused by name.
    bad = dict(tensors)
    bad.pop("embed")
    link = h5py.ExternalLink("g.h5", "/forward/embed")
    write_hdf5("bad.h5", bad, lambda file: file.__setitem__("embed", link))
    expect(2, "bad.h5: /embed: a link into another file", *judged, "bad.h5")
    # One that is not asked for is not followed, through a soft link neither.
    def elsewhere(file):
        file["optimizer"] = h5py.ExternalLink("nowhere.h5", "/x")
        file["copy"] = h5py.ExternalLink("g.h5", "/forward/embed")
        file["soft"] = h5py.SoftLink("/copy")

    write_hdf5("elsewhere.h5", tensors, elsewhere)
    expect(0, "verdict: pass", *judged, "elsewhere.h5", "--leave-out", "optimizer,copy")
    expect(0, "verdict: pass", *judged, "elsewhere.h5", "--only", "layers/*")
    np.savez("bad.npz", **bad, embed=np.array([{}], dtype=object))
    expect(2, "bad.npz: embed.npy: dtype: expected one of", *judged, "bad.npz")
    write_safetensors("bad.safetensors", bad, [("embed", "F8_E4M3", b"abcd")])
    expect(2, "8-bit floats are not read: convert the tensor to bfloat16", *judged,
           "bad.safetensors")

    # A soft link is the dataset that it leads to.
    def linked(file):
        file["raw/embedding"] = tensors["embed"]
        file["embed"] = h5py.SoftLink("/raw/embedding")

    write_hdf5("linked.h5", bad, linked)
    expect(0, "verdict: pass", *judged, "linked.h5", "--leave-out", "raw/*")


def hints(tensors):
    """What a wrong shape or name looks like."""

    def judged(part, name, value, *more):
        changed = dict(tensors)
        del changed[name]
        changed[more[0] if more else name] = value
        np.savez("h.npz", **changed)
        expect(1, part, "compare", "g.h5", "h.npz", "--precision", "fp64", "--require", "all")

    hidden, key, loss = tensors["embed"], tensors["layers/1/attn/k"], tensors["loss"]
    batch, positions, width = hidden.shape
    judged("looks like (B*T,D), two axes joined", "embed", hidden.reshape(batch * positions, width))
    judged("looks like (T,D), one row of the batch", "embed", hidden[0])
    judged("looks like key/value heads repeated 2 times", "layers/1/attn/k",
           np.repeat(key, 2, axis=1))
    judged("looks like a vocabulary padded to 70; cut it to 64", "logits",
           np.pad(tensors["logits"], ((0, 0), (0, 0), (0, 6))))
    judged("loss: expected [] (a scalar), got [1]", "loss", loss.reshape(1))
    judged("an axis of 1 too many; squeeze it", "loss", loss.reshape(1))
    judged("layers.1.attn.k: the golden file does not declare it; it declares layers/1/attn/k: "
           "rename it", "layers/1/attn/k", key, "layers.1.attn.k")
    judged("it declares layers/1/attn/k: rename it", "layers/1/attn/k", key,
           "_orig_mod.model.layers.1.attn.k")

    # As many heads as positions: only the values tell.
    query = tensors["layers/1/attn/q"]
    assert query.shape[1] == query.shape[2], query.shape
    judged("heads and positions exchanged", "layers/1/attn/q", np.swapaxes(query, 1, 2))


def parts(tensors):
    """A dump of a part is judged by what it has; what was asked for by a name that nobody has is
    refused."""
    judged = ("compare", "g.h5", "d.npz", "--precision", "fp64")
    np.savez("d.npz", **{name: x for name, x in tensors.items()
                         if name in ("embed", "logits") or name.endswith("/output")})
    expect(0, "checkpoints judged", *judged)
    expect(0, "verdict: pass", *judged, "--only", "embed,layers/*/output,logits")
    expect(1, "missing: 65 more", *judged, "--require", "all")
    np.savez("d.npz", **{name: x for name, x in tensors.items()
                         if not name.endswith(("/scores", "/probs"))})
    expect(0, "(layers/*/attn/scores,layers/*/attn/probs)", *judged)
    expect(0, "verdict: pass", *judged, "--leave-out", "layers/*/attn/scores,layers/*/attn/probs")
    expect(2, "--leave-out los: neither golden file nor subject has such a tensor", *judged,
           "--leave-out", "los")
    expect(2, "--only los: the golden file has no such tensor", *judged, "--only", "los")

    # The letters of docs/tensors.md.
    np.savez("d.npz", **{**tensors, "layers/0/mlp/gate": tensors["layers/0/mlp/gate"][:, :, 1:]})
    expect(1, "layers/0/mlp/gate: expected [2,4,48] (B,T,F), got", *judged)
    np.savez("d.npz",
             **{**tensors, "layers/0/attn/context": tensors["layers/0/attn/context"][:, :, 1:]})
    expect(1, "layers/0/attn/context: expected [2,4,32] (B,T,H*Dh), got", *judged)


def types(tensors):
    """A type of another precision names it; a dump in bf16 or fp16 that says nothing hears what it
    could say."""
    np.savez("d.npz", **tensors)
    expect(1, "final_norm: expected float32, got float64 with", "compare", "g.h5", "d.npz")
    expect(1, "; judge what is computed in it with --precision fp64", "compare", "g.h5", "d.npz")
    np.savez("d.npz", **{name: x.astype(np.float16) for name, x in tensors.items()})
    expect(1, "got float16; judge what is computed in it with --precision fp16", "compare", "g.h5",
           "d.npz")
    np.savez("d.npz", **{name: x.astype(np.float32) for name, x in tensors.items()})
    judged = ("compare", "g.h5", "d.npz", "--precision", "bf16")
    expect(0, "a 'schedule' that the dump declares (docs/golden-format.md), or --schedule, narrows",
           *judged)
    expect(0, "fused, bf16 storage, fp32 accumulation, angles in fp64, as asked for", *judged,
           "--schedule", "fused", "--angles", "double", "--only", "embed")
    expect(2, "d.npz: schedule: expected fused or eager, got lazy", *judged, "--schedule", "lazy")
    expect(2, "--angles: expected with a dump or a program only, got reference; it knows its own",
           "verify", "g.h5", "--subject", "reference", "--angles", "double")


def other_files():
    """Files that are something else."""
    for name, start, part in (("m.pt", b"PK\x03\x04....",
                               "a zip archive: one of torch.save is to be saved with"),
                              ("m.pth", b"\x80\x02....",
                               "a Python pickle, as old torch.save writes it"),
                              ("m.npy", b"\x93NUMPY\x01\x00",
                               "one array of numpy: use numpy.savez"),
                              ("m.h5", b"version https://git-lfs.github.com/spec/v1\noid",
                               "a Git LFS pointer to it"),
                              ("m.safetensors", b"version https://git-lfs.github.com/spec/v1\noid",
                               "'git lfs pull'")):
        with open(name, "wb") as file:
            file.write(start)
        expect(2, part, "compare", "g.h5", name)
    with h5py.File("lzf.h5", "w") as file:
        file.create_dataset("embed", data=np.zeros((2, 4, 32)), chunks=(1, 4, 32),
                            compression="lzf")
    expect(2, "the plugin that unpacks it is not installed: write the dataset without compression "
              "or with gzip",
           "compare", "g.h5", "lzf.h5", "--only", "embed")
    with h5py.File("written.h5", "w", libver="latest") as file:
        file["embed"] = np.zeros((2, 4, 32))
        file.flush()
        shutil.copy("written.h5", "unclosed.h5")
    expect(2, "its writer has not closed it, or was killed: close it there, or 'h5clear -s' the "
              "file",
           "compare", "g.h5", "unclosed.h5")
    os.symlink("gone.h5", "dangling.h5")
    expect(2, "dangling.h5: a symbolic link to gone.h5, which leads nowhere", "compare", "g.h5",
           "dangling.h5")
    expect(2, "a symbolic link to gone.h5", "verify", "dangling.h5")


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    expect(0, "root hash", "generate", "--method", "1", "--batch", "2", "--seq", "4", "--out",
           "g.h5")
    known = tensors_of("g.h5")
    beside_the_tensors(known)
    hints(known)
    parts(known)
    types(known)
    other_files()
print("dumps: every case as expected" if ASSAY.failures == 0 else f"{ASSAY.failures} failures")
sys.exit(ASSAY.failures > 0)
