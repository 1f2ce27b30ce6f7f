"""What tests of `assay serve-sim` share: a trace, and how to replay one and read its report."""

import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from command import Command  # noqa: E402

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,14,4
2023-11-16 18:17:04.0319600,36,9
2023-11-16 18:17:04.0781800,9,5
"""


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


class Runs:
    def __init__(self, path, folder):
        self.command, self.folder = Command(path, stops=True), folder

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def report(self, trace, *options, code=0, parts=()):
        """The JSON of a replay."""
        out = str(self.folder / "out.json")
        self.command.expect(code, list(parts), "serve-sim", "--trace", trace, *options,
                            "--json", out)
        return json.loads(pathlib.Path(out).read_text())


def close(a, b):
    return abs(a - b) < 1e-9


def run_all(tests):
    """Every function test_* of a module's names, in turn."""
    tests = [value for name, value in tests.items() if name.startswith("test_")]
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(sys.argv[1], pathlib.Path(folder))
        for test in tests:
            test(runs)
    print(f"{pathlib.Path(sys.argv[0]).stem}: {len(tests)} tests passed")
