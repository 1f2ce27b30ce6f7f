"""The folders of the project: no cycle of includes between them, and none too large to be read.

usage: folders_test.py [--table] SOURCE_DIR
--table: prints files and arrows of every folder, and checks nothing
"""

import collections
import pathlib
import re
import sys
import tempfile

MOST_FILES = 30
PAIR_AN_ITEM = {"reference/ops"}  # a file and a header an operation: as many as there are
ROOTS = ["golden", "datasets", "reference", "cuda_impl", "verify", "cli", "bench", "tests",
         "examples", "scripts", "docs"]
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def files_of(source):
    """Every file below the roots, as a path relative to `source`."""
    for root in ROOTS:
        for path in sorted((source / root).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(source)


def arrows_of(source):
    """{folder: {folder that it includes from: "file -> header", the first such line}}"""
    arrows = collections.defaultdict(dict)
    for path in files_of(source):
        if path.suffix not in {".h", ".cpp", ".cu"}:
            continue
        for header in INCLUDE.findall((source / path).read_text()):
            to = pathlib.PurePosixPath(header).parent
            if (source / header).is_file() and to != path.parent:
                arrows[str(path.parent)].setdefault(str(to), f"{path} -> {header}")
    return arrows


def cycle_of(arrows):
    """The folders of one cycle, in order, or [] if there is none."""
    done, trail = set(), []

    def visit(folder):
        if folder in trail:
            return trail[trail.index(folder):]
        if folder in done:
            return []
        trail.append(folder)
        for to in sorted(arrows.get(folder, {})):
            cycle = visit(to)
            if cycle:
                return cycle
        trail.pop()
        done.add(folder)
        return []

    for folder in sorted(arrows):
        cycle = visit(folder)
        if cycle:
            return cycle
    return []


def faults_of(source):
    faults = []
    sizes = collections.Counter(str(path.parent) for path in files_of(source))
    for folder, files in sorted(sizes.items()):
        if files > MOST_FILES and folder not in PAIR_AN_ITEM:
            faults.append(f"{folder}: expected at most {MOST_FILES} files of its own, got {files}")
    arrows = arrows_of(source)
    cycle = cycle_of(arrows)
    for folder, to in zip(cycle, cycle[1:] + cycle[:1]):
        faults.append(f"cycle: {folder} -> {to}: {arrows[folder][to]}")
    return faults


def check_planted():
    """The check finds what it looks for."""
    with tempfile.TemporaryDirectory() as name:
        source = pathlib.Path(name)
        for file, header in [("golden/a/x.h", "golden/b/y.h"), ("golden/b/y.h", "golden/c/z.h"),
                             ("golden/c/z.h", "golden/a/x.h")]:
            (source / file).parent.mkdir(parents=True)
            (source / file).write_text(f'#include "{header}"\n')
        faults = faults_of(source)
        assert len(faults) == 3, faults
        assert faults[0] == "cycle: golden/a -> golden/b: golden/a/x.h -> golden/b/y.h", faults
        (source / "golden/c/z.h").write_text("")
        assert faults_of(source) == [], faults_of(source)
        for index in range(MOST_FILES):
            (source / f"golden/c/{index}.cpp").write_text("")
        faults = faults_of(source)
        assert faults == ["golden/c: expected at most 30 files of its own, got 31"], faults


def main():
    source = pathlib.Path(sys.argv[-1])
    sizes = collections.Counter(str(path.parent) for path in files_of(source))
    arrows = arrows_of(source)
    if "--table" in sys.argv:
        print("| folder | files | includes from |\n|---|---|---|")
        for folder, files in sorted(sizes.items()):
            print(f"| `{folder}` | {files} | {', '.join(sorted(arrows.get(folder, {})))} |")
        return 0
    check_planted()
    faults = faults_of(source)
    for fault in faults:
        print(f"folders_test: {fault}")
    count = sum(len(to) for to in arrows.values())
    if len(sizes) < 20 or count < 50:  # a wrong SOURCE_DIR has nothing to find fault with
        faults.append(f"expected 20 folders and 50 arrows at least, got {len(sizes)} and {count}")
        print(f"folders_test: {faults[-1]}")
    if not faults:
        print(f"folders_test: {len(sizes)} folders, {count} arrows, no cycle, at most {MOST_FILES} "
              "files each")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
