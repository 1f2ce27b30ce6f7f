"""The program under test, for tests of the command line in Python."""

import os
import subprocess
import sys


class Command:
    """Runs assay and compares what comes of it. stops: a failure ends the test at once; else it is
    counted, and `failures` says how many there were."""

    def __init__(self, path, stops=False):
        self.path, self.stops, self.failures = os.path.abspath(path), stops, 0

    def fail(self, text):
        if self.stops:
            sys.exit(f"FAIL: {text}")
        self.failures += 1
        print(text)

    def run(self, *arguments):
        """Exit code, and standard output before standard error."""
        done = subprocess.run([self.path, *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def expect(self, code, parts, *arguments):
        """Every one of the parts is said, and ends with that exit code; returns what is said."""
        got, said = self.run(*arguments)
        parts = [parts] if isinstance(parts, str) else parts
        missing = [part for part in parts if part not in said]
        if got != code or missing:
            self.fail(f"assay {' '.join(arguments)}: expected exit code {code} and "
                      f"{missing or parts}, got {got}: {said}")
        return said
