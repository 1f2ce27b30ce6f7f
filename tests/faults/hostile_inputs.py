"""The program against inputs and surroundings that nobody means well with: options that overflow,
files that are none, JSON that is made to hurt, planted temporary files, signals, too little memory,
damaged suites. Each ends within 20 s with the exit code and the words expected, and never by a
signal of its own.

usage: hostile_inputs.py ASSAY [--only PART] [--rounds N] [--seed S]

--rounds N: N times 10 kills, 40 mutated suites, 60 limits of memory; default 1.
"""

import argparse
import errno
import json
import os
import pathlib
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time

HANG_S = 20
CONFIG = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 40}
SUITE = {"assay_suite": 1, "blocks": {"b": CONFIG},
         "entries": [{"methods": ["plain", "1"], "blocks": ["b"], "heads": ["mha"],
                      "shapes": [{"positions": 6}]}]}


class Bench:
    """Runs the program in a folder of its own and collects what is not as expected."""

    def __init__(self, assay, folder, rounds, seed):
        self.assay, self.folder, self.problems, self.runs = assay, pathlib.Path(folder), [], 0
        self.rounds, self.seed, self.random = rounds, seed, random.Random(seed)

    def path(self, name):
        return str(self.folder / name)

    def put(self, name, content):
        data = content if isinstance(content, bytes) else content.encode()
        (self.folder / name).write_bytes(data)
        return self.path(name)

    def run(self, *words, memory=None):
        def limit():
            if memory is not None:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

        self.runs += 1
        return subprocess.run([self.assay, *map(str, words)], capture_output=True, text=True,
                              errors="replace", timeout=HANG_S, preexec_fn=limit)

    def expect(self, code, text, *words):
        """The run ends with the code, and says the text on one of its streams."""
        shown = " ".join(map(str, words))
        try:
            done = self.run(*words)
        except subprocess.TimeoutExpired:
            self.problems.append(f"assay {shown}: hangs")
            return
        said = done.stdout + done.stderr
        if done.returncode != code or text not in said:
            self.problems.append(f"assay {shown}: expected {code} and '{text}', got "
                                 f"{done.returncode}: {said[-600:]}")

    def check(self, holds, what):
        if not holds:
            self.problems.append(what)


def sizes(b):
    generate = ["generate", "--quiet", "--out", b.path("g.h5"), "--force"]
    for options, text in [
        (["--batch", 6148914691236517206],
         "--batch 6148914691236517206 --seq 64: shape [6148914691236517206,64]"),
        (["--batch", 6148914691236517206, "--seq", 3],
         "expected at most 1099511627776 = 2^40 elements"),
        (["--seq", 2147483648], "2^40"),
        (["--method", "5.1A", "--score-positions", 4294967296],
         "score_positions: expected 1 .. 2^31"),
        (["--score-positions", 0, "--method", "5.1A"], "--score-positions 0: expected at least 1"),
        (["--seed", -1], "expected a whole number >= 0, got -1"),
        (["--kv-heads", 0], "num_key_value_heads: expected 1 .. 2^31, got 0"),
        (["--method", ""], "expected a value, got an empty one"),
        (["--weight-memory", "-1"], "--weight-memory"),
    ]:
        b.expect(2, text, *generate, *options)
    huge = CONFIG | {"hidden_size": 1 << 30, "head_dim": 16, "vocab_size": 1 << 30}
    b.expect(2, "2^40 elements", *generate, "--config", b.put("huge.json", json.dumps(huge)))
    for shape in [{"positions": 5, "left": [9223372036854775807], "right": [9]},
                  {"positions": 18446744073709551615}, {"batch": 1 << 40, "positions": 1 << 40}]:
        suite = json.loads(json.dumps(SUITE))
        suite["entries"][0]["shapes"] = [shape]
        b.expect(2, "shape 0", "suite", "list", b.put("suite.json", json.dumps(suite)))


