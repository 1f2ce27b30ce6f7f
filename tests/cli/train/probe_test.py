"""`assay overfit --probe`: live models of a Markov chain, right and spoilt, judged by their own
losses on train, val and fresh tokens.

usage: probe_test.py ASSAY EXAMPLES
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ASSAY = sys.argv[1]
MODEL = pathlib.Path(__file__).with_name("probed_model.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": sys.argv[2], "OMP_NUM_THREADS": "1"}
LAW, V, T = "markov:order=1,vocab=8", 8, 64
failures = []


def assay(*arguments):
    done = subprocess.run([ASSAY, *map(str, arguments)], capture_output=True, text=True,
                          check=False, env=ENVIRONMENT)
    return done.returncode, done.stdout + done.stderr


def expect(what, condition, shown=""):
    if not condition:
        failures.append(what)
        print(f"expected: {what}; got: {shown}")


def table_of(folder):
    """The law itself: each pair of tokens tells its own probability; one that does not come in
    500,000 tokens is seldom."""
    path = folder / "many.npz"
    assay("data", LAW, "--rows", 1000, "--positions", 500, "--set", "train", "--out", path)
    data = np.load(path)
    log_p = np.full((V, V), np.log(1e-6))
    log_p[data["tokens"][:, :-1], data["tokens"][:, 1:]] = data["oracle_log_probs"][:, 1:]
    return log_p


class Probes:
    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "train.npz"
        assay("data", LAW, "--rows", 96, "--positions", T, "--out", self.data)
        self.table = folder / "table.npz"
        np.savez(self.table, log_p=table_of(folder))

    def subject(self, way, kind="exec"):
        return f"{kind}:{sys.executable} '{MODEL}' '{way}' {self.table} {self.data}"

    def probe(self, way, *options, kind="exec", data=True, law=True):
        files = [self.data] if data else []
        return assay("overfit", *files, "--probe", "--subject", self.subject(way, kind), "--rows",
                     96, *(["--oracle", LAW] if law else []), *options)

    def verdict(self, way, expected, expected_code, *options, says="", **kinds):
        report = self.folder / "report.json"
        code, text = self.probe(way, "--json", report, "--force", *options, **kinds)
        found = json.loads(report.read_text())["verdict"] if code in (0, 1, 3) else text
        expect(f"{way} {options} {kinds}: {expected} and exit code {expected_code}, '{says}'",
               found == expected and code == expected_code and says in text,
               f"{found}, {code}\n{text}")


def check_verdicts(probes):
    seed = ("--seed", 5)
    probes.verdict("right", "HEALTHY", 0, *seed, says="logits do not move with the labels")
    probes.verdict("right", "HEALTHY", 0, says="drawn now with seed")
    probes.verdict("right", "HEALTHY", 0, *seed, kind="exec-once")
    probes.verdict("right", "HEALTHY", 0, *seed, "--batch", 7, "--positions", 40)
    probes.verdict("right", "HEALTHY", 0, *seed, "--data-seed", 1, "--train-rows", 96, data=False,
                   says="train: 96 rows, drawn again with seed 1")
    probes.verdict("one row at a time", "HEALTHY", 0, *seed, says="one at a time")
    probes.verdict("dropout", "HEALTHY", 0, *seed, says="differ by up to")
    probes.verdict("one token more", "HEALTHY", 0, *seed, "--vocab", V + 1)
    probes.verdict("other name", "HEALTHY", 0, *seed, "--logits", "scores")
    probes.verdict("peeks", "LEAK (behavioural)", 1, *seed)
    probes.verdict("labels", "LEAK (labels)", 1, *seed, says="with the labels alone")
    probes.verdict("labels to NaN", "LEAK (labels)", 1, *seed, says="with the labels alone")
    probes.verdict("not shifted", "SHIFT ERROR", 1, *seed)
    probes.verdict("memorised", "OVERFIT", 1, *seed)
    probes.verdict("memorised", "OVERFIT", 1, *seed, "--data-seed", 1, "--train-rows", 96,
                   "--positions", T, data=False)
    probes.verdict("flat", "UNDERFIT", 1, *seed)
    probes.verdict("constant", "DEGENERATE", 1, *seed)
    probes.verdict("no numbers", "DIVERGING", 1, *seed)


def check_missing(probes):
    """What nobody gave is said, and is no pass."""
    probes.verdict("right", "INSUFFICIENT", 3, "--seed", 5, data=False)
    probes.verdict("right", "INSUFFICIENT", 3, "--vocab", V, law=False)
    probes.verdict("peeks", "LEAK (behavioural)", 1, "--seed", 5, data=False)
    only = probes.folder / "only.npz"
    np.savez(only, **{"train/tokens": np.load(probes.data)["train/tokens"]})
    probes.verdict("right", "INSUFFICIENT", 3, "--seed", 5, "--train-data", only, data=False)
    probes.verdict("memorised", "OVERFIT", 1, "--seed", 5, "--train-data", only, data=False)


LIBRARY = r"""
#include <stdlib.h>
#include "assay_subject.h"
static int one;
int32_t assay_subject_abi(void) { return ASSAY_SUBJECT_ABI; }
int32_t assay_subject_open(const assay_subject_model* model, assay_subject** subject) {
  (void)model;
  *subject = (assay_subject*)&one;
  return 0;
}
int32_t assay_subject_describe(assay_subject* s, assay_subject_description* d) {
  (void)s;
  d->name = "flat";
  return 0;
}
int32_t assay_subject_run(assay_subject* s, const assay_subject_request* r) {
  const int64_t shape[3] = {r->batch, r->positions, 8};
  float* logits = calloc((size_t)(r->batch * r->positions * 8), sizeof(float));
  (void)s;
  const int32_t bad = r->hand_over(r->context, "logits", ASSAY_F32, 3, shape, logits);
  free(logits);
  return bad;
}
const char* assay_subject_error(assay_subject* s) { (void)s; return NULL; }
void assay_subject_close(assay_subject* s) { (void)s; }
"""


def check_library(probes):
    """A library that gives every token the same logits, of 8 tokens."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        print("check_library: skipped: no C compiler")
        return
    source, library = probes.folder / "flat.c", probes.folder / "flat.so"
    source.write_text(LIBRARY)
    header = pathlib.Path(sys.argv[2]).parent / "verify" / "subjects" / "library"
    subprocess.run([compiler, "-shared", "-fPIC", "-I", header, source, "-o", library], check=True)
    for law, expected, words in ((LAW, 1, "verdict: DEGENERATE"), ("uniform:vocab=8", 0, "HEALTHY"),
                                 ("uniform:vocab=9", 2, "expected [1,128,9], rows, positions")):
        code, text = assay("overfit", "--probe", "--subject", f"lib:{library}", "--oracle", law,
                           "--data-seed", 1, "--train-rows", 96, "--seed", 5)
        expect(f"a library on {law}: '{words}'", code == expected and words in text,
               f"{code}: {text}")


