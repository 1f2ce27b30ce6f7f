"""Libraries as subjects. Usage: libraries_test.py ASSAY SOURCE_DIR BUILD_DIR

The example is compiled as a user would, against the header that `cmake --install` puts down: right,
with defects that the judge has to name, with leaks; and libraries that are none. Exits with 77
(skip) where there is no compiler.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

ASSAY, SOURCE, BUILD = (os.path.abspath(path) for path in sys.argv[1:4])
CXX, CC = os.environ.get("CXX", "c++"), os.environ.get("CC", "cc")
if shutil.which(CXX) is None or shutil.which(CC) is None:
    print(f"skipped: no {CXX} or {CC}")
    sys.exit(77)
with open(os.path.join(SOURCE, "examples/llama_subject.cpp"), encoding="utf-8") as example:
    RIGHT = example.read()
# Of the example, replaced; what the judge has to name.
NUMBERS = {
    "eps": ("static_cast<float>(eps)", "1e-3f", "FAIL /layers/0/attn_norm"),
    "group": ("h / group", "(h + group) % k.shape[1]", "FAIL /layers/0/attn/scores"),
    "scale": ("1.0f / std::sqrt(static_cast<float>(Dh))", "1.0f / static_cast<float>(Dh)",
              "FAIL /layers/0/attn/scores"),
    "neighbours rotated": ("const float a = x.row(r)[d], b = x.row(r)[d + half];",
                           "const float a = x.row(r)[d], b = x.row(r)[d ^ 1];",
                           "FAIL /layers/0/attn/q"),
    "offset": ("static_cast<double>(r % T)", "static_cast<double>(r % T + 1)",
               "FAIL /layers/0/attn/q"),
    "wrong norm": ("rms_norm(x, layer.mlp_norm", "rms_norm(x, layer.attn_norm",
                   "FAIL /layers/0/mlp_norm"),
    "residual": ("sum_of(x, down)", "down", "FAIL /layers/0/output"),
    "gain": ("act.values[i] *= up", "act.values[i] *= 1.01f * up", "FAIL /layers/0/mlp/act"),
    "labels": ("positions + t + 1]", "positions + t]", "FAIL /loss"),
}
EMBEDDED = "x.row(r)[d] = row[d];"
LEAKS = {
    "mask": ([("s <= t &&", "s <= t + 1 &&")], "prefix"),
    "neighbours": ([(EMBEDDED, "x.row(r)[d] = row[d] + 1e-3f * static_cast<float>("
                               "request.tokens[0]);")], "batch"),
    "the first token kept": ([("std::string error;",
                               "std::string error;\n  mutable float first = -1;"),
                              ("Taps taps(request);", "Taps taps(request);\n    if (first < 0) "
                               "first = static_cast<float>(request.tokens[0]);"),
                              (EMBEDDED, "x.row(r)[d] = row[d] + 1e-3f * first;")], "state"),
}
# A library in C that does what BODY says, everything else being right.
FRAME = """
#include <assay_subject.h>
#include <stddef.h>
#include <stdlib.h>
static int here;
int32_t assay_subject_abi(void) { return ABI; }
int32_t assay_subject_open(const assay_subject_model* model, assay_subject** subject) {
  (void)model; OPEN; *subject = (assay_subject*)&here; return 0;
}
int32_t assay_subject_describe(assay_subject* subject, assay_subject_description* said) {
  (void)subject; said->name = "bad"; DESCRIBE; return 0;
}
int32_t assay_subject_run(assay_subject* subject, const assay_subject_request* request) {
  int64_t shape[17] = {2, 5, 32}; static float data[320];
  (void)subject; (void)request; (void)shape; (void)data; RUN;
}
const char* assay_subject_error(assay_subject* subject) { (void)subject; return WHY; }
void assay_subject_close(assay_subject* subject) { (void)subject; }
"""
DEFAULT = {"ABI": "ASSAY_SUBJECT_ABI", "OPEN": "", "DESCRIBE": "", "RUN": "return 0",
           "WHY": '"out of memory"'}
# A decoder of another kind with a model of its own: each state is a decaying sum of tokens. LATEST
# is the last position that position t sees.
OWN = """
#include <assay_subject.h>
#include <stdlib.h>
static const char* why = "none";
static int here;
int32_t assay_subject_abi(void) { return ASSAY_SUBJECT_ABI; }
int32_t assay_subject_open(const assay_subject_model* model, assay_subject** subject) {
  double x;
  if (model->config_json[0] != 0) { why = "it has its own model alone"; return 1; }
  if (model->read_weight(model->context, "lm_head.weight", &x, 1) == 0) return 1;
  *subject = (assay_subject*)&here;
  return 0;
}
int32_t assay_subject_describe(assay_subject* subject, assay_subject_description* said) {
  (void)subject; said->name = "sums"; said->storage = "fp32"; said->can_force = 1; return 0;
}
int32_t assay_subject_run(assay_subject* subject, const assay_subject_request* request) {
  const int64_t B = request->batch, T = request->positions;
  int64_t b, t, s, i, shape[3];
  float* state = malloc((size_t)(B * T * 3) * sizeof(float));
  float* logits = malloc((size_t)(B * T * 11) * sizeof(float));
  int32_t failed;
  (void)subject;
  for (b = 0; b < B; ++b) {
    for (t = 0; t < T; ++t) {
      float* at = state + (b * T + t) * 3;
      at[0] = at[1] = at[2] = 0;
      for (s = 0; s < T && s <= LATEST; ++s) {
        for (i = 0; i < 3; ++i) {
          at[i] = 0.7f * at[i] + (float)((request->tokens[b * T + s] * (i + 2) + 1) % 7);
        }
      }
      for (i = 0; i < 11; ++i) {
        logits[(b * T + t) * 11 + i] = at[i % 3] * (float)(i + 1) - at[(i + 1) % 3];
      }
    }
  }
  shape[0] = B; shape[1] = T; shape[2] = 3;
  failed = request->hand_over(request->context, "state", ASSAY_F32, 3, shape, state);
  shape[2] = 11;
  if (!failed) {
    failed = request->hand_over(request->context, "logits", ASSAY_F32, 3, shape, logits);
  }
  free(state);
  free(logits);
  return failed;
}
const char* assay_subject_error(assay_subject* subject) { (void)subject; return why; }
void assay_subject_close(assay_subject* subject) { (void)subject; }
"""
TAKE = "return request->hand_over(request->context, "
# What they are: exit code, what is said, and what they do.
BAD = {
    "another interface": (2, "expected interface 1, got 7", {"ABI": "7"}),
    "does not open": (1, "it cannot open the model: out of memory", {"OPEN": "return 3"}),
    "does not say why": (1, "it cannot open the model: error 3",
                         {"OPEN": "return 3", "WHY": "NULL"}),
    "opens nothing": (1, "returned 0 and no model", {"OPEN": "*subject = NULL; return 0"}),
    "no such weight": (1, "it cannot open the model",
                       {"OPEN": 'double x; if (model->read_weight(model->context, "x", &x, 1)) '
                                "return 1"}),
    "a weight of another size":
        (1, "it cannot open the model",
         {"OPEN": 'double x; if (model->read_weight(model->context, "model.norm.weight", &x, 1)) '
                  "return 1"}),
    "a weight without a name":
        (1, "it cannot open the model",
         {"OPEN": "double x; if (model->read_weight(model->context, NULL, &x, 1)) return 1"}),
    "no name": (1, "its description has no name", {"DESCRIBE": "said->name = NULL"}),
    "does not describe": (1, "it does not describe itself: out of memory",
                          {"DESCRIBE": "return 1"}),
    "another precision": (2, "it computes in bf16: expected --precision bf16, got fp32",
                          {"DESCRIBE": 'said->storage = "bf16"'}),
    "an unknown precision": (1, "storage: expected fp64, fp32, tf32, bf16 or fp16, got int4",
                             {"DESCRIBE": 'said->storage = "int4"'}),
    "an unknown schedule": (2, "schedule: expected fused or eager, got lazy",
                            {"DESCRIBE": 'said->schedule = "lazy"'}),
    "fails": (1, "it failed: out of memory", {"RUN": "return 1"}),
    "hands over nothing": (3, "nothing was judged: not one of 52 checkpoints", {}),
    "no tensor name": (1, "a tensor without a name",
                       {"RUN": TAKE + "NULL, ASSAY_F32, 3, shape, data)"}),
    "no data": (1, "embed: [2,5,32] without data",
                {"RUN": TAKE + '"embed", ASSAY_F32, 3, shape, NULL)'}),
    "no extents": (1, "embed: expected 0 to 16 axes and their extents, got 3 and no extents",
                   {"RUN": TAKE + '"embed", ASSAY_F32, 3, NULL, data)'}),
    "too many axes": (1, "embed: expected 0 to 16 axes and their extents, got 17",
                      {"RUN": TAKE + '"embed", ASSAY_F32, 17, shape, data)'}),
    "a negative extent": (1, "embed: expected extents of 0 or more, got [-1,5,32]",
                          {"RUN": "shape[0] = -1; " + TAKE +
                                  '"embed", ASSAY_F32, 3, shape, data)'}),
    "an unknown type": (1, "embed: dtype: expected ASSAY_F64, ASSAY_F32, ASSAY_F16 or ASSAY_BF16",
                        {"RUN": TAKE + '"embed", 9, 3, shape, data)'}),
    "another type": (1, "embed: expected float32, got float16",
                     {"RUN": TAKE + '"embed", ASSAY_F16, 3, shape, data)'}),
    "another shape": (1, "embed: expected [2,5,32] (B,T,D), got [10,32]; looks like (B*T,D)",
                      {"RUN": "shape[0] = 10; shape[1] = 32; " + TAKE +
                              '"embed", ASSAY_F32, 2, shape, data)'}),
    "more than there is": (1, "embed: expected [2,5,32] (B,T,D), got [2,5,1000000000]",
                           {"RUN": "shape[2] = 1000000000; " + TAKE +
                                   '"embed", ASSAY_F32, 3, shape, data)'}),
    "twice": (1, "embed: handed over twice in one run",
              {"RUN": 'request->hand_over(request->context, "embed", ASSAY_F32, 3, shape, data); ' +
                      TAKE + '"embed", ASSAY_F32, 3, shape, data)'}),
    "and goes on": (1, "embed: [2,5,32] without data",
                    {"RUN": 'request->hand_over(request->context, "embed", ASSAY_F32, 3, shape, '
                            "NULL); return 0"}),
    "an unknown tensor": (3, "1 tensors that the golden file does not declare: hidden",
                          {"RUN": TAKE + '"hidden", ASSAY_F32, 3, shape, data)'}),
    "forced of another size": (1, "it asks for embed with 7 elements: expected [2,5,32]",
                               {"DESCRIBE": "said->can_force = 1",
                                "RUN": "double x[7]; return request->forced(request->context, "
                                       '"embed", x, 7) < 0'}),
}


def compiled(compiler, standard, source, out, *more):
    done = subprocess.run([compiler, standard, "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror",
                           "-fPIC", *more, "-Iprefix/include", source, "-o", out],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"FAIL: {compiler} {source}: {done.stdout}")
    return f"lib:{out}"


def library(name, *changes):
    """The example with its texts replaced, as a user compiles it."""
    text = RIGHT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    with open(name + ".cpp", "w", encoding="utf-8") as file:
        file.write(text)
    return compiled(CXX, "-std=c++17", name + ".cpp", name + ".so", "-shared",
                    "-Wno-unused-parameter", "-Wno-unused-but-set-variable")


def bad_library(changes):
    text = FRAME
    for word, value in {**DEFAULT, **changes}.items():
        text = text.replace(word, value)
    with open("bad.c", "w", encoding="utf-8") as file:
        file.write(text)
    return compiled(CC, "-std=c99", "bad.c", "bad.so", "-shared")


def judge(*arguments):
    done = subprocess.run([ASSAY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def expect(code, part, *arguments):
    got, said = judge(*arguments)
    if got != code or part not in said:
        sys.exit(f"FAIL: {' '.join(arguments)}: expected exit code {code} and '{part}', got "
                 f"{got}:\n{said}")


def headers():
    """The installed header is C99 and C++11, alone and twice."""
    done = subprocess.run(["cmake", "--install", BUILD, "--prefix", os.path.abspath("prefix")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0 or not os.path.isfile("prefix/include/assay_subject.h"):
        sys.exit(f"FAIL: cmake --install: {done.stdout}")
    for compiler, standard, name in ((CC, "-std=c99", "x.c"), (CXX, "-std=c++11", "x.cpp")):
        with open(name, "w", encoding="utf-8") as file:
            file.write("#include <assay_subject.h>\n#include <assay_subject.h>\n"
                       "int32_t abi(void);\nint32_t abi(void) { return ASSAY_SUBJECT_ABI; }\n")
        compiled(compiler, standard, name, "x.o", "-c")


def right():
    good = library("right")
    expect(0, "verdict: pass", "verify", "g.h5", "--subject", good, "--leakage")
    expect(0, "llama_subject 1.0 (lib:right.so)", "verify", "g.h5", "--subject", good)
    expect(0, "verdict: pass", "leak", "--method", "plain", "--subject", good)
    expect(0, "A and B are right and agree", "compare", "g.h5", good, "reference")
    # Where only a part is asked for, the rest need not be handed over.
    expect(0, "2 checkpoints declared, 2 compared", "verify", "g.h5", "--subject", good, "--only",
           "embed,logits")
    # Padding on both sides and a single position.
    cases = ("--dir", "suite", "--only", "plain-llama-gqa-b?-t1,plain-llama-gqa-b?-t33,"
             "plain-llama-gqa-b?-t33-padded,plain-llama-gqa-b?-t33-padded-raised")
    judge("suite", "generate", "ci", *cases)
    expect(0, "4 verdicts, 4 pass", "suite", "verify", "ci", *cases, "--subject", good,
           "--precision", "fp32")
    expect(1, "expected fp32, got bf16", "verify", "g.h5", "--subject", good, "--precision",
           "bf16")
    judge("generate", "--block", "gpt2", "--method", "plain", "--seq", "5", "--out", "gpt2.h5")
    expect(1, "expected a plain Llama", "verify", "gpt2.h5", "--subject", good)


def defects():
    for name, (old, new, found) in NUMBERS.items():
        expect(1, found, "verify", "g.h5", "--subject", library("wrong", (old, new)))
        print(f"{name}: {found}")
    for name, (changes, detector) in LEAKS.items():
        code, said = judge("leak", "--method", "plain", "--subject", library("leak", *changes))
        if code != 1 or not re.search(rf"^fail +{detector} ", said, re.MULTILINE):
            sys.exit(f"FAIL: {name}: expected {detector} to fail, got {code}:\n{said}")
        print(f"{name}: {detector}")
    # An exception that leaves a function is the library's failure.
    thrown = ("subject->run(*request);\n    return 0;\n  } catch (const std::exception& error) {",
              "throw 7;\n    subject->run(*request);\n    return 0;\n"
              "  } catch (const std::exception& error) {")
    expect(1, "assay_subject_run threw what is no std::exception", "verify", "g.h5", "--subject",
           library("throws", thrown))


def own_models():
    """Without a config and weights: leak --vocab."""
    decoders = {}
    for name, latest in (("clean", "t"), ("leak", "t + (t % 5 == 3)")):
        with open(name + ".c", "w", encoding="utf-8") as file:
            file.write(OWN.replace("LATEST", latest))
        decoders[name] = compiled(CC, "-std=c99", name + ".c", name + ".so", "-shared")
    options = ("leak", "--vocab", "11", "--positions", "13", "--subject")
    expect(0, "verdict: pass", *options, decoders["clean"])
    code, said = judge(*options, decoders["leak"])
    found = r"^fail +prefix +leak at state, first pair \(3 <- 4\)"
    if code != 1 or not re.search(found, said, re.MULTILINE):
        sys.exit(f"FAIL: a leak: expected prefix to fail at state, got {code}:\n{said}")
    expect(1, "judged with --vocab V", "leak", "--method", "plain", "--subject", decoders["clean"])
    expect(1, "it cannot open the model", *options, "lib:right.so")
    expect(2, "none.so: no such file", *options, "lib:none.so")


def others():
    for name, (code, found, changes) in BAD.items():
        got, said = judge("verify", "g.h5", "--subject", bad_library(changes))
        if got != code or found not in said:
            sys.exit(f"FAIL: {name}: expected exit code {code} and '{found}', got {got}:\n{said}")
    twice = bad_library({"RUN": "shape[2] = 1000000000; " + TAKE +
                                '"embed", ASSAY_F32, 3, shape, data)'})
    expect(1, "embed: expected [2,33,32], got", "leak", "--method", "plain", "--subject", twice)
    with open("half.c", "w", encoding="utf-8") as file:
        file.write("#include <assay_subject.h>\n"
                   "int32_t assay_subject_abi(void) { return ASSAY_SUBJECT_ABI; }\n")
    half = compiled(CC, "-std=c99", "half.c", "half.so", "-shared")
    expect(2, "half.so: it has no function assay_subject_open", "verify", "g.h5", "--subject", half)
    expect(2, "half.so: it has no function assay_subject_open", "compare", "g.h5", half, "simt")
    expect(2, "none.so: no such file: expected a shared library", "verify", "g.h5", "--subject",
           "lib:none.so")
    expect(2, ".: no such file: expected a shared library", "verify", "g.h5", "--subject", "lib:.")
    expect(2, "bad.c: it cannot be loaded as a shared library", "verify", "g.h5", "--subject",
           "lib:bad.c")
    expect(2, "--subject lib:: expected", "verify", "g.h5", "--subject", "lib:")
    expect(2, "--json right.so: is the input right.so", "verify", "g.h5", "--subject",
           "lib:right.so", "--json", "right.so")


def main():
    with tempfile.TemporaryDirectory(prefix="assay-libraries-") as folder:
        os.chdir(folder)
        judge("generate", "--method", "plain", "--seq", "5", "--batch", "2", "--out", "g.h5")
        headers()
        right()
        defects()
        own_models()
        others()
        os.chdir("/")
    print(f"{len(NUMBERS) + len(LEAKS)} defects, {len(BAD)} libraries that are none: as expected")


main()
