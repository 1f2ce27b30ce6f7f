"""Training beside the reference. Usage: lockstep_test.py ASSAY EXAMPLES

Right training loops pass, ours and a program's; each defect that is planted in the program is found
at its step and tensor; what cannot be judged is refused. Exits with 77 (skip) where numpy is
missing.
"""

import json
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from command import Command  # noqa: E402

try:
    import numpy
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ASSAY, EXAMPLES = Command(sys.argv[1]), os.path.abspath(sys.argv[2])

# Of examples/numpy_train.py, replaced; the first step that shows it and the tensor's beginning;
# what is said of it.
DEFECTS = {
    "no bias correction": ("1 - beta1**self.steps, 1 - beta2**self.steps", "1, 1",
                           "step 1: weight/", "without correction of the moments' bias"),
    "no correction of v": ("1 - beta2**self.steps", "1", "step 1: weight/",
                           "without correction of the second moment's bias"),
    "eps in the root": ("(np.sqrt(v / correction2) + eps)", "np.sqrt(v / correction2 + eps)",
                        "step 1: weight/", "eps inside the root"),
    "decay of norms": (' if name in request.decay else 0.0', "", "step 1: weight/model.norm.weight",
                       "with decay, which is of weights with two dimensions or more"),
    "L2 in the gradient": ("g = clip * grads[name]",
                           "g = clip * grads[name] + 0.1 * weight", "step 1: first/",
                           "the decay goes through the moments"),
    "no clipping": ('min(1.0, rule["max_norm"] / norm)', "1.0", ": first/",
                    "from a gradient that is not clipped"),
    "always to the largest norm": ('min(1.0, rule["max_norm"] / norm)', 'rule["max_norm"] / norm',
                                   ": first/", ""),
    "clipping by tensor": ("g = clip * grads[name]",
                           'g = min(1.0, rule["max_norm"] / float(np.sqrt(np.sum(grads[name]**2'
                           ')))) * grads[name]', ": first/", ""),
    "v not clipped": ("(1 - beta2) * g * g", "(1 - beta2) * grads[name]**2", ": second/",
                      "from a gradient that is not clipped"),
    "stale m": ("direction = m / correction1", "direction = self.first[name] / correction1",
                "step 1: weight/", "the first moment of before the step"),
    "a mean of means": ("self.weights, batch, counted, grads)",
                        "self.weights, batch, len(request.micro_batches) * "
                        "int((batch.labels[:, 1:] != -100).sum()), grads)",
                        "step 1: loss", "the mean of the micro-batches' means"),
    "a sum": ("self.weights, batch, counted, grads)", "self.weights, batch, 1, grads)",
              "step 1: loss", ""),
    "a scale in the gradients": ("        norm = math.sqrt(",
                                 "        grads = {name: 256 * g for name, g in grads.items()}\n"
                                 "        norm = math.sqrt(", "step 1: grad/", "times 256"),
    "the last rate": ("        self.steps += 1\n",
                      "        self.steps += 1\n"
                      "        rates = self.__dict__.setdefault('rates', {})\n"
                      "        rates[self.steps] = request.rate\n"
                      "        request.rate = rates.get(self.steps - 1, request.rate)\n",
                      "step 2: weight/", "the learning rate of the step before"),
    "the count off by one": ("correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self"
                             ".steps", "correction1, correction2 = 1 - beta1**(self.steps + 1), "
                             "1 - beta2**(self.steps + 1)", "step 1: weight/",
                             "as of the next step"),
    "the count kept": ("self.steps = request.steps", "pass", "step 1: weight/",
                       "it is in how a state is taken over"),
    "betas exchanged": ('rule["beta1"], rule["beta2"]', 'rule["beta2"], rule["beta1"]',
                        "step 1: first/", "beta1 and beta2 exchanged"),
    "a weight that stays": ("self.weights[name], self.first[name], self.second[name] = weight, m, "
                            "v", "self.first[name], self.second[name] = m, v\n"
                            '            if "norm" not in name:\n'
                            "                self.weights[name] = weight",
                            "step 1: weight/model.norm.weight", "it was not updated"),
    "gradients kept": ("grads = {name: np.zeros_like(x) for name, x in self.weights.items()}",
                       "grads = self.__dict__.setdefault('kept', {name: np.zeros_like(x) "
                       "for name, x in self.weights.items()})", "step 2: grad/",
                       "that was not set to 0"),
    "weights in bf16": ("weight = weight - request.rate * (direction + decay * weight)",
                        "weight = weight - request.rate * (direction + decay * weight)\n"
                        "            weight = ((weight.view(np.uint32) + 0x8000) & 0xffff0000)"
                        ".view(np.float32)", "step 1: weight/", "rounded to bf16"),
    "heads not summed": ("group, positions, size).sum(axis=2)",
                         "group, positions, size)[:, :, 0]", "step 1: grad/model.layers.", ""),
    "a norm's mean": ("dy - unit * np.mean(dy * unit, axis=-1, keepdims=True)", "dy",
                      "step 1: grad/model.layers.", ""),
    "uphill": ("weight - request.rate * (direction", "weight - request.rate * (-direction",
               "step 1: weight/", "in the other direction"),
}
# Of a model whose head is its embedding.
TIED = {
    "the embedding's gradient once": (
        'np.add.at(self.grads["model.embed_tokens.weight"], batch.tokens, dx)', "pass",
        "step 1: grad/model.embed_tokens.weight", ""),
    "the head's gradient once": (
        'self.grads[name] += np.einsum("btm,btk->mk", dy, x, optimize=True)',
        'self.grads[name] += (not name.startswith("model.embed")) * '
        'np.einsum("btm,btk->mk", dy, x, optimize=True)',
        "step 1: grad/model.embed_tokens.weight", ""),
}


