"""HDF5 files of other people as dumps: flipped bits, links and datasets that lead elsewhere, deep
nests, bombs. `assay compare` refuses each or reads it, within 20 s and 2 GB, and never ends by a
signal.

usage: foreign_hdf5.py ASSAY [--flips N] [--seed S]    needs h5py
"""

import argparse
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy
except ImportError:
    sys.exit(77)

HANG_S = 20


def compare(assay, golden, dump):
    """(exit code or "hangs", what it said)"""
    try:
        done = subprocess.run([assay, "compare", golden, dump, "--precision", "fp64"],
                              capture_output=True, text=True, errors="replace", timeout=HANG_S)
    except subprocess.TimeoutExpired:
        return "hangs", ""
    return done.returncode, done.stdout + done.stderr


def hostile_files(folder):
    """{name: text of the refusal}"""
    def path(name):
        return str(folder / name)

    with h5py.File(path("other.h5"), "w") as file:
        file["x"] = numpy.zeros(4)
    with h5py.File(path("external_link.h5"), "w") as file:
        file["embed"] = h5py.ExternalLink("other.h5", "/x")
    with h5py.File(path("external_data.h5"), "w") as file:
        file.create_dataset("embed", (4,), "f8", external=[("/etc/passwd", 0, 32)])
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(path("virtual.h5"), "embed", (4,))
    with h5py.File(path("virtual.h5"), "w", libver="latest") as file:
        file.create_virtual_dataset("embed", layout)
    with h5py.File(path("bomb.h5"), "w") as file:
        file.create_dataset("embed", (1 << 30,), "f8", chunks=(1 << 24,), compression="gzip")
    with h5py.File(path("declares.h5"), "w") as file:
        file.create_dataset("embed", (1 << 34,), "f8")
    with h5py.File(path("nest.h5"), "w") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")
    with h5py.File(path("strange.h5"), "w") as file:
        file["embed"] = numpy.zeros((2, 4, 32))
        file["wait\x1b[2Jverdict: pass\n"] = numpy.zeros(3)
    return {"external_link.h5": "a link into another file",
            "external_data.h5": "its data lies in another file",
            "virtual.h5": "a virtual dataset", "bomb.h5": "", "declares.h5": "more than a file of",
            "nest.h5": "groups nested at most 64 deep", "strange.h5": ""}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--flips", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    problems, codes = [], {}
    with tempfile.TemporaryDirectory(prefix="assay-foreign-") as name:
        folder = pathlib.Path(name)
        golden = str(folder / "g.h5")
        subprocess.run([options.assay, "generate", "--quiet", "--seq", "4", "--out", golden],
                       check=True)
        with h5py.File(golden) as file, h5py.File(folder / "dump.h5", "w") as dump:
            names = []
            file["forward"].visititems(lambda n, item: names.append(n)
                                       if isinstance(item, h5py.Dataset) else None)
            for n in names:
                dump[n] = file["forward"][n][...]
        code, said = compare(options.assay, golden, str(folder / "dump.h5"))
        if code != 0:
            sys.exit(f"the clean dump: expected 0, got {code}: {said}")
        for hostile, text in hostile_files(folder).items():
            code, said = compare(options.assay, golden, str(folder / hostile))
            codes[code] = codes.get(code, 0) + 1
            if code not in {1, 2, 3} or text not in said or (text and code != 2):
                problems.append(f"{hostile}: expected 2 and '{text}', got {code}: {said[-400:]}")
            if "\x1b[2J" in said or "\nverdict: pass\n" in said:
                problems.append(f"{hostile}: a name of the file reaches the terminal as it is")
        bits = random.Random(options.seed)
        clean = (folder / "dump.h5").read_bytes()
        # Metadata lies between the data; bytes that are zero or ASCII are mostly metadata.
        for flip in range(options.flips):
            content = bytearray(clean)
            at = bits.choice([bits.randrange(len(content)),
                              bits.randrange(min(len(content), 4096))])
            content[at] ^= 1 << bits.randrange(8)
            (folder / "flipped.h5").write_bytes(content)
            code, said = compare(options.assay, golden, str(folder / "flipped.h5"))
            codes[code] = codes.get(code, 0) + 1
            if code not in {0, 1, 2, 3}:
                problems.append(f"seed {options.seed}, flip {flip}, byte {at}: exit code {code}: "
                                f"{said[-300:]}")
        whole = pathlib.Path(golden).read_bytes()
        for at in [0, 3, 100, len(whole) - 100]:
            content = bytearray(whole)
            content[at] ^= 1
            (folder / "damaged.h5").write_bytes(content)
            code, said = compare(options.assay, golden, str(folder / "damaged.h5"))
            if code != 2:
                problems.append(f"a golden file as a dump, damaged at byte {at}: expected 2, got "
                                f"{code}: {said[-300:]}")
    print(f"{options.flips} flips, seed {options.seed}: exit codes "
          f"{dict(sorted(codes.items(), key=str))}; peak "
          f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MB; {len(problems)} "
          "problems")
    print("\n".join(problems))
    if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 2 << 20:
        problems.append("more than 2 GB")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
