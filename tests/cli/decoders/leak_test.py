"""Leaks of any decoder, without a reference. usage: leak_test.py ASSAY [POSITIONS [NAME ..]]

Every mechanism of family.py is found, with the first tensor that shows it; no clean decoder is
accused; of what nobody can be sure of the verdict is neither. Prints a table. Exits with 77 (skip)
where numpy is missing.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

try:
    import numpy  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import family  # noqa: E402

ASSAY = os.path.abspath(sys.argv[1])
POSITIONS = int(sys.argv[2]) if len(sys.argv) > 2 else 13
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "family.py")


def judge(name):
    start = time.time()
    positions = 13 if name == "fixed_length" else POSITIONS
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [ASSAY, "leak", "--subject", f"exec:{sys.executable} {PROGRAM} {name}", "--vocab",
             str(family.VOCAB), "--positions", str(positions)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
            env={**os.environ, "TMPDIR": folder, "OPENBLAS_NUM_THREADS": "1"})
        assert os.listdir(folder) == [], (name, os.listdir(folder))
    return done.returncode, done.stdout.decode(), time.time() - start


def checks_of(text):
    """{check: (status, summary)}"""
    found = re.findall(r"^(pass|fail|inconclusive|untrusted|skipped) +(\w+) +(.*) \(", text,
                       re.MULTILINE)
    return {name: (status, summary) for status, name, summary in found}


def fault_of(name, code, text):
    """What is not as it should be; "" if all is."""
    checks = checks_of(text)
    failed = [check for check, (status, _) in checks.items() if status == "fail"]
    if name in family.LEAKS:
        check, tensor = family.LEAKS[name]
        if code != 1 or check not in failed:
            return f"expected {check} to fail"
        named = re.search(r"(?:^|[ ,:])" + re.escape(tensor) + r"(?:$|[ ,:])", checks[check][1])
        return "" if named else f"expected {tensor} to be named"
    if failed or code == 1:
        return "accused"
    if name in family.CLEAN:
        if name == "one_row" and "[1," not in text:
            return "expected one row"
        due = 3 if name == "one_row" else 0  # whose rows cannot be told apart
        return "" if code == due else f"expected exit code {due}, got {code}"
    return "" if code == 3 else f"expected exit code 3, got {code}"


def main():
    names = sys.argv[3:] or [*family.LEAKS, *family.CLEAN, *family.UNCERTAIN]
    faults = 0
    print(f"| decoder | verdict | failing checks: first tensor | s | T = {POSITIONS} |")
    print("|---|---|---|---|---|")
    for name in names:
        code, text, seconds = judge(name)
        fault = fault_of(name, code, text)
        checks = checks_of(text)
        told = "; ".join(f"{check}: {summary}" for check, (status, summary) in checks.items()
                         if status != "pass")
        verdict = {0: "pass", 1: "leak", 3: "inconclusive"}.get(code, f"exit code {code}")
        print(f"| {name} | {verdict} | {told[:150]} | {seconds:.1f} | {fault or 'as expected'} |")
        if fault:
            faults += 1
            print(text)
    print(f"{len(names)} decoders, {faults} not as expected")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
