"""Programs that misbehave, hundreds of ways at random times: each is a clear failure within its
limits, and neither a process nor a file of it is left.

usage: programs.py ASSAY [--runs N] [--seed S] [--only WORD]

Exits with 77 (skip) where numpy is missing.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

try:
    import numpy  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

TIMEOUT_S = 2  # --timeout
HANG_S = 60  # far beyond all that a run may take

# A right program: it answers with what a golden file holds. What is spoilt calls `spoil(place)`.
PROGRAM = r"""
import json, os, random, shutil, signal, struct, sys, threading, time, zipfile
import numpy as np

HERE, KIND, PLACE, FORMAT = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4]
RANDOM = random.Random(int(sys.argv[5]))
TENSORS = dict(np.load(os.path.join(HERE, "right.npz")))
BUSY = "x" * 65536

def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()

def write_safetensors(path, tensors):
    types = {"float32": "F32", "float64": "F64", "int32": "I32", "float16": "F16"}
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": types.get(str(array.dtype), "C64"), "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)

def write(path, tensors):
    if path.endswith(".npz"):
        np.savez(path, **tensors)
    elif path.endswith(".safetensors"):
        write_safetensors(path, tensors)
    else:
        import h5py
        with h5py.File(path, "w") as file:
            for name, array in tensors.items():
                file[name] = array

def spoil(where, message=None, folder=None):
    "Misbehaves if this is the place; True: there is no right answer to give any more."
    if where != PLACE:
        return False
    act = globals()["do_" + KIND.replace("-", "_")]
    return act(message, folder) is not False

def main():
    spoil("start")
    hello = json.loads(sys.stdin.readline())
    folder = hello["folder"]
    if not spoil("hello", hello, folder):
        say(json.dumps({"name": "spoilt", "storage": "fp64"}))
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "bye":
            return
        if not spoil("run", message, folder):
            file = "answer." + FORMAT
            write(os.path.join(folder, file), TENSORS)
            spoil("written", message, folder)
            say(json.dumps({"id": message["id"], "file": file}))
