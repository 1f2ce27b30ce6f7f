"""Decoding judged by `assay verify`. Usage: verify_test.py ASSAY EXAMPLES

A Llama in numpy with a cache of keys and values passes, with padding too; each of its planted
defects is found in what it decodes, at the position that shows it, while its forward pass is right.
Exits with 77 (skip) where numpy is missing.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

try:
    import numpy  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ASSAY, EXAMPLES = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
# The example with a cache: rotation from the position of the cache, keys and values behind those
# that are there, the mask of all that was read.
PARTS = (
    ("        angles = np.arange(x.shape[2])[:, None]",
     "        angles = np.arange(self.start, self.start + x.shape[2])[:, None]"),
    ("        group = q.shape[1]",
     "        if self.cache is not None:\n"
     "            old = self.cache.get(prefix)\n"
     "            if old is not None:\n"
     "                k, v = (np.concatenate([a, b], axis=2) for a, b in zip(old, (k, v)))\n"
     "            self.cache[prefix] = k, v\n"
     "        group = q.shape[1]"),
    ("        batch, heads, positions, size = v.shape\n",
     "        batch, heads, positions, size = q.shape\n"),
    ("        positions = request.tokens.shape[1]\n        causal = np.tril(np.ones((positions, "
     "positions), bool))\n"
     "        visible = causal & (request.attention_mask[:, None, None, :] != 0)",
     "        n, mask = request.tokens.shape[1], request.attention_mask\n"
     "        if self.cache is not None:\n"
     "            mask = np.concatenate([*self.masks, mask], axis=1)\n"
     "            self.masks = [mask]\n"
     "        causal = np.tril(np.ones((n, n + self.start), bool), k=self.start)\n"
     "        visible = causal & (mask[:, None, None, :] != 0)"),
    ("    def norm(self", "    start, cache, masks = 0, None, ()\n\n    def norm(self"),
    ('        keep("loss", np.float32(loss(logits, request.labels)))\n',
     '        if self.cache is None:\n'
     '            keep("loss", np.float32(loss(logits, request.labels)))\n'),
)
SERVING = '''

class Run:
    model, start = None, 0

    def __call__(self, request):
        if self.model is None:
            self.model = Llama(request.model)
        self.model.start, self.model.cache = 0, None
        return self.model(request)

    def reset(self):
        self.start, self.cache, self.masks = 0, {}, ()

    def decode(self, request):
        model = self.model
        model.start, model.cache, model.masks = self.start, self.cache, self.masks
        tensors = model(request)
        self.start += request.tokens.shape[1]
        self.masks = model.masks
        return tensors


if __name__ == "__main__":
    assay_subject.serve(Run(), can=["force", "mask"], storage="fp32", schedule="eager",
                        angles="double")
'''
SUITE = {
    "assay_suite": 1, "about": "padding on the left, on the right, and nearly everywhere",
    "blocks": {"llama": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 64}},
    "defaults": {"precisions": ["fp32"]},
    "entries": [{"methods": ["plain"], "blocks": ["llama"], "heads": ["gqa"], "shapes": [
        {"batch": 2, "positions": 13, "left": [0, 3], "suffix": "left"},
        {"batch": 2, "positions": 13, "right": [0, 4], "suffix": "right"},
        {"batch": 1, "positions": 40, "right": [37], "suffix": "most"}]}],
}
# What is replaced, and what the judge says of it.
DEFECTS = {
    "positions count from the piece": ("self.start, self.start + x", "0, x", r"attn/q is wrong"),
    "a position is one too far": ("np.arange(self.start, self.start", "np.arange(self.start + "
                                  "(self.start > 0), self.start + (self.start > 0)",
                                  r"attn/q is wrong at row 0, position 1 .* one by one"),
    "the cache is not emptied": ("self.start, self.cache, self.masks = 0, {}, ()",
                                 "self.start, self.masks = 0, ()\n"
                                 "        self.cache = self.__dict__.get('cache', {})",
                                 r"it failed: "),
    "a stale row": ("k, v = (np.concatenate([a, b], axis=2) for a, b in zip(old, (k, v)))",
                    "k, v = (np.concatenate([a[:, :, -7:].repeat(1, 0) if a.shape[2] < 8 else "
                    "np.concatenate([a[:, :, 1:2], a[:, :, 1:]], axis=2), b], axis=2) for a, b in "
                    "zip(old, (k, v)))", r"position [89] "),
    "values of the row before": ("self.cache[prefix] = k, v",
                                 "self.cache[prefix] = k, np.roll(v, 1, axis=0)", r"row 0"),
    "the mask of the piece alone": ("np.concatenate([*self.masks, mask], axis=1)",
                                    "np.concatenate([np.ones((len(mask), self.start), int), mask], "
                                    "axis=1)", r"row 1, position 3 "),
    "a prompt sees its future": ("bool), k=self.start)",
                                 "bool), k=self.start + (n > 1 and self.cache is not None))",
                                 r"position 0 when it is decoded behind a prompt"),
    "every piece is a sequence": ("self.cache[prefix] = k, v",
                                  "self.cache[prefix] = (k * 0 if self.start else k), v",
                                  r"position 2 when"),
    "scores in the wrong scale behind a prompt": (
        "np.sqrt(np.float32(q.shape[-1]))",
        "np.sqrt(np.float32(q.shape[-1])) * (1 + (self.start > 0))", r"position 1 "),
    "logits of the position before": (
        'logits = keep("logits", self.linear(x, "lm_head"))',
        'logits = keep("logits", self.linear(x, "lm_head"))\n'
        '        if self.cache is not None and n > 2:\n'
        '            keep("logits", np.roll(logits, 1, axis=1))', r"^logits is wrong .* prompt"),
}


def judge(code, *arguments):
    done = subprocess.run([ASSAY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=120)
    said = done.stdout.decode()
    if done.returncode != code:
        sys.exit(f"FAIL: {' '.join(arguments)}: expected exit code {code}, got "
                 f"{done.returncode}:\n{said}")
    return said


def program(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return f"exec:{sys.executable} {name}"


def with_cache(text):
    for old, new in PARTS:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text[:text.index("\ndef main():")] + SERVING


def decode_check(name):
    with open(name, encoding="utf-8") as file:
        checks = json.load(file)["checks"]
    return next(check for check in checks if check["name"] == "numerics: decode")


def judge_defects(right):
    for name, (old, new, found) in DEFECTS.items():
        assert right.count(old) == 1, name
        bad = program("bad.py", right.replace(old, new))
        judge(1, "verify", "g.h5", "--subject", bad, "--json", "r.json", "--force", "--quiet")
        with open("r.json", encoding="utf-8") as file:
            checks = json.load(file)["checks"]
        wrong = [check["name"] for check in checks if check["status"] != "pass"]
        said = decode_check("r.json")
        if wrong != ["numerics: decode"] or not re.search(found, said["summary"]):
            sys.exit(f"FAIL: {name}: expected decode alone and '{found}', got {wrong}: {said}")


def judge_reports(good, bad):
    """As every other check: in JSON, JUnit and by its exit code; --only and --quiet count."""
    said = judge(1, "verify", "g.h5", "--subject", bad, "--junit", "r.xml")
    assert re.search(r"^fail +numerics: decode ", said, re.MULTILINE), said
    assert "--only /layers/0/attn/q" in said, said
    cases = xml.etree.ElementTree.parse("r.xml").getroot().iter("testcase")
    failed = [case for case in cases if case.find("failure") is not None]
    assert any("decode" in case.get("name") for case in failed), [c.attrib for c in failed]
    said = judge(0, "verify", "g.h5", "--subject", good, "--only", "layers/*/attn/v,logits")
    assert re.search(r"numerics: decode +layers/0/attn/v and \d more tensors|"
                     r"numerics: decode +layers/0/attn/v, ", said), said
    assert judge(1, "verify", "g.h5", "--subject", bad, "--quiet") == ""
    said = judge(0, "verify", "g.h5", "--subject", bad, "--no-decode")
    assert "decode" not in said.replace("--no-decode", ""), said
    with open(os.path.join(EXAMPLES, "numpy_llama.py"), encoding="utf-8") as file:
        uncached = program("uncached.py", file.read())
    said = judge(3, "verify", "g.h5", "--subject", uncached, "--decode")
    assert re.search(r"^skipped +numerics: decode +it keeps no cache", said, re.MULTILINE), said
    assert "decoding: not judged: it keeps no cache" in judge(0, "verify", "g.h5", "--subject",
                                                              uncached)
    said = judge(0, "verify", "g.h5", "--subject", "reference", "--decode")
    assert "in uneven pieces through three tiers" in said, said


def judge_answers(right):
    """It has to depend on what the cache held, in a shape that says which positions it is of."""
    end = "        self.masks = model.masks\n        return tensors\n"
    assert right.count(end) == 1
    embed = program("embed.py", right.replace(end, end.replace(
        "return tensors", "return {'embed': tensors['embed']}")))
    said = judge(0, "verify", "g.h5", "--subject", embed)
    assert "decoding: not judged: nothing that it hands over" in said, said
    judge(3, "verify", "g.h5", "--subject", embed, "--decode")
    longer = program("longer.py", right.replace(end, end.replace(
        "return tensors", "x = tensors['logits']\n"
        "        return {**tensors, 'logits': np.concatenate([x, x, x[:, :1]], axis=1)}")))
    said = judge(1, "verify", "g.h5", "--subject", longer)
    assert "decode: logits of 1 new positions: expected [2,1,64]" in said, said
    judge(0, "generate", "--method", "plain", "--seq", "1", "--out", "one.h5")
    said = judge(0, "verify", "one.h5", "--subject", "simt", "--leave-out", "loss")
    assert "decoding: not judged: nothing that it hands over" in said, said


def judge_engine():
    """Of ours, which decode every causal model: on by default, in suites too."""
    judge(0, "generate", "--method", "1", "--seq", "70", "--out", "long.h5")
    for subject in ("simt", "simt:stacked", "simt:stored=1000000"):
        said = judge(0, "verify", "long.h5", "--subject", subject, "--precision", "bf16")
        assert "logits decoded behind a prompt of 62, in uneven pieces: " in said, said
    said = judge(0, "verify", "long.h5", "--subject", "simt", "--decode")
    assert "decoded one by one, behind a prompt of 62, in uneven pieces" in said, said
    judge(0, "generate", "--method", "pt", "--seq", "9", "--out", "pt.h5")
    said = judge(0, "verify", "pt.h5", "--subject", "simt")
    assert "decoding: not judged: the model hears from later positions" in said, said
    judge(3, "verify", "pt.h5", "--subject", "simt", "--decode")


def main():
    with open(os.path.join(EXAMPLES, "numpy_llama.py"), encoding="utf-8") as file:
        text = with_cache(file.read())
    os.environ["PYTHONPATH"] = EXAMPLES
    with tempfile.TemporaryDirectory(prefix="assay-decoding-") as folder:
        os.chdir(folder)
        with open("padded.json", "w", encoding="utf-8") as file:
            json.dump(SUITE, file)
        judge(0, "suite", "generate", "padded.json", "--dir", "s")
        os.symlink("s/plain-llama-gqa-b2-t13-padded-left.h5", "g.h5")
        good = program("good.py", text)
        said = judge(0, "suite", "verify", "padded.json", "--dir", "s", "--subject", good,
                     "--decode")
        assert len(re.findall("^pass ", said, re.MULTILINE)) == 3, said
        said = judge(0, "suite", "verify", "padded.json", "--dir", "s", "--subject", "simt")
        assert len(re.findall("^pass ", said, re.MULTILINE)) == 3, said
        said = judge(0, "verify", "g.h5", "--subject", good)
        assert re.search(r"^pass +numerics: decode ", said, re.MULTILINE), said
        judge_defects(text)
        old, new, _ = DEFECTS["positions count from the piece"]
        judge_reports(good, program("bad.py", text.replace(old, new)))
        judge_answers(text)
        judge_engine()
        os.chdir("/")
    print(f"{len(DEFECTS)} defects of a cache: found")


main()