def check_losses_of_files(probes):
    """Losses that a file claims are not the model's: it was run."""
    arrays = dict(np.load(probes.data))
    arrays.update({f"{s}/losses": np.full((96, T), 0.01) for s in ("train", "val", "fresh")})
    claimed = probes.folder / "claimed.npz"
    np.savez(claimed, **arrays)
    report = probes.folder / "claimed.json"
    code, text = assay("overfit", claimed, "--probe", "--subject", probes.subject("right"),
                       "--oracle", LAW, "--rows", 96, "--seed", 5, "--json", report)
    expect("the model's own losses count", code == 0 and "are not looked at" in text, text)


def check_failures(probes):
    """What fails is said in a line, with exit code 2, and leaves nothing behind."""
    for way, words in (("one token more", "expected [16,64,8], rows, positions, tokens, got "
                                          "[16,64,9]; --vocab 9"),
                       ("last position missing", "got [16,63,8]; every position has to be there"),
                       ("transposed", "got [16,8,64]; its axes stand in another order"),
                       ("other name", "expected a tensor logits, got scores; --logits names it"),
                       ("ends", "exit code 3"), ("refuses", "no such tokens")):
        for kind in ("exec", "exec-once"):
            rows = () if way in ("ends", "refuses") else ("--batch", 16)
            report = probes.folder / "none.json"
            code, text = probes.probe(way, "--seed", 5, *rows, "--json", report, kind=kind)
            expect(f"{way}, {kind}: '{words}'",
                   code == 2 and words in text and not report.exists(), f"{code}: {text}")
    short = probes.folder / "short.npz"
    np.savez(short, **{"train/tokens": np.zeros((4, 3), int)})
    bad = probes.folder / "bad.npz"
    np.savez(bad, **{"train/tokens": np.full((4, T), V)})
    for options, words in ((("--subject", "simt"), "expected exec:COMMAND"),
                           (("--subject", "exec:"), "expected exec:COMMAND"),
                           (("--subject", "exec:/no/such/program"), "/no/such/program"),
                           (("--vocab", 4), "expected 8 or more"),
                           (("--rows", 0), "--rows 0"), (("--positions", 1), "--positions 1"),
                           (("--train-data", short, "--positions", 9), "expected 9 positions"),
                           (("--train-data", bad), "expected a token in 0 .. 7"),
                           (("--committed", "00", "--seed", 1), "expected the hash of --seed 1"),
                           (("--committed", "00"), "expected with --seed"),
                           (("--data-seed", 1), "--train-rows"),
                           (("--train-rows", 1), "--data-seed")):
        subject = () if options[0] == "--subject" else ("--subject", probes.subject("right"))
        code, text = assay("overfit", "--probe", "--oracle", LAW, *subject, *options)
        expect(f"{options} is refused: '{words}'", code == 2 and words in text, f"{code}: {text}")
    code, text = assay("overfit", "--probe", "--subject", probes.subject("right"))
    expect("a vocabulary is asked for", code == 2 and "--vocab" in text, text)
    code, text = assay("overfit", "--probe", "--oracle", LAW)
    expect("a subject is asked for", code == 2 and "--subject" in text, text)
    code, text = assay("overfit", probes.data, "--subject", "exec:true")
    expect("--subject alone is refused", code == 2 and "--probe" in text, text)


def main():
    for check in (check_verdicts, check_missing, check_library, check_losses_of_files,
                  check_failures):
        with tempfile.TemporaryDirectory() as folder:
            check(Probes(pathlib.Path(folder)))
    print(f"probe_test: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