def json_texts(b):
    good = json.dumps(CONFIG)
    for text, said in [
        ("{\"a\":" + "[" * 100000, "at most 16 nested levels"),
        ("{\"a\":" * 100000, "at most 16 nested levels"),
        (good[:-1] + ", \"vocab_size\": 41}", "each key once, got 'vocab_size' twice"),
        (good.encode() + b"\0{}", "a NUL byte at line 1, column"),
        (good[:-1] + ", \"rope_theta\": 1e999}", "number overflow"),
        (good.replace("40}", "40.0}"), "vocab_size: expected a whole number"),
        (good.replace("40}", "18446744073709551615}"), "vocab_size: expected a whole number"),
        ("[1]", "expected a JSON object"),
        ("", "expected JSON"),
        ("{\n  \"a\": 1,\n  ?\n}", "at line 3, column 3"),
        (b"{\"\xff\": 1}", "expected JSON"),
    ]:
        path = b.put("config.json", text)
        b.expect(2, said, "generate", "--config", path, "--out", b.path("g.h5"))
    for change in [{"blocks": {"b": 3}}, {"blocks": {"b": {"model_type": 4}}}, {"blocks": [1]},
                   {"entries": {}}, {"blocks": {"b": CONFIG | {"assay": 3}}}, {"defaults": []}]:
        b.expect(2, "expected a", "suite", "list", b.put("suite.json", json.dumps(SUITE | change)))


def files(b):
    fifo = b.path("fifo")
    os.mkfifo(fifo)
    os.symlink(b.path("nothing"), b.path("dangling"))
    for config in [fifo, "/dev/zero", b.path("dangling"), str(b.folder)]:
        b.expect(2, config, "generate", "--config", config, "--out", b.path("g.h5"))
        b.expect(2, config, "inspect", config)
        b.expect(2, config, "compare", config, config)
    os.symlink("/dev/zero", b.path("zero.json"))
    for suite in ["fifo.json", "zero.json", "dangling.json"]:
        if not os.path.lexists(b.path(suite)):
            os.symlink(fifo if suite.startswith("fifo") else b.path("nothing"), b.path(suite))
        b.expect(2, b.path(suite), "suite", "list", b.path(suite))


def temporary_files(b):
    # What killed runs left goes, what lives stays, and a planted link is not followed.
    out = b.path("g.h5")
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [pathlib.Path(f"{out}.partial-{dead.pid}{end}") for end in ("", ".aBcDeF")]
    for path in left:
        path.write_text("half")
    alive = pathlib.Path(f"{out}.partial-{os.getpid()}")
    alive.write_text("mine")
    b.check(b.run("generate", "--quiet", "--seq", 4, "--out", out).returncode == 0,
            "generate beside leftovers fails")
    b.check(not any(path.exists() for path in left), "leftovers of a killed run stay")
    b.check(alive.exists(), "the file of a run that lives was removed")
    alive.unlink()
    victim = b.folder / "victim"
    victim.write_text("precious")
    # The number of the next process is not known: links for the next thousand.
    links = [pathlib.Path(f"{out}.partial-{dead.pid + n}") for n in range(1, 1000)]
    for link in links:
        if not os.path.lexists(link):
            os.symlink(victim, link)
    done = b.run("generate", "--quiet", "--seq", 4, "--out", out, "--force")
    b.check(done.returncode == 0 and victim.read_text() == "precious",
            f"a planted link was followed: {done.stderr}")
    for link in links:
        link.unlink(missing_ok=True)


def signals(b):
    out = b.path("big.h5")
    words = [b.assay, "generate", "--preset", "author", "--seq", "512", "--grad", "--capture",
             "full", "--out", out]
    for number in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        while not list(b.folder.glob("big.h5.partial-*")) and time.monotonic() - begin < HANG_S:
            time.sleep(0.01)
        begun = bool(list(b.folder.glob("big.h5.partial-*")))
        process.send_signal(number)
        code = process.wait(timeout=HANG_S)
        b.runs += 1
        b.check(begun and code == -number, f"signal {number}: begun: {begun}, exit code {code}")
        left = list(b.folder.glob("big.h5*"))
        b.check(not left, f"signal {number} leaves {left}")


