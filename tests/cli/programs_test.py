"""Programs as subjects. Usage: programs_test.py ASSAY EXAMPLES

A right program passes, each of its defects is found, and one that dies, hangs or lies is a clear
failure that leaves neither a process nor a file. Exits with 77 (skip) where numpy is missing.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

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
    "a link": ("os.symlink('/etc/passwd', h['folder'] + '/x.npz')\n"
               "print('{\"id\": 1, \"file\": \"x.npz\"}', flush=True); time.sleep(100)",
               "got 'x.npz'"),
    "a FIFO": ("os.mkfifo(h['folder'] + '/x.npz')\n"
               "print('{\"id\": 1, \"file\": \"x.npz\"}', flush=True); time.sleep(100)",
               "got 'x.npz'"),
    "fills the disk": ("f = open(h['folder'] + '/x.npz', 'w')\nwhile True: f.write('x' * 65536)",
                       "expected at most 20.0 MB (--max-response)"),
    "logs for ever": ("while True: os.write(2, b'x' * 65536)", "no answer within 1 s"),
    "takes memory": ("x = b'x' * 300000000; time.sleep(100)",
                     "expected at most 200.0 MB (--memory)"),
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


# Leaves its process group and its session by two forks, and says that it did.
DAEMON = HELLO + """
input()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(3):
            os.close(number)
        open(sys.argv[1], 'w').close()
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


