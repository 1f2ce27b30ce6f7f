"""Ends every command that writes files, at random times and before random calls that write: by
SIGKILL, SIGINT, SIGTERM. Each output is whole, as it was before or as the command writes it;
signals that can be caught leave no temporary file, and the next run of an output removes what a
kill left.

usage: interrupted.py ASSAY LIBRARY [--rounds N] [--seed S] [--only COMMAND]

--rounds N: of each command N times 12 runs, of which 3 at random times; default 1.
"""

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import time

from writers import HANG_S, in_temporary_folder

SIGNALS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]
AT_CALLS = 3  # times as many as at random times


def ended_after(w, command, number, seconds):
    """The exit code of a run that gets the signal after so many seconds."""
    process = subprocess.Popen(
        [w.assay, *command.words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(seconds)
    process.send_signal(number)
    return process.wait(timeout=HANG_S)


def interruption(w, command, number, end, counts):
    """What is wrong after a run that a signal ended, and after the next run of it."""
    w.prepared()
    try:
        code = end()
    except subprocess.TimeoutExpired:
        return f"hangs for more than {HANG_S} s"
    counts["ended by the signal" if code == -number else "over before it"] += 1
    if code not in {0, -number}:
        return f"exit code {code}"
    if damaged := command.damaged(False):
        return f"damaged: {damaged}"
    left = w.leftovers()
    counts["left a temporary file"] += bool(left)
    if left and number != signal.SIGKILL:
        return f"leaves {left}"
    if left:
        w.plainly(*command.words)
        if w.leftovers() or command.damaged(True):
            return f"the next run leaves {w.leftovers()}, damaged: {command.damaged(True)}"
    return ""


def campaign(w, options):
    bits, problems, total = random.Random(options.seed), [], collections.Counter()
    for name, command in w.commands.items():
        if options.only not in {None, name}:
            continue
        w.prepared()
        begin, counts = time.monotonic(), collections.Counter()
        _, calls = w.run(options.library, command.words, 0, {})
        seconds = time.monotonic() - begin
        for n in range(len(SIGNALS) * (1 + AT_CALLS) * options.rounds):
            number = SIGNALS[n % len(SIGNALS)]
            if n // len(SIGNALS) % (1 + AT_CALLS) == 0:
                after = bits.uniform(0, seconds)
                end, when = lambda: ended_after(w, command, number, after), f"after {after:.4f} s"
            else:
                call = bits.randint(1, calls)
                kind = {"SIGNAL": int(number)}
                end, when = (
                    lambda: w.run(options.library, command.words, call, kind)[0].returncode,
                    f"at call {call}",
                )
            if problem := interruption(w, command, number, end, counts):
                problems.append(
                    f"seed {options.seed}, {name}, run {n}, {number.name} {when}: {problem}"
                )
        print(f"{name}: {calls} calls, {dict(counts)}", flush=True)
        total += counts
    print("\n".join(problems))
    print(f"{dict(total)}, {len(problems)} problems")
    return 1 if problems or total["ended by the signal"] == 0 else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("library")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    options = parser.parse_args()
    options.library = os.path.abspath(options.library)
    return in_temporary_folder(options.assay, lambda w: campaign(w, options))


if __name__ == "__main__":
    sys.exit(main())
