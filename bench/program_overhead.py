"""What judging a program costs beside judging its numbers in a dump, and what share of a leak run
is spent outside the program.

    /usr/bin/python3 bench/program_overhead.py build/release/cli/assay [--rounds 5]

Numbers: golden files of 1 MB and of some hundred MB, their forward pass in float64 as a .npz dump,
judged as file: and by a program that answers with a copy of that file. Its own time, start
included, is shown apart. Leaks: examples/numpy_llama.py, preset small; the program works from when
a line arrives until its answer stands, while it starts, and while it ends: the last is measured
apart, from the end of its input until the process is gone. Medians of the rounds, wall seconds.
Wants numpy; exits with 77 where it is missing.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples")

# Appends "begin end start|request" of each stretch of work of this process, in seconds since the
# machine started.
STRETCHES = r"""
import os, sys, time

def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)

with open("/proc/self/stat") as file:
    BEGIN = [int(file.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK"), "start"]

def rests():
    with open(sys.argv[1], "a") as file:
        file.write(f"{BEGIN[0]} {now()} {BEGIN[1]}\n")

def works():
    BEGIN[:] = [now(), "request"]

class Lines:
    def __iter__(self):
        while True:
            rests()
            line = sys.__stdin__.readline()
            works()
            if not line:
                return
            yield line
"""

COPY = STRETCHES + r"""
import json, shutil

for line in Lines():
    message = json.loads(line)
    if message["type"] == "hello":
        folder, answer = message["folder"], {"name": "copy", "storage": "fp64"}
    elif message["type"] == "run":
        shutil.copyfile(sys.argv[2], os.path.join(folder, "answer.npz"))
        answer = {"id": message["id"], "file": "answer.npz"}
    else:
        break
    print(json.dumps(answer), flush=True)
"""

LLAMA = STRETCHES + r"""
import numpy_llama

sys.stdin = Lines()
numpy_llama.main()
"""


def seconds_of(command):
    begin = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "PYTHONPATH": EXAMPLES})
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}:\n{done.stdout.decode()}")
    return time.monotonic() - begin


def covered(path):
    """Seconds in which at least one process worked, and the numbers of stretches and starts."""
    with open(path) as file:
        lines = [line.split() for line in file]
    starts = sum(line[2] == "start" for line in lines)
    stretches = sorted((float(begin), float(end)) for begin, end, _ in lines)
    os.remove(path)
    total = reached = 0.0
    for begin, end in stretches:
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total, len(stretches), starts


def judged(assay, rounds, name, *options):
    subprocess.run([assay, "generate", *options, "--out", f"{name}.h5"], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([assay, "export", f"{name}.h5", "--only", "forward/*", "--to", "whole.npz"],
                   check=True, stdout=subprocess.DEVNULL)
    with numpy.load("whole.npz") as whole:
        numpy.savez("dump.npz", **{key[len("forward/"):]: whole[key] for key in whole})
    os.remove("whole.npz")
    times = {"file": [], "exec": [], "program": []}
    for _ in range(rounds):
        verify = [assay, "verify", f"{name}.h5", "--precision", "fp64", "--subject"]
        times["file"].append(seconds_of([*verify, "file:dump.npz"]))
        times["exec"].append(seconds_of(
            [*verify, f"exec:{sys.executable} copy.py stretches dump.npz"]))
        times["program"].append(covered("stretches")[0])
    of = {key: statistics.median(values) for key, values in times.items()}
    print(f"{name}: {os.path.getsize('dump.npz') / 1e6:.1f} MB; file: {of['file']:.3f} s, exec: "
          f"{of['exec']:.3f} s = {of['exec'] / of['file']:.2f}x, of which the program "
          f"{of['program']:.3f} s; without it {(of['exec'] - of['program']) / of['file']:.2f}x")


def ending():
    """Seconds that the program takes to end, once nothing is left to read."""
    program = subprocess.Popen([sys.executable, "llama.py", "ends"], stdin=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": EXAMPLES})
    while not os.path.exists("ends") or os.path.getsize("ends") == 0:
        time.sleep(0.01)
    begin = time.monotonic()
    program.stdin.close()
    program.wait()
    seconds = time.monotonic() - begin
    os.remove("ends")
    return seconds


def leaks(assay, rounds, *options):
    shares, requests = [], 0
    end = statistics.median(ending() for _ in range(rounds))
    for _ in range(rounds):
        seconds = seconds_of([assay, "leak", "--method", "plain", *options, "--subject",
                              f"exec:{sys.executable} llama.py stretches"])
        work, requests, starts = covered("stretches")
        shares.append(1 - (work + starts * end) / seconds)
    print(f"leak {' '.join(options)}: {requests} stretches of work, {seconds:.2f} s, {starts} "
          f"programs that end in {1e3 * end:.0f} ms each; "
          f"{100 * statistics.median(shares):.1f} % outside the program")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    assay = os.path.abspath(options.assay)
    with tempfile.TemporaryDirectory(prefix="assay-overhead-") as folder:
        os.chdir(folder)
        for name, text in (("copy.py", COPY), ("llama.py", LLAMA)):
            with open(name, "w") as file:
                file.write(text)
        plain = ("--method", "plain", "--seq")
        judged(assay, options.rounds, "small", *plain, "32")
        judged(assay, options.rounds, "large", *plain, "1024", "--preset", "small")
        leaks(assay, options.rounds, "--preset", "small", "--seq", "32")
        os.chdir("/")


if __name__ == "__main__":
    main()
