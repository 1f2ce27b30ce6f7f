"""The commands that write files, each over older whole files of the same names, and what has to
hold of its outputs."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

HANG_S = 20
SUITE = {
    "assay_suite": 1,
    "blocks": {
        "b": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": 40,
        }
    },
    "entries": [
        {"methods": ["1", "2"], "blocks": ["b"], "heads": ["mha"], "shapes": [{"positions": 6}]}
    ],
}
SMALL = ["--preset", "tiny", "--seq", "4"]
REPORTS = ["r.json", "r.html", "r.xml"]
WRONG = (
    OSError,
    ValueError,
    xml.etree.ElementTree.ParseError,
)  # what a check of a damaged output throws


class Command:
    """words: of the command. damaged(new) -> outputs that are not as after; without new: nor as
    before."""

    def __init__(self, words, damaged):
        self.words, self.damaged = words, damaged


def is_whole_report(path):
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".xml":
            xml.etree.ElementTree.parse(path)
        return path.suffix != ".html" or path.read_text().rstrip().endswith("</html>")
    except WRONG:
        return False


class Writers:
    def __init__(self, assay, root):
        self.assay = os.path.abspath(assay)
        self.good = root / "good"  # what the commands read
        self.old = root / "old"  # what lies at their outputs before
        self.new = root / "new"  # and what they write
        self.work = root / "work"  # where they write
        for folder in [self.good, self.old, self.new]:
            folder.mkdir()
        self.plainly("generate", *SMALL, "--grad", "--out", self.good / "g.h5")
        self.suite = self.good / "suite.json"
        self.suite.write_text(json.dumps(SUITE))
        self.plainly("suite", "generate", self.suite, "--dir", self.good / "s", "--quiet")
        self.hashes = {}
        self.commands = self.table()
        for folder, seed in [(self.old, "2"), (self.new, "1")]:
            self.fill(folder, seed)

    def plainly(self, *words):
        return subprocess.run(
            [self.assay, *map(str, words)],
            check=True,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )

    def run(self, library, words, call, kind):
        """(completed process, number of calls) of a command with a fault: see fail_call.cpp."""
        count = self.good.parent / "count"
        settings = {
            "FOLDER": self.good.parent if "READS" in kind else self.work,
            "COUNT": count,
            "CALL": call,
        } | kind
        environment = (
            os.environ
            | {"LD_PRELOAD": library}
            | {f"ASSAY_FAULT_{k}": str(v) for k, v in settings.items()}
        )
        done = subprocess.run(
            [self.assay, *words], capture_output=True, text=True, timeout=HANG_S, env=environment
        )
        return done, int(count.read_text())

    def fill(self, folder, seed):
        """Every output, whole; with seed 1 as the commands write them."""
        self.plainly("generate", *SMALL, "--grad", "--seed", seed, "--out", folder / "g.h5")
        shutil.copytree(self.good / "s", folder / "s")
        for to in ["t.npz", "t.safetensors", "model"]:
            self.plainly("export", folder / "g.h5", "--to", folder / to)
        self.plainly(
            "suite",
            "bundle",
            self.suite,
            "--dir",
            self.good / "s",
            "--out",
            folder / "bundle",
            "--quiet",
        )
        reports = [word for name in REPORTS for word in [self.option_of(name), folder / name]]
        self.plainly("compare", folder / "g.h5", folder / "g.h5", "--precision", "fp64", *reports)
        (folder / "o.json").write_text("[]\n")

    def option_of(self, report):
        return {".json": "--json", ".html": "--report", ".xml": "--junit"}[
            pathlib.Path(report).suffix
        ]

    def prepared(self):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.old, self.work)

    def is_one_of(self, name, folders):
        """Whether the output is as in one of the folders: its bytes, or a golden file's data."""
        path = self.work / name
        if not path.is_file():
            return False
        content = path.read_bytes()
        if any(content == (folder / name).read_bytes() for folder in folders):
            return True
        return path.suffix == ".h5" and self.root_hash(path) in {
            self.root_hash(folder / name) for folder in folders
        }

    def root_hash(self, path):
        """Of a whole golden file; of any other something that is like no other."""
        content = path.read_bytes()
        if content not in self.hashes:
            done = subprocess.run(
                [self.assay, "inspect", str(path)], capture_output=True, text=True, timeout=HANG_S
            )
            lines = [line.split()[-1] for line in done.stdout.splitlines() if "root hash" in line]
            self.hashes[content] = lines[0] if done.returncode == 0 and lines else content
        return self.hashes[content]

    def files(self, *names):
        def damaged(new):
            folders = [self.new] if new else [self.old, self.new]
            return [name for name in names if not self.is_one_of(name, folders)]

        return damaged

    def reports(self, *names):
        return lambda _: [name for name in names if not is_whole_report(self.work / name)]

    def table(self):
        w, g = self.work, self.good
        reports = ["--force"] + [
            str(word) for name in REPORTS for word in [self.option_of(name), w / name]
        ]
        cases = [f"s/{path.name}" for path in sorted((g / "s").iterdir())]
        bundle = ["bundle/bundle.json"] + [f"bundle/{name[2:-3]}.safetensors" for name in cases]
        of_cases, of_list = self.files(*cases), self.reports("o.json")
        judged = ["--subject", "reference", "--precision", "fp64", *reports]
        export = ["export", g / "g.h5", "--force", "--to"]
        model = self.files("model/config.json", "model/model.safetensors")
        table = {
            "generate": Command(
                ["generate", *SMALL, "--grad", "--out", w / "g.h5", "--force"], self.files("g.h5")
            ),
            "suite": Command(
                [
                    "suite",
                    "generate",
                    self.suite,
                    "--dir",
                    w / "s",
                    "--force",
                    "--jobs",
                    "1",
                    "--quiet",
                    "--json",
                    w / "o.json",
                ],
                lambda new: of_cases(new) + of_list(new),
            ),
            "bundle": Command(
                [
                    "suite",
                    "bundle",
                    self.suite,
                    "--dir",
                    g / "s",
                    "--out",
                    w / "bundle",
                    "--force",
                    "--quiet",
                ],
                self.files(*bundle),
            ),
            "npz": Command([*export, w / "t.npz"], self.files("t.npz")),
            "safetensors": Command([*export, w / "t.safetensors"], self.files("t.safetensors")),
            "model": Command([*export, w / "model"], model),
            "compare": Command(
                ["compare", g / "g.h5", g / "g.h5", "--precision", "fp64", *reports],
                self.reports(*REPORTS),
            ),
            "verify": Command(["verify", g / "g.h5", *judged], self.reports(*REPORTS)),
            "leak": Command(
                ["leak", "--preset", "tiny", "--seq", "4", "--batch", "1", *judged],
                self.reports(*REPORTS),
            ),
            "prove": Command(["prove", *SMALL, *reports], self.reports(*REPORTS)),
            "suite verify": Command(
                ["suite", "verify", self.suite, "--dir", g / "s", *judged], self.reports(*REPORTS)
            ),
        }
        for command in table.values():
            command.words = [str(word) for word in command.words]
        return table

    def leftovers(self):
        return sorted(str(path) for path in self.work.rglob("*.partial*"))


def in_temporary_folder(assay, use):
    with tempfile.TemporaryDirectory(prefix="assay-faults-") as folder:
        return use(Writers(assay, pathlib.Path(folder).resolve()))