def end_by_signals():
    """Assay ends by the signal, and with it the program, its daemon and its folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        folder = tempfile.mkdtemp(dir=".")
        process = subprocess.Popen(
            [ASSAY, "verify", "g.h5", "--subject", program("daemon.py", DAEMON) + " ready"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": os.path.abspath(folder)})
        while not os.path.exists("ready"):
            time.sleep(0.01)
        process.send_signal(number)
        code = process.wait()
        until = time.monotonic() + (10 if number == signal.SIGKILL else 0)
        while time.monotonic() < until and (os.listdir(folder) or
                                            "daemon.py" in commands_that_run()):
            time.sleep(0.01)
        if code != -number or os.listdir(folder) or "daemon.py" in commands_that_run():
            sys.exit(f"FAIL: {number!r}: exit code {code}, left {os.listdir(folder)}")
        os.remove("ready")


def program(name, text, way="exec"):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return f"{way}:{sys.executable} {name}"


def main():
    with open(os.path.join(EXAMPLES, "numpy_llama.py"), encoding="utf-8") as file:
        right = file.read()
    os.environ["PYTHONPATH"] = EXAMPLES
    with tempfile.TemporaryDirectory(prefix="assay-programs-") as folder:
        os.chdir(folder)
        judge_all(right)
        os.chdir("/")


def judge_once():
    """A program without a loop, and what is wrong with some."""
    with open(os.path.join(EXAMPLES, "numpy_once.py"), encoding="utf-8") as file:
        right = file.read()
    good = program("once.py", right, "exec-once")
    expect(0, "verdict: pass", "verify", "g.h5", "--subject", good)
    expect(0, "verdict: pass", "leak", "--method", "plain", "--seq", "4", "--subject", good)
    expect(0, "forward of numpy_once (exec-once:", "bench", "--preset", "tiny", "--seq", "8",
           "--runs", "1", "--no-scaling", "--subject", good)
    for old, new, found in (
            ('"file": "answer.npz", ', "", "expected in 'file' the name of a file in"),
            ('"name"', '"id": 9, "name"', "it answered another request: expected id 1, got 9"),
            ('"name"', '"error": "no GPU", "name"', "it refuses: no GPU"),
            ('"answer.npz"), **t', '"other.npz"), **t', "got 'answer.npz'"),
            ("json.dump(answer, file)", "pass", "its answer is no JSON object"),
            ("with open(sys.argv[2]", "sys.exit(5)\n    with open(sys.argv[2]",
             "it failed: ended with exit code 5"),
            ("    answer = {", "    return\n    answer = {", "it wrote no file")):
        assert old in right, old
        expect(1, found, "verify", "g.h5", "--subject",
               program("bad_once.py", right.replace(old, new), "exec-once"))


# What a program says of itself: the exit code and what is said then.
DESCRIPTIONS = (
    ({"batch": 1}, 0, "verdict: pass"),
    ({"batch": 3}, 0, "verdict: pass"),
    ({"positions": 20}, 0, "verdict: pass"),
    ({"positions": 21}, 2, "it takes 21 positions only: expected so many, got 20"),
    ({"tensors": ["logits", "loss"]}, 0, "52 checkpoints declared, 52 compared"),
    ({"tensors": "all", "format": "npz", "protocol": 1}, 0, "verdict: pass"),
    ({"tensors": ["logits", "no/such"]}, 0, "52 checkpoints declared, 52 compared"),
    ({"can": ["fly"]}, 1, "'can': expected words of forward, force, gradients"),
    ({"accumulation": "fp64"}, 1, "fp64 accumulation"),
    ({"accumulation": "bf16"}, 2, "'accumulation': expected no narrower type than fp32"),
    ({"accumulation": "fp8"}, 1, "'accumulation': expected fp64, fp32, tf32, bf16 or fp16, got"),
    ({"storage": "bf16"}, 2, "it computes in bf16: expected --precision bf16, got fp32"),
    ({"storage": 3}, 1, "'storage': expected a text, got 3"),
    ({"schedule": "lazy"}, 1, "'schedule': expected eager or fused, got"),
    ({"batch": 0}, 1, "'batch': expected a whole number from 1 or \"any\", got 0"),
    ({"wide": [1]}, 1, "'wide': expected a list of texts, got [1]"),
    ({"format": "gguf"}, 1, "'format': expected npz or safetensors or hdf5, got"),
    ({"protocol": 2}, 1, "'protocol': expected 1, got 2"),
)


def described(right, says):
    old = ('assay_subject.serve(run, can=["force"], storage="fp32", schedule="eager", '
           'angles="double")')
    assert old in right
    return program("described.py", right.replace(
        old, f"run.hello = lambda message: {says!r}\n"
             "    assay_subject.serve(run, 'described', angles='double')"))


def judge_descriptions(right):
    for says, code, found in DESCRIPTIONS:
        expect(code, found, "verify", "g.h5", "--subject", described(right, says))
    # What a program says that it gives excuses nothing: neither a fault in what it gives besides,
    # nor what is missing of what is required.
    wrong = right.replace("        return tensors\n",
                          "        tensors['layers/1/attn/q'] = tensors['layers/1/attn/q'] * 1.01\n"
                          "        return tensors\n")
    assert wrong != right
    expect(1, "FAIL /layers/1/attn/q", "verify", "g.h5", "--subject",
           described(wrong, {"tensors": ["embed"]}))
    few = right.replace("        return tensors\n",
                        "        return {n: tensors[n] for n in ('embed', 'logits')}\n")
    says = described(few, {"tensors": ["embed", "logits"]})
    expect(0, "verdict: pass: 2 of 52 checkpoints judged", "verify", "g.h5", "--subject", says)
    expect(1, "layers/0/attn_norm: missing", "verify", "g.h5", "--subject", says, "--require",
           "all")
    # Without more than is asked for.
    only = right.replace("        return tensors\n",
                         "        return {n: tensors[n] for n in request.wanted or tensors}\n")
    assert only != right
    expect(0, "verdict: pass", "verify", "g.h5", "--subject", program("only.py", only),
           "--only", "layers/1/attn/q,logits")
    expect(0, "verdict: pass", "verify", "g.h5", "--subject", program("only.py", only))
    code, said = judge("leak", "--method", "plain", "--seq", "9", "--subject",
                       described(right, {"batch": 1}))
    if code != 3 or "skipped       batch" not in said or "fail" in said:
        sys.exit(f"FAIL: one row at a time: {code}:\n{said}")


def judge_all(right):
    judge("generate", "--method", "plain", "--seq", "20", "--batch", "2", "--out", "g.h5")
    good = program("right.py", right)
    expect(0, "verdict: pass", "verify", "g.h5", "--subject", good, "--leakage")
    expect(0, "verdict: pass", "leak", "--method", "plain", "--subject", good)
    judge_once()
    judge_descriptions(right)
    for name, (old, new, found) in NUMBERS.items():
        assert old in right, name
        expect(1, found, "verify", "g.h5", "--subject",
               program("wrong.py", right.replace(old, new)))
    for name, (old, new, detector) in LEAKS.items():
        assert old in right, name
        code, said = judge("leak", "--method", "plain", "--subject",
                           program("leak.py", right.replace(old, new)))
        if code != 1 or not re.search(rf"^fail +{detector} ", said, re.MULTILINE):
            sys.exit(f"FAIL: {name}: expected {detector} to fail, got {code}:\n{said}")
    for text, found in BAD.values():
        bad = program("bad.py", HELLO + text + "\n")
        seconds = "1" if found == "no answer within 1 s" else "20"
        expect(1, found, "verify", "g.h5", "--subject", bad, "--timeout", seconds,
               "--max-response", "20000000", "--memory", "200000000")
    expect(2, "no such program", "verify", "g.h5", "--subject", "exec:./none")
    expect(2, "a ' that is not closed", "verify", "g.h5", "--subject", "exec:python3 'x")
    end_by_signals()
    if "bad.py" in commands_that_run():
        sys.exit("FAIL: a program is left")
    print(f"{len(NUMBERS) + len(LEAKS)} defects, {len(BAD)} programs that are none: as expected")


main()
