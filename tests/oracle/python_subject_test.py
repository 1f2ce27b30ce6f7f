"""examples/assay_subject.py with PyTorch. Usage: python_subject_test.py ASSAY EXAMPLES

Llama, GPT-2, Mistral, Qwen2 and Qwen3 of transformers, recorded and served, eager, sdpa and
compiled, pass, and models that are made wrong fail at the right tensor; a model is left as it was.
Exits with 77 (skip) where torch, transformers or h5py is missing.
"""

import json
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
    import torch
    import transformers
    from torch import nn
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ASSAY, EXAMPLES = sys.argv[1], os.path.abspath(sys.argv[2])
THIS_FILE = os.path.abspath(__file__)
sys.path[:0] = [EXAMPLES, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../cli")]
from assay_subject import Request, TorchSubject, record  # noqa: E402
from command import Command  # noqa: E402

expect = Command(ASSAY, stops=True).expect
UNSEEN = ("--leave-out", "layers/*/attn/scores,layers/*/attn/probs")
CONFIGS = {
    "llama": {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "head_dim": 8, "vocab_size": 60, "max_position_embeddings": 64,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_inner": 64, "n_layer": 2, "n_head": 4,
             "n_positions": 64, "vocab_size": 60, "activation_function": "gelu_new"},
}
# Families that are options of the Llama block. Their windows are narrower than a run.
FAMILIES = {
    "mistral": {**CONFIGS["llama"], "model_type": "mistral", "sliding_window": 6},
    "qwen2": {**CONFIGS["llama"], "model_type": "qwen2", "use_sliding_window": True,
              "sliding_window": 6, "max_window_layers": 1},
    "qwen3": {**CONFIGS["llama"], "model_type": "qwen3", "head_dim": 10},
}


def check(condition, claim):
    if not condition:
        sys.exit(f"FAIL: {claim}")


def raises(kind, part, call):
    try:
        call()
    except kind as error:
        check(part in str(error), f"expected '{part}', got '{error}'")
        return
    sys.exit(f"FAIL: expected {kind.__name__}: {part}")


def make(kind):
    with open(f"{kind}.json", "w", encoding="utf-8") as file:
        json.dump({**CONFIGS, **FAMILIES}[kind], file)
    expect(0, "root hash", "generate", "--config", f"{kind}.json", "--method", "plain", "--seq",
           "19", "--batch", "2", "--grad", "--out", f"{kind}.h5")
    expect(0, "model.safetensors", "export", f"{kind}.h5", "--to", kind)


def model_of(kind, attention="eager", dtype=torch.float32):
    return transformers.AutoModelForCausalLM.from_pretrained(
        kind, attn_implementation=attention, torch_dtype=dtype).eval()


def inputs_of(kind):
    with h5py.File(f"{kind}.h5") as file:
        ids, mask, labels = (torch.from_numpy(file["inputs/" + name][()]).long()
                             for name in ("tokens", "attention_mask", "labels"))
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def hooks_of(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks)
               for module in model.modules())


def dumps(kind, suffixes=("npz", "safetensors", "h5")):
    """What is recorded passes, in each format and type; the model is left as it was."""
    for attention in ("eager", "sdpa"):
        left_out = UNSEEN if attention == "sdpa" else ()
        for dtype, precision in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
            model, inputs = model_of(kind, attention, dtype), inputs_of(kind)
            before = model(**inputs).logits
            module = sys.modules[type(model).__module__]
            function = module.eager_attention_forward
            for suffix in suffixes:
                with record(model, f"c.{suffix}"):
                    model(**inputs)
                expect(0, "verdict: pass", "compare", f"{kind}.h5", f"c.{suffix}", "--precision",
                       precision, *left_out)
            check(hooks_of(model) == 0 and function is module.eager_attention_forward,
                  "hooks are removed")
            check(torch.equal(before, model(**inputs).logits), "the model is as it was")
    with h5py.File("c.h5") as file:
        check(file["logits"].attrs["dtype"] == "bfloat16", "bfloat16 is kept")
        check(np.array_equal(file["inputs/tokens"][()], inputs["input_ids"]), "tokens are kept")
        check(file.attrs["schedule"] == "eager", "the schedule is declared")