def program(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return f"exec:{sys.executable} {name}"


TIED_CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 29,
               "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
               "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
               "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
               "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "float32"}


def generate(path, *options):
    code, said = ASSAY.run("generate", "--seq", "12", "--batch", "2", "--out", path, *options)
    if code != 0:
        sys.exit(f"FAIL: generate: {said}")


def ours():
    for precision in ("fp64", "fp32", "tf32", "fp16"):
        ASSAY.expect(0, ["verdict: pass", "training: update", "training: forced"], "verify", "g.h5",
                     "--train", "3", "--subject", "simt", "--precision", precision)
    ASSAY.expect(3, ["verdict: untrusted", "widest bound of a gradient"], "verify", "g.h5",
                 "--train", "3", "--subject", "simt", "--precision", "bf16")
    ASSAY.expect(0, ["verdict: pass", "reference, fp64"], "verify", "g.h5", "--train", "2",
                 "--subject", "reference", "--precision", "bf16")
    ASSAY.expect(0, "verdict: pass", "verify", "m.h5", "--train", "2", "--subject", "simt:stacked",
                 "--micro-batches", "3", "--clip", "0", "--weight-decay", "0", "--betas", "0.8",
                 "0.99", "--eps", "1e-6", "--lr", "0.1")
    for golden, subject, precision in (("g.h5", "reference", "fp64"), ("g.h5", "simt", "fp64"),
                                       ("m.h5", "simt:keep=inputs", "fp32"),
                                       ("m.h5", "simt:keep=shared:stacked", "fp32"),
                                       ("tied.h5", "simt:keep=inputs", "fp32")):
        ASSAY.expect(0, "verdict: pass", "verify", golden, "--train", "3", "--dropout", "0.3",
                     "--subject", subject, "--precision", precision)


def programs(right):
    good = program("right.py", right)
    for precision in ("fp32", "fp64"):
        ASSAY.expect(0, "verdict: pass", "verify", "g.h5", "--train", "4", "--subject", good,
                     "--precision", precision)
    ASSAY.expect(0, "verdict: pass", "verify", "tied.h5", "--train", "2", "--subject", good)
    for golden, defects in (("g.h5", DEFECTS), ("tied.h5", TIED)):
        for name, (old, new, place, says) in defects.items():
            assert old in right, name
            said = ASSAY.expect(1, ["verdict: fail", "FAIL step", place, says], "verify", golden,
                                "--train", "3", "--lr", "0.01", "--subject",
                                program("wrong.py", right.replace(old, new)))
            first = re.search(r"FAIL (step .*)", said)
            if first and place not in first.group(1):
                ASSAY.fail(f"{name}: expected {place}, got {first.group(1)}")


def parts(right):
    """What is left out is said, and is not judged."""
    tensors = '**{"grad/" + name: x for name, x in grads.items()},'
    assert tensors in right
    without = program("part.py", right.replace(tensors, ""))
    ASSAY.expect(0, ["verdict: pass", "not judged: gradients, of which it hands over none"],
                 "verify", "g.h5", "--train", "2", "--subject", without)
    ASSAY.expect(1, ["verdict: fail", "required and not handed over"], "verify", "g.h5", "--train",
                 "2", "--subject", without, "--require", "grad/*")
    answer = 'return {"loss": loss, "grad_norm": norm,'
    assert answer in right
    ASSAY.expect(3, ["verdict: inconclusive", "no weight could be compared",
                     "not judged: weights, of which it hands over none"], "verify",
                 "g.h5", "--train", "2", "--subject",
                 program("losses.py", right.replace(answer, 'return {"loss": loss}\n'
                                                            "        return {")))
    ASSAY.expect(1, ["verdict: fail", "nothing of a step was handed over"], "verify", "g.h5",
                 "--train", "2", "--subject",
                 program("none.py", right.replace(answer, "return {}\n        return {")))
    ASSAY.expect(1, "expected a step, got one that is skipped", "verify", "g.h5", "--train", "2",
                 "--subject",
                 program("skips.py", right.replace(answer, "return None\n        return {")))
    ASSAY.expect(1, ["expected a weight's name", "expected [", "verdict: fail"], "verify", "g.h5",
                 "--train", "1", "--subject",
                 program("shapes.py", right.replace(
                     tensors, '"grad/nothing": loss, "grad/lm_head.weight": norm,')))
    for name in ("foo", "Grad/lm_head.weight", "moment/lm_head.weight",
                 "weights/lm_head.weight"):
        ASSAY.expect(1, [f"{name}: expected loss, grad_norm", "verdict: fail"], "verify", "g.h5",
                     "--train", "1", "--subject", program("names.py", right.replace(
                         answer, answer + f' "{name}": norm,')))
    ASSAY.expect(1, "verdict: fail", "verify", "g.h5", "--train", "1", "--subject",
                 program("nan.py", right.replace(answer, 'loss = float("nan")\n        ' + answer)))
    ASSAY.expect(1, "it failed: ZeroDivisionError", "verify", "g.h5", "--train", "1", "--subject",
                 program("dies.py", right.replace(answer, "1 / 0\n        " + answer)))


def reports(right):
    wrong = program("wrong.py", right.replace("(np.sqrt(v / correction2) + eps)",
                                              "np.sqrt(v / correction2 + eps)"))
    ASSAY.run("verify", "g.h5", "--train", "2", "--subject", wrong, "--json", "r.json", "--junit",
              "r.xml", "--report", "r.html", "--quiet")
    with open("r.json", encoding="utf-8") as file:
        report = json.load(file)
    names = [row["name"] for row in report["checkpoints"]]
    checks = [check["name"] for check in report["checks"]]
    for name in ("step/1/loss", "step/2/grad/lm_head.weight", "step/2/second/lm_head.weight"):
        if name not in names:
            ASSAY.fail(f"--json: no row {name} in {names[:5]}")
    if "training: update" not in checks or report["verdict"] != "fail":
        ASSAY.fail(f"--json: {checks}, {report['verdict']}")
    with open("r.xml", encoding="utf-8") as file:
        if "step/1/weight/" not in file.read():
            ASSAY.fail("--junit: no row of a step")


def refused(right):
    good = program("right.py", right)
    numpy.savez("dump.npz", logits=numpy.zeros(3))
    for arguments, says in (
            (["--train", "0"], "--train: expected 1 step or more, got 0"),
            (["--train", "-3"], "--train: expected 1 step or more, got -3"),
            (["--train", "2", "--lr", "0"], "--lr: expected a positive number"),
            (["--train", "2", "--lr", "nan"], "--lr: expected a positive number"),
            (["--train", "2", "--betas", "0.9", "1"], "beta2"),
            (["--train", "2", "--eps", "0"], "eps"),
            (["--train", "2", "--clip", "-1"], "max_norm"),
            (["--train", "2", "--micro-batches", "0"], "--micro-batches: expected 1 or more"),
            (["--train", "2", "--leakage"], "--train: expected without --leakage"),
            (["--train", "2", "--only", "logits"], "--train: expected without --only"),
            (["--train", "2", "--decode"], "--train: expected without --decode"),
            (["--train", "2", "--no-decode"], "--train: expected without --no-decode"),
            (["--train", "2", "--strict"], "--train: expected without --strict"),
            (["--train", "2", "--leakage-positions", "8"],
             "--train: expected without --leakage-positions"),
            (["--train", "2", "--require", "gard/*"], "--require gard/*: no such tensor"),
            (["--train", "2", "--eps", "1e-50", "--subject", "simt"], "which is 0 there"),
            (["--lr", "0.1"], "expected together with --train N"),
            (["--dropout", "0.1"], "expected together with --train N"),
            (["--train", "2", "--dropout", "1"], "--dropout: expected 0 or more and less than 1"),
            (["--train", "2", "--dropout", "nan"], "--dropout: expected 0 or more and less than 1"),
            (["--train", "2", "--dropout", "0.1"], "a program is told of no masks"),
            (["--train", "2", "--subject", "simt:keep=some"], "expected all, shared or inputs"),
            (["--train", "2", "--subject", "file:dump.npz"], "a dump cannot train"),
            (["--train", "2", "--subject", "lib:none.so"], "a library has no function"),
            (["--train", "2", "--subject", "exec-once:python3 x"], "keeps no state between steps"),
            (["--train", "2", "--subject", "nonsense"], "--subject nonsense: expected simt"),
            (["--train", "2", "--lr", "1e300", "--subject", "simt"], "does not stay finite"),
            (["--train", "2", "--subject",
              f"exec:{sys.executable} {EXAMPLES}/numpy_llama.py"],
             'expected a program that says "can": ["train"]')):
        base = [] if "--subject" in arguments else ["--subject", good]
        ASSAY.expect(2, says, "verify", "g.h5", *base, *arguments)
    declares = '"scalars": "double", "clip_epsilon": 0'
    assert declares in right
    ASSAY.expect(2, "expected no 'map'", "verify", "g.h5", "--train", "1", "--subject",
                 program("map.py", right.replace(declares, declares + ', "map": {"logits": "x"}')))
    ASSAY.expect(2, "expected a batch of 5 positions", "verify", "g.h5", "--train", "1",
                 "--subject", program("fixed.py", right.replace(declares, declares +
                                                                ', "positions": 5')))
    for key, value in (("master", "fp7"), ("scalars", "int"), ("clip_epsilon", -1)):
        ASSAY.expect(1, f"'{key}': expected", "verify", "g.h5", "--train", "1", "--subject",
                     program("says.py", right.replace('"scalars": "double", "clip_epsilon": 0',
                                                      f'"{key}": {value!r}')))


def torch_loops():
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        print(f"TorchSubject: skipped: {error}")
        return
    text = "from assay_subject import TorchSubject, serve\n\n{}\nserve(Loop())\n"
    good = program("loop.py", text.format("class Loop(TorchSubject):\n    pass\n"))
    # Its losses are in float32, not in double; bounds of bf16 are too wide for many tensors.
    for precision, code, says in (("fp32", 0, "verdict: pass"), ("bf16", 3, "verdict: untrusted"),
                                  ("fp16", 0, "verdict: pass")):
        ASSAY.expect(code, says, "verify", "g.h5", "--train", "3", "--subject", good,
                     "--precision", precision, "--timeout", "200")
    ASSAY.expect(0, "verdict: pass", "verify", "tied.h5", "--train", "2", "--subject", good,
                 "--timeout", "200")
    for body, place in (
            ("    def update(self, request):\n        super().update(request)\n"
             "        request.rate *= 1\n        self.optimizer.zero_grad(set_to_none=False)\n"
             "        for x in self.masters.values():\n"
             "            x.data = x.data.bfloat16().to(x)",
             "step 1: weight/"),
            ("    def publish(self):\n        if not hasattr(self, 'once'):\n"
             "            self.once = True\n            super().publish()", "step 2: "),
            ("    def update(self, request):\n        self.optimizer.param_groups[0]['lr'] = 1e-3\n"
             "        self.optimizer.step()\n        self.publish()", ": weight/")):
        ASSAY.expect(1, ["verdict: fail", place], "verify", "g.h5", "--train", "3", "--subject",
                     program("loop.py", text.format(f"class Loop(TorchSubject):\n{body}\n")),
                     "--timeout", "200")


def main():
    os.environ["PYTHONPATH"] = EXAMPLES
    with open(os.path.join(EXAMPLES, "numpy_train.py"), encoding="utf-8") as file:
        right = file.read()
    with tempfile.TemporaryDirectory(prefix="assay-lockstep-") as folder:
        os.chdir(folder)
        with open("config.json", "w", encoding="utf-8") as file:
            json.dump(TIED_CONFIG, file)
        generate("g.h5", "--preset", "tiny", "--method", "plain")
        generate("tied.h5", "--config", "config.json", "--method", "plain")
        generate("m.h5", "--preset", "tiny", "--method", "3.2")
        for check in (refused, parts, programs, reports):
            check(right)
        ours()
        torch_loops()
        os.chdir("/")
    print(f"{len(DEFECTS) + len(TIED)} defects, {ASSAY.failures} failures")
    return 1 if ASSAY.failures else 0


if __name__ == "__main__":
    sys.exit(main())
