"""Programs as subjects. Usage: programs_test.py ASSAY EXAMPLES

A right program passes, each of its defects is found, and one that dies, hangs or lies is a clear
failure that leaves neither a process nor a file. Exits with 77 (skip) where numpy is missing.
"""

import os
import subprocess
import sys
import tempfile

try:
    import numpy  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ASSAY, EXAMPLES = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
# Of the example's class or loop, replaced; what the judge has to name.
NUMBERS = {
    "eps": ('np.float32(self.config["rms_norm_eps"])', "np.float32(1e-3)",
            "FAIL /layers/0/attn_norm"),
    "group": ("np.repeat(k, group, axis=1)", "np.tile(k, (1, group, 1, 1))",
              "FAIL /layers/0/attn/scores"),
    "scale": ("np.sqrt(np.float32(q.shape[-1]))", "np.float32(q.shape[-1])",
              "FAIL /layers/0/attn/scores"),
    "residual": ('"output", x + keep', '"output", keep', "FAIL /layers/0/output"),
}
LEAKS = {
    "mask": ("np.tril(np.ones(", "np.tril(k=1, m=np.ones(", "prefix"),
    "mean over time": ("mean = np.mean(x * x, axis=-1,", "mean = np.mean(x * x, axis=(1, 2),",
                       "prefix"),
    "neighbours": ('x = keep("embed", self', 'x = keep("embed", 1e-3 * request.tokens.sum() + self',
                   "batch"),
    "a mask kept": ('        x = keep("embed"',
                    "        visible = self.__dict__.setdefault(str(visible.shape), visible)\n"
                    '        x = keep("embed"', "state"),
}
# Programs that are none, by what they do behind a right answer to hello, and what is said of them.
HELLO = """
import sys, json, os, time
h = json.loads(input())
print(json.dumps({'name': 'bad'}), flush=True)
"""
BAD = {
    "ends": ("input(); sys.exit(3)", "it closed its output: ended with exit code 3"),
    "says why": ("sys.stderr.write('no such layer\\n'); os._exit(4)",
                 "its last words: no such layer"),
    "crashes": ("input(); os.kill(os.getpid(), 11)", "ended by Segmentation fault"),
    "hangs": ("time.sleep(100)", "no answer within 1 s"),
    "forks and hangs": ("os.fork(); os.fork(); time.sleep(100)", "no answer within 1 s"),
    "babbles": ("print('warming up', flush=True); time.sleep(100)", "its answer is no JSON object"),
    "never ends a line": ("while True: sys.stdout.write('x' * 65536)", "a line of more than 1 MB"),
    "another id": ("print('{\"id\": 99, \"file\": \"x.npz\"}', flush=True); time.sleep(100)",
                   "it answered another request: expected id 1, got 99"),
    "no file": ("print('{\"id\": 1, \"file\": \"x.npz\"}', flush=True); time.sleep(100)",
                "got 'x.npz'"),
    "a file elsewhere": ("print('{\"id\": 1, \"file\": \"/etc/passwd\"}', flush=True); "
                         "time.sleep(100)", "got '/etc/passwd'"),
    "half a file": ("open(h['folder'] + '/x.npz', 'wb').write(b'PK')\n"
                    "print('{\"id\": 1, \"file\": \"x.npz\"}', flush=True); time.sleep(100)",
                    "its answer cannot be read"),
    "refuses": ("input(); print('{\"id\": 1, \"error\": \"too long\"}', flush=True)",
                "it failed: too long"),
}


def judge(*arguments):
    folder = tempfile.mkdtemp(dir=".")
    done = subprocess.run([ASSAY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, env={**os.environ, "TMPDIR": os.path.abspath(folder)})
    left = os.listdir(folder)
    if left:
        sys.exit(f"FAIL: {arguments}: left {left}")
    return done.returncode, done.stdout.decode()


def expect(code, part, *arguments):
    got, said = judge(*arguments)
    if got != code or part not in said:
        sys.exit(f"FAIL: {' '.join(arguments)}: expected exit code {code} and '{part}', got "
                 f"{got}:\n{said}")


def commands_that_run():
    text = ""
    for process in os.listdir("/proc"):
        try:
            with open(f"/proc/{process}/cmdline", encoding="utf-8", errors="replace") as file:
                text += file.read() + "\n"
        except OSError:  # no process, or gone
            pass
    return text


def program(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return f"exec:{sys.executable} {name}"


def main():
    with open(os.path.join(EXAMPLES, "numpy_llama.py"), encoding="utf-8") as file:
        right = file.read()
    os.environ["PYTHONPATH"] = EXAMPLES
    with tempfile.TemporaryDirectory(prefix="assay-programs-") as folder:
        os.chdir(folder)
        judge_all(right)
        os.chdir("/")


def judge_all(right):
    judge("generate", "--method", "plain", "--seq", "20", "--batch", "2", "--out", "g.h5")
    good = program("right.py", right)
    expect(0, "verdict: pass", "verify", "g.h5", "--subject", good, "--leakage")
    expect(0, "verdict: pass", "leak", "--method", "plain", "--subject", good)
    for name, (old, new, found) in NUMBERS.items():
        assert old in right, name
        expect(1, found, "verify", "g.h5", "--subject",
               program("wrong.py", right.replace(old, new)))
    for name, (old, new, detector) in LEAKS.items():
        assert old in right, name
        code, said = judge("leak", "--method", "plain", "--subject",
                           program("leak.py", right.replace(old, new)))
        if code != 1 or not any(line.startswith("fail") and detector in line
                                for line in said.splitlines()):
            sys.exit(f"FAIL: {name}: expected {detector} to fail, got {code}:\n{said}")
    for text, found in BAD.values():
        bad = program("bad.py", HELLO + text + "\n")
        seconds = "1" if found == "no answer within 1 s" else "20"
        expect(1, found, "verify", "g.h5", "--subject", bad, "--timeout", seconds)
    expect(2, "no such program", "verify", "g.h5", "--subject", "exec:./none")
    expect(2, "a ' that is not closed", "verify", "g.h5", "--subject", "exec:python3 'x")
    if "bad.py" in commands_that_run():
        sys.exit("FAIL: a program is left")
    print(f"{len(NUMBERS) + len(LEAKS)} defects, {len(BAD)} programs that are none: as expected")


main()