def subject(kind):
    """What a TorchSubject gives beside a forward pass: gradients, and the same with a cache."""
    inputs = {name: x.numpy() for name, x in inputs_of(kind).items()}
    inputs["tokens"] = inputs.pop("input_ids")
    served = TorchSubject()
    said = served.hello({"precision": "fp32", "model": kind})
    check(said["can"] == ["force", "gradients", "mask", "decode", "train"], f"what it can: {said}")
    whole = served(Request(kind, inputs, {}, gradients=True))
    with h5py.File(f"{kind}.h5") as file:
        expected = {}
        file["grad"].visititems(lambda name, x: expected.__setitem__(
            name, x[()]) if isinstance(x, h5py.Dataset) else None)
    for name, x in expected.items():
        if name == "loss":
            continue
        check("grad/" + name in whole, f"{kind}: the gradient of {name} is there")
        off = np.abs(whole["grad/" + name].detach().numpy() - x).max()
        check(off <= 1e-4 * np.abs(x).max(), f"{kind}: gradient of {name} is off by {off}")
    for _ in range(2):
        served.reset()
        at = 0
        for count in (7, 1, 1, 10):
            tokens = inputs["tokens"][:, at:at + count]
            part = served.decode(Request(kind, {"tokens": tokens}, {}))
            for name in ("logits", "layers/1/attn/k", "layers/1/output"):
                whole_part = whole[name][..., at:at + count, :].detach()
                check(torch.allclose(part[name], whole_part, atol=1e-4),
                      f"{kind}: {name} of {count} tokens from {at} with a cache")
            at += count


def compiled(kind):
    """torch.compile around the model, of the model itself, and of its layers."""
    for way in ("around", "itself", "layers"):
        model = called = model_of(kind, "sdpa")
        if way == "around":
            called = torch.compile(model)
        elif way == "itself":
            model.compile()
        else:
            for layer in model.model.layers:
                layer.compile()
        inputs = inputs_of(kind)
        with torch.no_grad():
            called(**inputs)  # before there were hooks
            with record(called, "c.h5"):
                called(**inputs)
        expect(0, "verdict: pass", "compare", f"{kind}.h5", "c.h5", *UNSEEN)
        check(hooks_of(model) == 0, "hooks are removed")


def calls():
    """Which call is written, and what is not there to write."""
    model, inputs = model_of("llama"), inputs_of("llama")
    other = {**inputs, "input_ids": inputs["input_ids"].flip(0)}
    with record(model, "last.h5"):
        model(**other)
        model(**inputs)
    expect(0, "verdict: pass", "compare", "llama.h5", "last.h5")
    with record(model, "call-{}.h5"):
        model(**inputs)
        model(**other)
    expect(0, "verdict: pass", "compare", "llama.h5", "call-0.h5")
    expect(2, "its tokens are not those of the golden file", "compare", "llama.h5",
           "call-1.h5")
    with record(model, "part.h5", only="logits,layers/*/output"):
        model(**inputs)
    expect(0, "verdict: pass", "compare", "llama.h5", "part.h5", "--only", "logits,layers/*/output")

    def stops():
        with record(model, "none.h5"):
            model(**inputs)
            raise KeyError("of the user")

    def nothing():
        with record(model, "none.h5"):
            pass

    raises(KeyError, "of the user", stops)
    raises(RuntimeError, "no call of LlamaForCausalLM has ended in the block", nothing)
    check(hooks_of(model) == 0, "hooks are removed")
    check(not [name for name in os.listdir() if "none" in name or "partial" in name], "no file")
    model.train()
    with record(model, "last.h5"), torch.autocast("cpu", torch.bfloat16):
        model(**inputs).loss.backward()
    check(model.training, "the mode is kept")
    expect(0, "verdict: pass", "compare", "llama.h5", "last.h5", "--precision", "bf16")


def names():
    """Models that no names are known for."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.tok = nn.Embedding(60, 32)
            self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(2))

        def forward(self, tokens):
            x = self.tok(tokens)
            for block in self.blocks:
                x = block(x)
            return x

    own = Own()
    raises(ValueError, "record: no names are known for Own (not a model of transformers)",
           lambda: record(own, "own.h5").__enter__())
    raises(ValueError, "embed: Own has no module token",
           lambda: record(own, "own.h5", names={"embed": "token"}).__enter__())
    table = {"embed": "tok", "layers/{l}/input": "blocks.{l}:in", "layers/{l}/output": "blocks.{l}"}
    for given, expected in ((table, ["embed", "layers/0/input", "layers/0/output",
                                     "layers/1/input", "layers/1/output"]),
                            ("modules", ["blocks/0", "blocks/1", "tok"])):
        with record(own, "own.npz", names=given):
            own(torch.zeros(1, 3, dtype=torch.long))
        with np.load("own.npz") as file:
            check(sorted(set(file) - {"inputs/tokens"}) == expected, f"{given}: got {sorted(file)}")
    base = model_of("llama").model
    with record(base, "own.npz"):
        base(**{**inputs_of("llama"), "labels": None})
    with np.load("own.npz") as file:
        check("layers/1/attn/probs" in file and "logits" not in file, "a model without its head")


SPOILT = """
import sys
sys.path[:0] = {paths!r}
import assay_subject, planted, torch, transformers

