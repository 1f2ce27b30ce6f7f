"""Damages golden files at random: flipped bits, zeroed, moved and lost pieces, wrong lengths.
`assay inspect`, `verify` and `compare`, the file as golden and as dump, refuse each with exit code
2; none is accepted in silence.

usage: corrupted.py ASSAY [--files N] [--seed S]

--files N: how many damaged files; default 60. A file that is accepted although only bytes differ
that nobody reads (its data and root hash are as before) is counted apart.
"""

import argparse
import collections
import pathlib
import random
import subprocess
import sys
import tempfile

HANG_S = 20
SETTINGS = {
    "full": [
        "--preset",
        "tiny",
        "--seq",
        "4",
        "--grad",
        "--bound",
        "--sigma",
        "bf16",
        "--dependence",
    ],
    "stats": ["--preset", "tiny", "--seq", "4", "--grad", "--capture", "stats"],
}


def run(assay, *words):
    """(exit code or "hangs", what it said)"""
    try:
        done = subprocess.run(
            [assay, *map(str, words)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HANG_S,
        )
    except subprocess.TimeoutExpired:
        return "hangs", ""
    return done.returncode, done.stdout + done.stderr


def damaged(content, bits):
    """(what was done, the damaged content)"""
    data = bytearray(content)
    # Half of the damage where the file's own words are: the block in front, the tables behind.
    at = bits.choice(
        [
            bits.randrange(len(data)),
            bits.randrange(min(len(data), 2048)),
            len(data) - 1 - bits.randrange(min(len(data), 1 << 16)),
        ]
    )
    length = bits.choice([1, 8, 64, 512, 4096])
    kind = bits.choice(
        ["flip", "flip", "flip", "flips", "zero", "move", "lose", "truncate", "append"]
    )
    if kind == "flip":
        data[at] ^= 1 << bits.randrange(8)
    elif kind == "flips":
        for _ in range(bits.randint(2, 16)):
            data[bits.randrange(len(data))] ^= 1 << bits.randrange(8)
    elif kind == "zero":
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif kind == "move":
        source = bits.randrange(len(data))
        piece = data[source : source + length]
        data[at : at + len(piece)] = piece
    elif kind == "lose":
        del data[at : at + length]
    elif kind == "truncate":
        del data[at:]
    else:
        data += bits.randbytes(length)
    return f"{kind} at byte {at} of {len(content)}", bytes(data)


def commands_on(good, bad):
    return {
        "inspect": ["inspect", bad],
        "verify": ["verify", bad, "--subject", "reference", "--precision", "fp64"],
        "compare, as golden": ["compare", bad, good, "--precision", "fp64"],
        "compare, as dump": ["compare", good, bad, "--precision", "fp64"],
    }


def campaign(options, folder):
    bits, problems, counts = random.Random(options.seed), [], collections.Counter()
    wholes = {}
    for name, settings in SETTINGS.items():
        wholes[name] = folder / f"{name}.h5"
        subprocess.run(
            [options.assay, "generate", *settings, "--quiet", "--out", wholes[name]], check=True
        )
    said_of = {
        name: run(options.assay, "inspect", path)[1].splitlines()[1:]
        for name, path in wholes.items()
    }
    bad = folder / "bad.h5"
    for n in range(options.files):
        name = "full" if n % 4 != 3 else "stats"
        what, content = damaged(wholes[name].read_bytes(), bits)
        if content == wholes[name].read_bytes():
            counts["changed nothing"] += 1
            continue
        bad.write_bytes(content)
        commands = commands_on(wholes["full"], bad)
        for command in ["inspect", bits.choice(list(commands)[1:])]:
            code, said = run(options.assay, *commands[command])
            counts[f"{command}: {code}"] += 1
            if code == 2:
                continue
            if (
                code == 0
                and run(options.assay, "inspect", bad)[1].splitlines()[1:] == said_of[name]
            ):
                counts["accepted, unread bytes differ"] += 1
                continue
            problems.append(
                f"seed {options.seed}, file {n} ({name}), {what}: {command}: {code}: {said[-300:]}"
            )
    print("\n".join(problems))
    print(
        f"{options.files} damaged files, seed {options.seed}: {dict(sorted(counts.items()))}; "
        f"{len(problems)} problems"
    )
    return 1 if problems else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-corrupted-") as folder:
        return campaign(options, pathlib.Path(folder))


if __name__ == "__main__":
    sys.exit(main())
