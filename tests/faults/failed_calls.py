"""Lets the n-th call that writes or reads files fail, for every n, in each command that writes
files: the failure is reported with exit code 2, or what lies under the final name is whole all the
same. Never a crash, a hang, a lost older file or a leftover.

usage: failed_calls.py ASSAY LIBRARY [--every K] [--only COMMAND]

--every K: each K-th call (default 1: all), beginning at another one for each kind of failure. One
call that writes fails (EIO), all of them from one on (ENOSPC, a disk that stays full), one that
reads fails (EIO).
"""

import argparse
import collections
import errno
import os
import subprocess
import sys

from writers import HANG_S, in_temporary_folder

KINDS = [
    {"ERROR": errno.EIO},
    {"ERROR": errno.ENOSPC, "LASTING": 1},
    {"ERROR": errno.EIO, "READS": 1},
]


def fault_in(w, library, command, success, call, kind):
    """(what is wrong, whether the failure was reported) of one run with a fault."""
    w.prepared()
    try:
        done, _ = w.run(library, command.words, call, kind)
    except subprocess.TimeoutExpired:
        return f"hangs for more than {HANG_S} s", False
    if w.leftovers():
        return f"leaves {w.leftovers()}", False
    if done.returncode == success:
        damaged = command.damaged(True)
        return (f"succeeds, and these are damaged: {damaged}" if damaged else ""), False
    # A case of a suite that cannot be read is inconclusive.
    if (
        done.returncode not in ({2, 3} if "READS" in kind else {2})
        or not (done.stderr + done.stdout).strip()
    ):
        return f"exit code {done.returncode}: {done.stderr.strip()[-300:]}", False
    damaged = command.damaged(False)
    return (
        f"fails ({done.stderr.strip()[-300:]}) and leaves damaged: {damaged}" if damaged else ""
    ), True


def campaign(w, options):
    problems, runs, reported = [], 0, 0
    for name, command in w.commands.items():
        if options.only not in {None, name}:
            continue
        numbers = collections.Counter()
        for n, kind in enumerate(KINDS):
            w.prepared()
            done, calls = w.run(options.library, command.words, 0, kind)
            if done.returncode != 0 or command.damaged(True) or calls < 3:
                sys.exit(
                    f"{name}: without a fault: {done.returncode}, {calls} calls, "
                    f"damaged: {command.damaged(True)}: "
                    f"{done.stderr}"
                )
            numbers["calls"] += calls if n != 1 else 0
            for call in range(1 + n % options.every, calls + 1, options.every):
                problem, is_reported = fault_in(
                    w, options.library, command, done.returncode, call, kind
                )
                numbers["runs"] += 1
                numbers["reported"] += is_reported
                if problem:
                    problems.append(f"{name}, call {call} of {calls}, {kind}: {problem}")
        print(
            f"{name}: {numbers['calls']} calls, {numbers['runs']} runs with a fault, "
            f"{numbers['reported']} reported",
            flush=True,
        )
        if numbers["reported"] == 0:
            problems.append(f"{name}: no fault was reported: does the library reach its calls?")
        runs += numbers["runs"]
        reported += numbers["reported"]
    print("\n".join(problems))
    print(
        f"{runs} failed calls: {reported} reported, {runs - reported - len(problems)} harmless, "
        f"{len(problems)} problems"
    )
    return 1 if problems else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("library")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only")
    options = parser.parse_args()
    options.library = os.path.abspath(options.library)
    return in_temporary_folder(options.assay, lambda w: campaign(w, options))


if __name__ == "__main__":
    sys.exit(main())