def kills(b):
    """SIGKILL at any time leaves the old file or the whole new one, and the next run cleans up."""
    out = b.path("g.h5")
    words = [b.assay, "generate", "--preset", "small", "--seq", "64", "--grad", "--quiet",
             "--force", "--out", out]
    begin = time.monotonic()
    b.check(b.run(*words[1:]).returncode == 0, "generate fails")
    seconds, partial = time.monotonic() - begin, 0
    for n in range(10 * b.rounds):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(b.random.uniform(0, seconds))
        process.kill()
        process.wait()
        partial += bool(list(b.folder.glob("g.h5.partial-*")))
        b.check(b.run("inspect", out).returncode == 0,
                f"seed {b.seed}, kill {n}: the file is damaged")
    b.check(partial > 0, "no kill came while a file was written")
    b.run(*words[1:])
    b.check(not list(b.folder.glob("g.h5.partial-*")), "leftovers of killed runs stay")


def mutated_suites(b):
    """A suite with changed, lost, doubled or moved bytes is read or refused; never an internal
    error."""
    good = json.dumps(SUITE, indent=1).encode()
    codes = {}
    for n in range(40 * b.rounds):
        text = bytearray(good)
        for _ in range(b.random.randint(1, 3)):
            at, length = b.random.randrange(len(text)), b.random.randint(1, 12)
            piece = text[b.random.randrange(len(text)):][:length]
            kind = b.random.randrange(5)
            if kind == 0:
                text[at] ^= 1 << b.random.randrange(8)
            elif kind == 1:
                text[at] = b.random.choice(b'{}[]",:0123456789eE.-ntf \x00\xff')
            elif kind == 2:
                del text[at:at + length]
            elif kind == 3:
                text[at:at] = piece
            else:
                text[at:at + length] = piece
        try:
            done = b.run("suite", "list", b.put("suite.json", bytes(text)))
        except subprocess.TimeoutExpired:
            b.problems.append(f"seed {b.seed}, mutation {n}: hangs on {bytes(text)!r}")
            continue
        codes[done.returncode] = codes.get(done.returncode, 0) + 1
        b.check(done.returncode in {0, 2}, f"seed {b.seed}, mutation {n}: {done.returncode}: "
                                           f"{done.stderr[-300:]}")
    b.check(codes.get(2, 0) > codes.get(0, 0), f"the mutations hardly reach anything: {codes}")


def suites(b):
    suite, folder = b.put("suite.json", json.dumps(SUITE)), b.path("s")
    generate = ["suite", "generate", suite, "--dir", folder]
    b.expect(0, "2 written", *generate)
    b.expect(0, "2 up to date", *generate)
    damaged = sorted(pathlib.Path(folder).glob("*.h5"))[0]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    b.expect(3, "1 pass, 1 inconclusive", "suite", "verify", suite, "--dir", folder, "--subject",
             "reference", "--precision", "fp64")
    # What the system says of a file is not the subject's failure.
    damaged.unlink()
    os.symlink(damaged, damaged)
    b.expect(3, "1 pass, 1 inconclusive", "suite", "verify", suite, "--dir", folder, "--subject",
             "reference", "--precision", "fp64")
    damaged.unlink()
    b.expect(2, "--subject nonsense: expected", "suite", "verify", suite, "--dir", folder,
             "--subject", "nonsense")
    b.expect(0, "1 written, 1 up to date", *generate)
    b.expect(0, "verdict: pass", "suite", "verify", suite, "--dir", folder, "--subject",
             "reference", "--precision", "fp64")