"""

# What it does: its name, the places, the code. `f` is the folder, `m` the message.
ACTS = {}


def act(name, places, code):
    ACTS[name] = (places.split(), code)


ANY, RUN = "start hello run written", "run"
act("exit", ANY, "os._exit(RANDOM.choice([0, 1, 3, 255]))")
act("killed", ANY, "os.kill(os.getpid(), RANDOM.choice([6, 8, 9, 11, 15]))")
act("raises", ANY, "raise RuntimeError('no such layer')")
act("sleeps", ANY, "time.sleep(1000)")
act("stops", ANY, "os.kill(os.getpid(), signal.SIGSTOP)")
act("deaf", ANY, """
    for n in (1, 2, 3, 13, 15): signal.signal(n, signal.SIG_IGN)
    time.sleep(1000)""")
act("forks", ANY, """
    for i in range(3): os.fork()
    time.sleep(1000)""")
act("daemon", ANY, """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for n in (0, 1, 2): os.close(n)
            time.sleep(1000)
        os._exit(0)
    os._exit(1)""")
act("daemon-keeps-output", ANY, """
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    os._exit(4)""")
act("closes-output", ANY, "os.close(1); time.sleep(1000)")
act("closes-input", "start hello", "os.close(0); time.sleep(1000)")
act("closes-all", ANY, "os.closerange(0, 64); time.sleep(1000)")
act("babbles", "start hello run", """
    for i in range(RANDOM.randint(1, 5)): say(RANDOM.choice(['warming up', '', '[]', '3', 'null']))
    return False""")
act("garbage", "start hello run", """
    os.write(1, bytes(RANDOM.randrange(256) for i in range(RANDOM.randint(1, 5000))) + b'\\n')
    return False""")
act("endless-output", ANY, "\n    while True: os.write(1, BUSY.encode())")
act("endless-lines", "start hello", "\n    while True: say('{}')")
act("endless-log", ANY, "\n    while True: os.write(2, BUSY.encode())")
act("endless-file", ANY.replace("start ", ""), """
    with open(os.path.join(f, 'heap'), 'w') as file:
        while True: file.write(BUSY)""")
act("endless-files", "hello run", """
    for i in range(10**9):
        open(os.path.join(f, str(i)), 'w').write('x' * 1000)""")
act("endless-file-in-model", "run", """
    with open(os.path.join(f, 'model', 'heap'), 'w') as file:
        while True: file.write(BUSY)""")
act("long-line", "hello run", "say('{\"name\": \"' + 'x' * 2000000 + '\"}')")
act("deep-json", "hello run", "say('{\"a\":' * 100000 + '1' + '}' * 100000)")
act("nan-json", "hello run", "say('{\"name\": \"x\", \"id\": NaN}')")
act("half-json", "hello run", """
    sys.stdout.write('{\"id\": 1, ')
    sys.stdout.flush()
    time.sleep(1000)""")
act("twice-a-key", "hello run", "say('{\"name\": \"a\", \"name\": \"b\", \"id\": 1, \"id\": 1}')")
act("no-name", "hello", "say(RANDOM.choice(['{}', '{\"name\": 3}', '{\"name\": \"\"}']))")
act("odd-hello", "hello", """say(json.dumps({'name': 'odd', **RANDOM.choice([
        {'storage': 'int8'}, {'storage': 3}, {'can': 'x' * 300000}, {'can': [1]}, {'wide': {}},
        {'schedule': 'lazy'}, {'angles': []}, {'protocol': 2}, {'batch': 0}, {'batch': -1},
        {'batch': 1.5}, {'positions': 10**30}, {'tensors': [None]}, {'format': 'gguf'},
        {'accumulation': 'fp8'}, {'error': 'no'}, {'error': ['no']}, {'storage': 'fp32'}])}))""")
act("another-id", RUN, """say(json.dumps({'id': RANDOM.choice([0, 99, -1, 1.5, '1', None, [1]]),
        'file': 'x.npz'}))""")
act("no-id", RUN, "say('{\"file\": \"x.npz\"}')")
act("odd-file", RUN, """
    file = RANDOM.choice(['', '.', '..', 'none.npz', '/etc/passwd', '../run', 'model', 'a/b',
                          'x\\0y', 3, None, ['x'], 'x' * 5000])
    say(json.dumps({'id': m['id'], 'file': file}))""")
act("refuses", RUN, "say(json.dumps({'id': m['id'], 'error': 'out of memory'}))")
act("symlink", RUN, """
    write(os.path.join(f, 'real.npz'), TENSORS)
    os.symlink(os.path.join(f, 'real.npz'), os.path.join(f, 'x.npz'))
    say(json.dumps({'id': m['id'], 'file': 'x.npz'}))""")
act("fifo", RUN, """
    os.mkfifo(os.path.join(f, 'x.' + FORMAT))
    say(json.dumps({'id': m['id'], 'file': 'x.' + FORMAT}))""")
act("folder", RUN, """
    os.mkdir(os.path.join(f, 'x.' + FORMAT))
    say(json.dumps({'id': m['id'], 'file': 'x.' + FORMAT}))""")
act("empty-file", RUN, """
    open(os.path.join(f, 'x.' + FORMAT), 'w').close()
    say(json.dumps({'id': m['id'], 'file': 'x.' + FORMAT}))""")
act("truncated", "written", """
    path = os.path.join(f, 'answer.' + FORMAT)
    os.truncate(path, RANDOM.randrange(os.path.getsize(path)))""")
act("damaged", "written", """
    path = os.path.join(f, 'answer.' + FORMAT)
    with open(path, 'r+b') as file:  # where values stand, as in headers
        for i in range(200):
            file.seek(RANDOM.randrange(os.path.getsize(path)))
            file.write(bytes([RANDOM.randrange(256)]))""")
act("noise", "written", """
    with open(os.path.join(f, 'answer.' + FORMAT), 'wb') as file:
        file.write(bytes(RANDOM.randrange(256) for i in range(RANDOM.randint(1, 20000))))""")
act("removed", "written", "os.remove(os.path.join(f, 'answer.' + FORMAT))")
act("sparse", "written", "os.truncate(os.path.join(f, 'answer.' + FORMAT), 1 << 42)")
act("folder-removed", "hello run written", "shutil.rmtree(f); return False")
act("folder-replaced", "run", """
    shutil.rmtree(f)
    os.symlink('/', f)
    say(json.dumps({'id': m['id'], 'file': 'etc'}))""")
act("no-way-in", "run", """
    os.makedirs(os.path.join(f, 'a', 'b'))
    os.chmod(os.path.join(f, 'a'), 0)
    time.sleep(1000)""")
act("deep-folders", "run", """
    os.chdir(f)
    for i in range(600):
        os.mkdir('d')
        os.chdir('d')
    os._exit(1)""")
act("kills-its-keeper", ANY, "os.kill(os.getppid(), 9); time.sleep(1000)")
act("answers-twice", RUN, """
    say(json.dumps({'id': m['id'], 'error': 'first'}))
    say(json.dumps({'id': m['id'], 'error': 'second'}))""")
TENSOR_ACTS = {
    "no-tensor": "t.clear()",
    "one-missing": "del t[n]",
    "one-more": "t['layers/0/attn/qq'] = t[n]",
    "misnamed": "t[n + '_'] = t.pop(n)",
    "transposed": "n = 'layers/0/attn/q'; t[n] = t[n].swapaxes(1, 2)",
    "one-row": "n = 'embed'; t[n] = t[n][:, :1]",
    "flat": "n = 'embed'; t[n] = t[n].ravel()",
    "empty": "n = 'embed'; t[n] = t[n][:0]",
    "scalar": "n = 'embed'; t[n] = np.float32(1)",
    "nan": "t[n] = t[n].copy(); t[n].flat[RANDOM.randrange(t[n].size)] = np.nan",
    "infinite": "n = 'logits'; t[n] = t[n].copy(); t[n].flat[0] = np.inf",
    "zeros": "n = 'logits'; t[n] = np.zeros_like(t[n])",
    "one-value": "n = 'logits'; t[n] = t[n].copy(); t[n].flat[-1] += 1",
    "half": "n = 'logits'; t[n] = t[n].astype(np.float16)",
    "integers": "n = 'logits'; t[n] = t[n].astype(np.int32)",
    "complex": "n = 'logits'; t[n] = t[n].astype(np.complex64)",
    "text": "n = 'logits'; t[n] = np.array(['a', 'b'])",
    "booleans": "n = 'logits'; t[n] = t[n] > 0",
    "huge-shape": "n = 'logits'; t[n] = np.lib.stride_tricks.as_strided(t[n], (1 << 20,), (0,))",
}
for NAME, CODE in TENSOR_ACTS.items():
    act("tensors-" + NAME, "run", f"""
    t = dict(TENSORS)
    n = RANDOM.choice([name for name in t if t[name].size > 1])
    {CODE}
    write(os.path.join(f, 'x.' + FORMAT), t)
    say(json.dumps({{'id': m['id'], 'file': 'x.' + FORMAT}}))""")
act("twice-a-tensor", "run", """
    path = os.path.join(f, 'x.npz')
    np.savez(path, **TENSORS)
    with zipfile.ZipFile(path, 'a') as z: z.writestr('logits.npy', z.read('logits.npy'))
    say(json.dumps({'id': m['id'], 'file': 'x.npz'}))""")


def formats():
    try:
        import h5py  # noqa: F401
    except ImportError:
        return ["npz", "safetensors"]
    return ["npz", "safetensors", "h5"]


def program_text():
    text = PROGRAM
    for name, (_, code) in ACTS.items():
        body = code if code.startswith("\n") else "\n    " + code
        text += f"\ndef do_{name.replace('-', '_')}(m, f):{body}\n"
    return text + "\nmain()\n"


def processes_with(word):
    found = []
    for process in os.listdir("/proc"):
        if not process.isdigit() or int(process) == os.getpid():
            continue
        try:
            with open(f"/proc/{process}/cmdline", encoding="utf-8", errors="replace") as file:
                words = file.read()
            with open(f"/proc/{process}/stat", encoding="utf-8") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
        except OSError:  # it is gone
            continue
        if word in words and state != "Z":
            found.append(f"{process}: {words!r}")
    return found


# A keeper that its program killed cannot wait for what was below it.
def processes_left(word, patient):
    until = time.monotonic() + (5 if patient else 0)
    while left := processes_with(word):
        if time.monotonic() > until:
            return left
        time.sleep(0.02)
    return []


def problem_of(assay, folder, kind, place, form, seed):
    scratch = os.path.join(folder, "tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    os.mkdir(scratch)
    mark = f"spoilt-{os.getpid()}-{seed}.py"
    os.rename(os.path.join(folder, "spoilt.py"), os.path.join(folder, mark))
    command = [sys.executable, mark, folder, kind, place, form, str(seed)]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            [assay, "verify", "g.h5", "--subject", "exec:" + " ".join(command),
             "--require", "all", "--strict",
             "--precision", "fp64", "--timeout", str(TIMEOUT_S), "--max-response", "8M"],
            cwd=folder, env={**os.environ, "TMPDIR": scratch}, timeout=HANG_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired:
        return f"hangs for more than {HANG_S} s"
    finally:
        os.rename(os.path.join(folder, mark), os.path.join(folder, "spoilt.py"))
    seconds = time.monotonic() - begin
    said = done.stdout.decode(errors="replace")
    if left := processes_left(mark, kind == "kills-its-keeper"):
        return f"leaves {left}"
    if left := os.listdir(scratch):
        return f"leaves {left}"
    if done.returncode not in {1, 2}:
        return f"exit code {done.returncode} after {seconds:.1f} s: {said[-600:]}"
    if not re.search(r"^(fail |assay: )", said, re.MULTILINE):
        return f"no message: {said[-600:]}"
    if "internal error" in said:
        return f"an internal error: {said[-600:]}"
    return ""


def prepared(assay, folder):
    """The golden file, what a right program answers, and the program."""
    subprocess.run([assay, "generate", "--method", "plain", "--seq", "8", "--out", "g.h5"],
                   cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([assay, "export", "g.h5", "--only", "forward/*", "--to", "given.npz"],
                   cwd=folder, check=True, stdout=subprocess.DEVNULL)
    given = dict(numpy.load(os.path.join(folder, "given.npz")))
    numpy.savez(os.path.join(folder, "right.npz"),
                **{name.removeprefix("forward/"): given[name] for name in given})
    with open(os.path.join(folder, "spoilt.py"), "w", encoding="utf-8") as file:
        file.write(program_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay")
    parser.add_argument("--runs", type=int, default=len(ACTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    assay = os.path.abspath(options.assay)
    bits, problems = random.Random(options.seed), []
    kinds = [kind for kind in ACTS if options.only in kind]
    with tempfile.TemporaryDirectory(prefix="assay-spoilt-") as folder:
        prepared(assay, folder)
        for form in formats():
            right = problem_of(assay, folder, "none", "nowhere", form, 0)
            if not right.startswith("exit code 0"):
                sys.exit(f"the right program does not pass with {form}: {right}")
        for n in range(options.runs):
            kind = kinds[n % len(kinds)]
            place, form = bits.choice(ACTS[kind][0]), bits.choice(formats())
            seed = bits.randrange(1 << 30)
            if problem := problem_of(assay, folder, kind, place, form, seed):
                problems.append(f"seed {options.seed}, run {n}, {kind} at {place}, {form}, "
                                f"{seed}: {problem}")
                print(problems[-1], flush=True)
    print(f"seed {options.seed}: {options.runs} misbehaviours of {len(kinds)} kinds, "
          f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
