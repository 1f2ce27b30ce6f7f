"""Lets the n-th call that writes fail, for every n, in each command that writes files: the failure is reported with
exit code 2, or what lies under the final name is whole all the same. Never a crash, a hang, a lost older file or a
leftover.

usage: failed_calls.py ASSAY LIBRARY [--every K] [--only COMMAND]

--every K: each K-th call (default 1: all), beginning at another one for each kind of failure. One call that fails
(EIO), and all calls from one on (ENOSPC, a disk that stays full).
"""

import argparse
import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HANG_S = 20
SUITE = {
    "assay_suite": 1,
    "blocks": {"b": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
                     "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 40}},
    "entries": [{"methods": ["1", "2"], "blocks": ["b"], "heads": ["mha"], "shapes": [{"positions": 6}]}],
}
SMALL = ["--preset", "tiny", "--seq", "4"]


class Campaign:
    def __init__(self, assay, library, root):
        self.assay, self.library = assay, library
        self.good = root / "good"  # what the commands read, and what lies at their outputs before
        self.work = root / "work"  # calls on files in here count
        self.good.mkdir()
        self.run_plainly("generate", *SMALL, "--grad", "--out", self.good / "g.h5")
        (self.good / "suite.json").write_text(json.dumps(SUITE))
        self.run_plainly("suite", "generate", self.good / "suite.json", "--dir", self.good / "s", "--quiet")

    def run_plainly(self, *words):
        return subprocess.run([self.assay, *map(str, words)], check=True, capture_output=True, text=True,
                              timeout=HANG_S).stdout

    def run(self, words, call=0, error=0, lasting=False):
        """(completed process, number of calls) of the command with faults."""
        count = self.good / "count"
        environment = os.environ | {
            "LD_PRELOAD": self.library, "ASSAY_FAULT_FOLDER": str(self.work), "ASSAY_FAULT_CALL": str(call),
            "ASSAY_FAULT_ERROR": str(error), "ASSAY_FAULT_LASTING": str(int(lasting)),
            "ASSAY_FAULT_COUNT": str(count)}
        done = subprocess.run([self.assay, *map(str, words)], capture_output=True, text=True, timeout=HANG_S,
                              env=environment)
        return done, int(count.read_text())

    def prepared(self):
        """A work folder with an older whole file at every output."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        shutil.copy(self.good / "g.h5", self.work / "g.h5")
        shutil.copytree(self.good / "s", self.work / "s")

    def root_hash(self, path):
        """The root hash of a whole golden file, and "" of any other."""
        done = subprocess.run([self.assay, "inspect", str(path)], capture_output=True, text=True, timeout=HANG_S)
        lines = [line.split()[-1] for line in done.stdout.splitlines() if "root hash" in line]
        return lines[0] if done.returncode == 0 and lines else ""

    def is_golden(self, name):
        return self.root_hash(self.work / name) == self.root_hash(self.good / name) != ""

    def is_same(self, name, expected):
        path = self.work / name
        return path.is_file() and path.read_bytes() == expected


def whole_reports(work):
    json.loads((work / "r.json").read_text())
    xml.etree.ElementTree.parse(work / "r.xml")
    return (work / "r.html").read_text().rstrip().endswith("</html>")


def commands_of(c):
    """{name: (words, what has to hold after a success, what has to hold after any end)}"""
    w, g = c.work, c.good
    expected = {}
    for name in ["t.npz", "t.safetensors"]:
        c.run_plainly("export", g / "g.h5", "--to", g / name)
        expected[name] = (g / name).read_bytes()
    c.run_plainly("export", g / "g.h5", "--to", g / "model")
    for name in ["model/config.json", "model/model.safetensors"]:
        expected[name] = (g / name).read_bytes()
    suite = sorted(path.name for path in (g / "s").iterdir())
    golden = lambda: c.is_golden("g.h5")
    cases = lambda: all(c.is_golden(f"s/{name}") for name in suite)
    either = lambda name: not (w / name).exists() or c.is_same(name, expected[name])
    fewer = lambda *names: all(either(name) for name in names)
    all_same = lambda *names: all(c.is_same(name, expected[name]) for name in names)
    model = ["model/config.json", "model/model.safetensors"]
    report = lambda name: not (w / name).exists() or (w / name).stat().st_size > 0
    return {
        "generate": (["generate", *SMALL, "--grad", "--out", w / "g.h5", "--force"], golden, golden),
        "suite": (["suite", "generate", g / "suite.json", "--dir", w / "s", "--force", "--jobs", "1", "--quiet",
                   "--json", w / "o.json"], lambda: cases() and json.loads((w / "o.json").read_text()), cases),
        "npz": (["export", g / "g.h5", "--to", w / "t.npz"], lambda: all_same("t.npz"), lambda: fewer("t.npz")),
        "safetensors": (["export", g / "g.h5", "--to", w / "t.safetensors"], lambda: all_same("t.safetensors"),
                        lambda: fewer("t.safetensors")),
        "model": (["export", g / "g.h5", "--to", w / "model"], lambda: all_same(*model), lambda: fewer(*model)),
        "report": (["compare", g / "g.h5", g / "g.h5", "--precision", "fp64", "--json", w / "r.json", "--report", w / "r.html", "--junit",
                    w / "r.xml"], lambda: whole_reports(w),
                   lambda: all(report(n) for n in ["r.json", "r.html", "r.xml"])),
    }


def fault_in(c, words, succeeded, always, success, arguments):
    """(what is wrong, whether the failure was reported) of one run with a fault."""
    c.prepared()
    try:
        done, _ = c.run(words, **arguments)
    except subprocess.TimeoutExpired:
        return f"hangs for more than {HANG_S} s", False
    leftovers = [str(path) for path in c.work.rglob("*partial-*")]
    if leftovers:
        return f"leaves {leftovers}", False
    if done.returncode == success:
        try:
            return ("" if succeeded() else "succeeds, and what it wrote is damaged"), False
        except (OSError, ValueError, xml.etree.ElementTree.ParseError) as problem:
            return f"succeeds, and what it wrote is damaged: {problem}", False
    if done.returncode != 2 or not done.stderr.strip():
        return f"exit code {done.returncode}: {done.stderr.strip()}", False
    return ("" if always() else f"fails ({done.stderr.strip()}) and leaves a damaged file"), True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("library")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only")
    options = parser.parse_args()
    problems, runs, reported = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="assay-faults-") as folder:
        c = Campaign(options.assay, options.library, pathlib.Path(folder).resolve())
        for name, (words, succeeded, always) in commands_of(c).items():
            if options.only not in {None, name}:
                continue
            c.prepared()
            done, calls = c.run(words)
            success = done.returncode
            if not succeeded() or calls < 3:
                sys.exit(f"{name}: without a fault: exit code {success}, {calls} calls: {done.stderr}")
            own_runs, own_reported = 0, 0
            for kind, (error, lasting) in enumerate([(errno.EIO, False), (errno.ENOSPC, True)]):
                for call in range(1 + kind % options.every, calls + 1, options.every):
                    problem, is_reported = fault_in(c, words, succeeded, always, success,
                                                    {"call": call, "error": error, "lasting": lasting})
                    own_runs += 1
                    own_reported += is_reported
                    if problem:
                        problems.append(f"{name}, call {call}, {os.strerror(error)}"
                                        f"{', lasting' if lasting else ''}: {problem}")
            print(f"{name}: {calls} calls, {own_runs} runs with a fault, {own_reported} reported", flush=True)
            if own_reported == 0:
                problems.append(f"{name}: no fault was reported: does the library reach its calls?")
            runs += own_runs
            reported += own_reported
    for problem in problems:
        print(problem)
    print(f"{runs} failed calls: {reported} reported, {runs - reported - len(problems)} harmless, "
          f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