def unread_parts(b):
    """A flipped bit in what a comparison does not read: verify and compare refuse the file all the
    same."""
    out = b.path("g.h5")
    b.expect(0, "", "generate", "--quiet", "--seq", 4, "--grad", "--bound", "--sigma", "bf16",
             "--dependence", "--out", out)
    content = pathlib.Path(out).read_bytes()
    block = content[:512].decode().split()
    offset, size = int(block[block.index("manifest") + 1]), int(block[block.index("manifest") + 2])
    roles = set()
    for at in range(offset, offset + size, 392):  # records of golden/file/manifest.h
        record = content[at:at + 392]
        role = record[208:224].rstrip(b"\0").decode()
        place, length = struct.unpack("<qq", record[376:392])
        if role in roles or role not in {"grad", "bound", "sigma", "dependence"} or length == 0:
            continue
        roles.add(role)
        damaged = bytearray(content)
        damaged[place] ^= 1
        path = b.put("damaged.h5", bytes(damaged))
        name = record[:192].rstrip(b"\0").decode()
        b.expect(2, f"{name}: data does not match its hash", "verify", path, "--subject",
                 "reference")
        b.expect(2, f"{name}: data does not match its hash", "compare", path, out)
        b.expect(2, f"{name}: data does not match its hash", "compare", out, path)
    b.check(len(roles) == 4, f"only {roles} were damaged")


def least_memory(b):
    """The smallest limit, in MB, at which the program and its libraries can be loaded."""
    return next(n for n in range(8, 400, 2)
                if b.run("--version", memory=n << 20).returncode in {0, 4})


def memory(b):
    """Under a limit a run succeeds or says that memory is short; it neither crashes nor waits for
    ever."""
    suite, folder, golden = b.put("suite.json", json.dumps(SUITE)), b.path("m"), b.path("g.h5")
    b.expect(0, "", "suite", "generate", suite, "--dir", folder, "--quiet")
    b.expect(0, "", "generate", "--quiet", "--seq", 4, "--out", golden)
    least, kinds = least_memory(b), {}
    commands = [["generate", "--preset", "author", "--seq", "256", "--quiet", "--out",
                 b.path("o.h5"), "--force"],
                ["suite", "verify", suite, "--dir", folder, "--subject", "reference", "--precision",
                 "fp64"],
                ["compare", golden, golden, "--precision", "fp64"],
                ["bench", "--preset", "tiny", "--seq", "4", "--runs", "1"]]
    commands += [["suite", "generate", suite, "--dir", b.path("n"), "--force", "--quiet", "--jobs",
                  str(jobs)]
                 for jobs in range(1, 5)]
    limits = [(n, words) for n in [160, 240, 480, 800] for words in commands[:3]]
    limits += [(least + b.random.randrange(40 if n % 2 == 0 else 400), b.random.choice(commands))
               for n in range(60 * b.rounds)]
    for megabytes, words in limits:
        shown = f"seed {b.seed}, {megabytes} MB: assay {' '.join(words)}"
        try:
            done = b.run(*words, memory=megabytes << 20)
        except subprocess.TimeoutExpired:
            b.problems.append(f"{shown}: hangs")
            continue
        code, said = done.returncode, done.stdout + done.stderr
        kinds[code] = kinds.get(code, 0) + 1
        short = "memory" in said or os.strerror(errno.EAGAIN) in said  # of memory, or of threads
        fine = code == 0 or (code in {2, 3, 4} and short and "internal error" not in said)
        b.check(fine, f"{shown}: exit code {code}: {said[-300:]}")
    b.check(kinds.get(0, 0) > 0 and kinds.get(4, 0) > 0,
            f"limits from {least} MB on: exit codes {kinds}")


PARTS = [sizes, json_texts, files, temporary_files, signals, kills, mutated_suites, suites,
         unread_parts, memory]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--only")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    problems = []
    for part in PARTS:
        if options.only not in {None, part.__name__}:
            continue
        with tempfile.TemporaryDirectory(prefix="assay-hostile-") as folder:
            bench = Bench(os.path.abspath(options.assay), os.path.realpath(folder), options.rounds,
                          options.seed)
            begin = time.monotonic()
            part(bench)
            print(f"{part.__name__}: {bench.runs} runs, {len(bench.problems)} problems, "
                  f"{time.monotonic() - begin:.1f} s", flush=True)
            problems += [f"{part.__name__}: {problem}" for problem in bench.problems]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