def spoilt(folder, dtype):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype=dtype, attn_implementation="eager")
    {change}
    return model

assay_subject.serve(assay_subject.TorchSubject(spoilt))
"""
CHANGES = {
    "pass": (0, "verdict: pass"),
    "model.model.layers[1].post_attention_layernorm.variance_epsilon = 1e-3":
        (1, "FAIL /layers/1/mlp_norm"),
    "model.model.layers[1].self_attn.scaling *= 1.01": (1, "FAIL /layers/1/attn/scores"),
    "model.model.layers[0].mlp.act_fn = torch.nn.GELU()": (1, "FAIL /layers/0/mlp/act"),
    # Less than what the rounding of scores may do, of which the program shows its own.
    "planted.plant('softmax in bf16', model, 'llama')": (1, "FAIL /layers/1/attn/probs", "bf16"),
}


def programs():
    here = os.path.dirname(THIS_FILE)
    paths = [EXAMPLES, here, os.path.join(here, "evidence")]
    for change, (code, part, *precision) in CHANGES.items():
        with open("spoilt.py", "w", encoding="utf-8") as file:
            file.write(SPOILT.format(paths=paths, change=change))
        expect(code, part, "verify", "llama.h5", "--subject", f"exec:{sys.executable} spoilt.py",
               "--precision", *(precision or ["fp32"]))
    for kind, program, more in (("llama", "torch_llama.py", ()), ("gpt2", "hf_model.py", ()),
                                ("qwen3", "hf_model.py", ()),
                                ("gpt2", "hf_model.py --attention sdpa", UNSEEN)):
        expect(0, "golden values in the storage type", "verify", f"{kind}.h5", "--subject",
               f"exec:{sys.executable} {EXAMPLES}/{program}", "--precision", "bf16", *more)


# A model of one's own, whose weights are named otherwise and whose loss stands in a tuple.
RENAMED = r"""
import sys
sys.path[:0] = {paths!r}
import assay_subject, torch_llama
from torch import nn

class Mine(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.net = torch_llama.Llama(config)

    def forward(self, tokens, attention_mask=None, labels=None):
        out = self.net(tokens, attention_mask, labels)
        return out["logits"], {loss}

model = Mine({config!r})
names = {{ours: "net." + theirs for ours, theirs in assay_subject.LLAMA.items()}}
weights = {{name: "net." + name for name in (
    "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
    *("model.layers.{{l}}." + part + ".weight" for part in (
        "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
        "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
        "mlp.down_proj")))}}
{change}
assay_subject.serve(assay_subject.TorchSubject(model, names=names, weights=weights))
"""


def weights_of_other_names():
    right, loss = "pass", 'out["loss"]'
    for change, given, code, part in (
            (right, loss, 0, "gradients: local"),
            ("del weights['lm_head.weight']", loss, 1, "say so in weights={..}"),
            ("weights['lm_head.weight'] = 'net.head.weight'", loss, 1, "named otherwise"),
            (right, "None", 1, "expected a model that returns its loss"),
            (right, "tokens @ tokens", 1, "renamed.py, line 14, forward: return out")):
        with open("renamed.py", "w", encoding="utf-8") as file:
            file.write(RENAMED.format(paths=[EXAMPLES], config=CONFIGS["llama"], change=change,
                                      loss=given))
        expect(code, part, "verify", "llama.h5", "--subject", f"exec:{sys.executable} renamed.py")


def main():
    for kind in CONFIGS:
        make(kind)
        dumps(kind)
        subject(kind)
    for kind in FAMILIES:
        make(kind)
        dumps(kind, ("h5",))
    compiled("llama")
    calls()
    names()
    weights_of_other_names()
    programs()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}: as expected")


with tempfile.TemporaryDirectory(prefix="assay-python-") as work:
    os.chdir(work)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    main()
    os.chdir("/")
