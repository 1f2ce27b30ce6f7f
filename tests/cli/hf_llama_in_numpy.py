"""A Llama as Hugging Face transformers runs it is not accused. Usage: hf_llama_in_numpy.py ASSAY

numpy in place of PyTorch: rotation angles in float32, masks of finfo.min, and in bf16 a rounding
after every operation (softmax and the sums of norms in float32). A gain of 1 %, eps 1e-3 in
float32, a mask that leaks and a norm without its gain fail. Exits with 77 (skip) where numpy is
missing.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

F32 = np.float32


def check(condition, claim):
    if not condition:
        sys.exit(f"FAIL: {claim}")


def assay(*arguments):
    """Exit code and output."""
    done = subprocess.run([sys.argv[1], *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode()


def to_float32(x):
    return np.asarray(x, F32)


def to_bf16(x):
    """The nearest bf16, ties to even, as a float32."""
    bits = np.asarray(x, F32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(F32)


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, x in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(x.shape),
                        "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Llama:
    """One forward pass; `r` rounds what an operation hands on to the storage type."""

    def __init__(self, golden, config, r, defect="", mask=np.finfo(F32).min):
        self.w = {k[len("weights/"):]: to_float32(v) for k, v in golden.items()
                  if k.startswith("weights/")}
        self.tokens, self.labels = golden["inputs/tokens"], golden["inputs/labels"]
        self.config, self.r, self.defect, self.mask = config, r, defect, mask
        self.out = {}

    def keep(self, name, x):
        self.out[name] = np.array(x, F32)
        return x

    def norm(self, x, name, last=False):
        eps = F32(1e-3 if self.defect == "eps" else self.config["eps"])
        mean = np.mean(x * x, axis=-1, keepdims=True, dtype=F32)
        x = self.r(x * (F32(1) / np.sqrt(mean + eps)))
        return x if last and self.defect == "no gain" else self.r(self.w[name] * x)

    def linear(self, x, name):
        return self.r(x @ self.w[name].T)

    def rotate(self, x, cos, sin):
        half = x.shape[-1] // 2
        turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
        return self.r(self.r(x * cos) + self.r(turned * sin))

    def attention(self, x, at, name):
        heads, groups, size = (self.config[k] for k in ("heads", "groups", "size"))
        batch, positions, _ = x.shape
        split = lambda y, n: y.reshape(batch, positions, n, size).swapaxes(1, 2)
        steps = np.arange(0, size, 2, dtype=F32) / F32(size)
        frequency = F32(1) / F32(self.config["theta"]) ** steps
        angle = np.arange(positions, dtype=F32)[:, None] * frequency
        angle = np.concatenate([angle, angle], axis=-1)
        cos, sin = self.r(np.cos(angle)), self.r(np.sin(angle))
        q = self.rotate(split(self.linear(x, at + "self_attn.q_proj.weight"), heads), cos, sin)
        k = self.rotate(split(self.linear(x, at + "self_attn.k_proj.weight"), groups), cos, sin)
        v = split(self.linear(x, at + "self_attn.v_proj.weight"), groups)
        for tensor, y in (("q", q), ("k", k), ("v", v)):
            self.keep(f"{name}attn/{tensor}", y)
        k, v = (np.repeat(y, heads // groups, axis=1) for y in (k, v))
        scores = self.r(self.r(q @ k.swapaxes(2, 3)) * F32(size ** -0.5))
        future = np.triu(np.ones((positions, positions), bool), 1)
        with np.errstate(over="ignore"):
            scores = self.r(np.where(future, np.maximum(scores + F32(self.mask), np.finfo(F32).min),
                                     scores))
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        probs = self.r(e / e.sum(axis=-1, keepdims=True))
        self.keep(name + "attn/scores", scores)
        self.keep(name + "attn/probs", probs)
        context = self.r(probs @ v).swapaxes(1, 2).reshape(batch, positions, heads * size)
        return self.linear(self.keep(name + "attn/context", context),
                           at + "self_attn.o_proj.weight")

    def run(self):
        x = self.keep("embed", self.w["model.embed_tokens.weight"][self.tokens])
        for layer in range(self.config["layers"]):
            at, name = f"model.layers.{layer}.", f"layers/{layer}/"
            self.keep(name + "input", x)
            y = self.keep(name + "attn_norm", self.norm(x, at + "input_layernorm.weight"))
            y = self.keep(name + "attn/out", self.attention(y, at, name))
            x = self.keep(name + "attn_residual", self.r(x + y))
            y = self.keep(name + "mlp_norm", self.norm(x, at + "post_attention_layernorm.weight"))
            gate = self.keep(name + "mlp/gate", self.linear(y, at + "mlp.gate_proj.weight"))
            up = self.linear(y, at + "mlp.up_proj.weight")
            if self.defect == "gain":
                up = self.r(up * F32(1.01))
            self.keep(name + "mlp/up", up)
            silu = self.r(gate / (F32(1) + np.exp(-gate)))
            act = self.keep(name + "mlp/act", self.r(silu * up))
            y = self.keep(name + "mlp/out", self.linear(act, at + "mlp.down_proj.weight"))
            x = self.keep(name + "output", self.r(x + y))
        x = self.keep("final_norm", self.norm(x, "model.norm.weight", last=True))
        z = self.keep("logits", self.linear(x, "lm_head.weight"))
        z = z[:, :-1].reshape(-1, z.shape[-1])
        target = self.labels[:, 1:].reshape(-1)
        top = z.max(axis=-1)
        loss = np.log(np.exp(z - top[:, None]).sum(axis=-1, dtype=F32)) + top
        self.keep("loss", np.mean(loss - z[np.arange(len(z)), target], dtype=F32))
        return self.out


CONFIG = {"layers": 3, "heads": 4, "groups": 2, "size": 8, "theta": 10000.0, "eps": 1e-5}


def main():
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        judged = 0
        for positions in (16, 256):
            code, output = assay("generate", "--preset", "tiny", "--method", "plain", "--seq",
                                 str(positions), "--out", at("g.h5"), "--force")
            check(code == 0, output)
            assay("export", at("g.h5"), "--to", at("g.npz"), "--force")
            golden = dict(np.load(at("g.npz")))

            def verdict(precision, **changes):
                r = to_bf16 if precision == "bf16" else to_float32
                np.savez(at("c.npz"), **Llama(golden, CONFIG, r, **changes).run())
                return assay("compare", at("g.h5"), at("c.npz"), "--precision", precision)

            for precision in ("fp32", "bf16"):
                masks = (np.finfo(F32).min, -1e9, -1e4) if positions == 16 else (np.finfo(F32).min,)
                for mask in masks:
                    code, output = verdict(precision, mask=mask)
                    check(code == 0, f"{precision}, T {positions}, mask {mask} passes: {output}")
                    check("eager" in output, f"the report names the schedule: {output}")
                    judged += 1
                defects = ["gain", "no gain"] + (["eps"] if precision == "fp32" else [])
                for defect in defects:
                    code, output = verdict(precision, defect=defect)
                    check(code == 1, f"{precision}, T {positions}, {defect} fails: {output}")
            code, output = verdict("fp32", mask=-5.0)
            check(code == 1 and "masked" in output, f"a mask that leaks fails: {output}")
        tensors = Llama(golden, CONFIG, to_bf16).run()
        for said, expected in (({"schedule": "eager"}, "eager, bf16 storage.*as it declares"),
                               ({"schedule": "fused", "angles": "double"},
                                "fused, bf16 storage, fp32 accumulation, angles in fp64, as it "
                                "declares"),
                               ({"schedule": "lazy"},
                                "schedule: expected fused or eager, got lazy"),
                               ({"angles": "half"}, "angles: expected double, float32 or storage, "
                                                    "got half")):
            write_safetensors(at("c.safetensors"), tensors, said)
            code, output = assay("compare", at("g.h5"), at("c.safetensors"), "--precision", "bf16")
            check(re.search(expected, output), f"{said}: {output}")
        print(f"numpy {np.__version__}: {judged} clean dumps pass")


main()
