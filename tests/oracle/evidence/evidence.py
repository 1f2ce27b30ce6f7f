"""Implementations against the judge, as running programs: the tables of docs/evidence.md.

    python tests/oracle/evidence/evidence.py build/release/cli/assay --out docs/evidence.md

Every one is right and has to pass, with four sets of weights; then defects are planted, which have
to be found. --programs, --models, --modes, --weights, --positions and --types take fewer, --planted
none or only defects; --work keeps golden files and results, to go on from where it stopped. Exits
with 1 where a right program fails, 77 (skip) where torch or transformers is missing
(tests/oracle/evidence/requirements.txt).
"""

import argparse
import collections
import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
try:
    import torch  # noqa: F401
    import transformers

    import hf_models
    import hf_table
    import planted
    import programs
    import relay
    import texts
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
import pages

ALL = ("fp32", "bf16", "fp16")
# program: models, modes, types
PROGRAMS = {
    "transformers": (tuple(hf_models.FAMILIES),
                     ("eager", "sdpa", "eager compiled", "sdpa compiled"), ALL),
    "torch_llama": (("llama",), ("eager",), ALL),
    "numpy_llama": (("llama",), ("eager",), ("fp32",)),
    "jax_llama": (("llama",), ("eager", "jit"), ALL),
    "onnxruntime": (("llama",), ("as exported", "optimised"), ("fp32",)),
    "ctranslate2": (("llama", "gpt2"), ("eager",), ("fp32",)),
}
Case = collections.namedtuple("Case", "program kind mode weights positions precision defect")


class Bench(hf_table.Bench):
    def __init__(self, assay, folder):
        super().__init__(assay, folder)
        self.socket = os.path.join(folder, f"socket-{os.getpid()}")
        self.server = multiprocessing.get_context("fork").Process(target=self.answer, daemon=False)
        self.server.start()

    def answer(self):
        relay.serve(self.socket, lambda case: programs.run(json.loads(case)))

    def close(self):
        self.server.terminate()
        self.server.join()
        for path in (self.socket, f"{self.folder}/report-{os.getpid()}.json"):
            if os.path.exists(path):
                os.remove(path)

    def judge(self, case):
        golden, _ = self.golden_of(case)
        words = [sys.executable, "-S", f"{HERE}/relay.py", self.socket, json.dumps(case._asdict())]
        report = f"{self.folder}/report-{os.getpid()}.json"
        more = []
        if case.mode.startswith("sdpa"):
            more = ["--leave-out", hf_table.UNSEEN_BY_SDPA]
        if case.program == "ctranslate2":
            more = ["--only", "logits"]
        start = time.perf_counter()
        done = self.run("verify", golden, "--subject", "exec:" + shlex.join(words), "--precision",
                        case.precision, "--json", report, "--force", "--timeout", "600", *more,
                        good=(0, 1, 3))
        seconds = time.perf_counter() - start
        with open(report, encoding="utf-8") as file:
            found = json.load(file)
        said = {"verdict": found["verdict"], "subject": found["subject"].split(" (exec:")[0]}
        if found["checkpoints"] and any(row["compared"] for row in found["checkpoints"]):
            said.update(hf_table.outcome_of(found, 0, seconds))
        else:
            said.update(free=None, local=None, first="", views="", notes=[],
                        said=done.stdout.decode()[-600:])
        return {**said, "seconds": seconds}

    def golden_of(self, case):
        """Two rows of few positions, one of many; what hf_table makes otherwise."""
        if case.positions > 64:
            return super().golden_of(case)
        _, folder = super().golden_of(case)
        return self.once(f"{folder}-{case.positions}-of-2.h5", "generate", "--weights", folder,
                         "--method", "plain", "--seq", str(case.positions), "--batch", "2",
                         "--out"), folder


def defects_of(program, kind, mode):
    if program == "transformers":
        return planted.names_of(kind, mode)
    return list(texts.DEFECTS) if program in ("numpy_llama", "jax_llama") else []


def cases_of(options):
    for program in options.programs:
        kinds, modes, types = PROGRAMS[program]
        for kind in (k for k in kinds if k in options.models):
            for mode in (m for m in modes if not options.modes or m in options.modes):
                for precision in (t for t in types if t in options.types):
                    if options.planted != "only":
                        for positions in options.positions:
                            for weights in options.weights:
                                yield Case(program, kind, mode, weights, positions, precision, "")
                    few = "compiled" in mode or precision == "fp16" or options.planted == "none"
                    # Of a few positions in 16 bits too little is seen of eps.
                    positions = 19 if precision == "fp32" else 130
                    for defect in [] if few else defects_of(program, kind, mode):
                        yield Case(program, kind, mode, "drawn", positions, precision, defect)


def due(case):
    """The checkpoint that is wrong first."""
    if case.program == "transformers":
        return planted.first_of(case.defect, case.mode)
    return texts.DEFECTS[case.defect][2]


def parsed():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = lambda kind: lambda text: [kind(part) for part in text.split(",")]
    parser.add_argument("assay")
    parser.add_argument("--out", help="page whose tables are replaced")
    parser.add_argument("--work", help="folder that keeps golden files and results")
    parser.add_argument("--programs", type=listed(str), default=list(PROGRAMS))
    parser.add_argument("--models", type=listed(str), default=list(hf_models.FAMILIES))
    parser.add_argument("--modes", type=listed(str), default=[])
    parser.add_argument("--weights", type=listed(str), default=list(hf_table.WEIGHTS))
    parser.add_argument("--positions", type=listed(int), default=[19, 130, 1024])
    parser.add_argument("--types", type=listed(str), default=list(ALL))
    parser.add_argument("--planted", choices=["none", "only", "too"], default="too")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    return parser.parse_args()


def results_of(options, folder):
    """Those of this call, and with --work those of earlier ones."""
    path, results = f"{folder}/results.jsonl", {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            results = {Case(*row["case"]): row for row in map(json.loads, file)}
    bench = Bench(options.assay, folder)
    try:
        with open(path, "a", encoding="utf-8") as file:
            for case in cases_of(options):
                if case in results and not options.again:
                    continue
                said = {"case": case, "due": due(case) if case.defect else "", **bench.judge(case)}
                results[case] = said
                file.write(json.dumps(said) + "\n")
                file.flush()
                print(*case, "->", said["verdict"], said["free"], said["local"], said["first"],
                      f"{said['seconds']:.1f} s", said.get("said", ""), flush=True)
    finally:
        bench.close()
    return results


def main():
    options = parsed()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="assay-evidence-") as temporary:
        folder = os.path.abspath(options.work or temporary)
        os.makedirs(folder, exist_ok=True)
        results = results_of(options, folder)
    if options.out:
        pages.replace_tables(options.out, pages.tables(results))
    else:
        print(pages.tables(results))
    if not any(True for _ in cases_of(options)):
        sys.exit("evidence: no case is of these models, modes and precisions")
    alarms = pages.false_alarms(results)
    for case in alarms:
        print("false alarm:", *case)
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
