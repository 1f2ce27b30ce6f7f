"""Mistral, Qwen2 and Qwen3 in numpy are not accused, their defects are. Usage: .. ASSAY

Each family as Hugging Face transformers writes it, from the weights and the config.json that
`assay export` gives: in float64 the golden values to 1e-12, in float32 and bf16 (a rounding after
every operation) a dump that passes; a lost bias, norms of q and k that are missing, have another
eps, stand behind the rotation or share the wrong gain, and a window that is off by one or in the
wrong layers fail at the tensor where they are. Exits with 77 (skip) where numpy is missing.
"""

import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

F32 = np.float32
POSITIONS = 24


def check(condition, claim):
    if not condition:
        sys.exit(f"FAIL: {claim}")


def assay(*arguments):
    """Exit code and output."""
    done = subprocess.run([sys.argv[1], *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode()


def to_bf16(x):
    """The nearest bf16, ties to even, as a float32."""
    bits = np.asarray(x, F32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(F32)


ROUND = {"fp64": lambda x: np.asarray(x, np.float64), "fp32": lambda x: np.asarray(x, F32),
         "bf16": to_bf16}


def window_of(config, layer):
    """The keys that a query of this layer sees, itself the last; 0: all."""
    if config["model_type"] == "mistral":
        return config["sliding_window"]
    types = config.get("layer_types", [])
    return config["sliding_window"] if types and types[layer] == "sliding_attention" else 0


class Decoder:
    """One forward pass; `r` rounds what an operation hands on to the storage type."""

    def __init__(self, golden, config, precision, defect=""):
        self.r, self.wide = ROUND[precision], np.float64 if precision == "fp64" else F32
        self.w = {k[len("weights/"):]: np.asarray(v, self.wide) for k, v in golden.items()
                  if k.startswith("weights/")}
        self.tokens, self.labels = golden["inputs/tokens"], golden["inputs/labels"]
        self.real = golden["inputs/attention_mask"].astype(bool)
        self.config, self.defect = config, defect
        self.out = {}

    def keep(self, name, x):
        self.out[name] = np.array(x, self.wide)
        return x

    def norm(self, x, name, eps=None):
        eps = self.wide(self.config["rms_norm_eps"] if eps is None else eps)
        mean = np.mean(x * x, axis=-1, keepdims=True, dtype=self.wide)
        return self.r(self.w[name] * self.r(x * (self.wide(1) / np.sqrt(mean + eps))))

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        bias = self.w.get(name + ".bias")
        lost = self.defect == "lost bias of " + name.split(".")[-1]
        return self.r(y if bias is None or lost else y + bias)

    def rotate(self, x):
        size, half = x.shape[-1], x.shape[-1] // 2
        steps = np.arange(0, size, 2, dtype=self.wide) / self.wide(size)
        frequency = self.wide(1) / self.wide(self.config["rope_theta"]) ** steps
        angle = np.arange(x.shape[-2], dtype=self.wide)[:, None] * frequency
        angle = np.concatenate([angle, angle], axis=-1)
        turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
        return self.r(self.r(x * self.r(np.cos(angle))) + self.r(turned * self.r(np.sin(angle))))

    def heads(self, x, at, tensor, gain):
        """Query or key heads [B,n,T,Dh], behind norm and rotation."""
        y = self.split(self.linear(x, at + gain.replace("norm", "proj")))
        name = f"layers/{at.split('.')[2]}/attn/{tensor}"
        if at + gain + ".weight" not in self.w:
            return self.keep(name, self.rotate(y))
        self.keep(name + "_proj", y)
        if self.defect == "norm behind rotation":
            return self.keep(name, self.norm(self.rotate(y), at + gain + ".weight"))
        if self.defect == "gains exchanged":
            gain = {"q_norm": "k_norm", "k_norm": "q_norm"}[gain]
        eps = 1e-3 if self.defect == "eps of heads" else None
        if self.defect != "no norm of heads":
            y = self.norm(y, at + gain + ".weight", eps)
        self.keep(name + "_norm", y)
        return self.keep(name, self.rotate(y))

    def split(self, y):
        size = self.config["head_dim"]
        return y.reshape(*y.shape[:2], y.shape[2] // size, size).swapaxes(1, 2)

    def visible(self, layer, positions):
        t, s = np.arange(positions)[:, None], np.arange(positions)[None, :]
        window = window_of(self.config, layer)
        window += {"window one more": 1, "window one less": -1}.get(self.defect, 0) * bool(window)
        if self.defect == "window everywhere" and not window:
            window = self.config["sliding_window"]
        seen = (s <= t) & ((t - s < window) if window else True)
        return seen[None, None] & self.real[:, None, None, :]

    def attention(self, x, layer):
        at, name = f"model.layers.{layer}.self_attn.", f"layers/{layer}/attn/"
        q, k = self.heads(x, at, "q", "q_norm"), self.heads(x, at, "k", "k_norm")
        v = self.keep(name + "v", self.split(self.linear(x, at + "v_proj")))
        k, v = (np.repeat(y, q.shape[1] // y.shape[1], axis=1) for y in (k, v))
        scores = self.r(self.r(q @ k.swapaxes(2, 3)) * self.wide(q.shape[-1] ** -0.5))
        scores = np.where(self.visible(layer, q.shape[2]), scores, self.wide(-np.inf))
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        probs = self.r(e / e.sum(axis=-1, keepdims=True))
        self.keep(name + "scores", scores)
        self.keep(name + "probs", probs)
        context = self.r(probs @ v).swapaxes(1, 2).reshape(*x.shape[:2], -1)
        return self.linear(self.keep(name + "context", context), at + "o_proj")

    def run(self):
        x = self.keep("embed", self.w["model.embed_tokens.weight"][self.tokens])
        for layer in range(self.config["num_hidden_layers"]):
            at, name = f"model.layers.{layer}.", f"layers/{layer}/"
            self.keep(name + "input", x)
            y = self.keep(name + "attn_norm", self.norm(x, at + "input_layernorm.weight"))
            y = self.keep(name + "attn/out", self.attention(y, layer))
            x = self.keep(name + "attn_residual", self.r(x + y))
            y = self.keep(name + "mlp_norm", self.norm(x, at + "post_attention_layernorm.weight"))
            gate = self.keep(name + "mlp/gate", self.linear(y, at + "mlp.gate_proj"))
            up = self.keep(name + "mlp/up", self.linear(y, at + "mlp.up_proj"))
            silu = self.r(gate / (self.wide(1) + np.exp(-gate)))
            act = self.keep(name + "mlp/act", self.r(silu * up))
            y = self.keep(name + "mlp/out", self.linear(act, at + "mlp.down_proj"))
            x = self.keep(name + "output", self.r(x + y))
        x = self.keep("final_norm", self.norm(x, "model.norm.weight"))
        head = self.w.get("lm_head.weight", self.w["model.embed_tokens.weight"])
        z = self.keep("logits", self.r(x @ head.T))
        z, target = z[:, :-1], self.labels[:, 1:]
        top = z.max(axis=-1)
        loss = np.log(np.exp(z - top[..., None]).sum(axis=-1, dtype=self.wide)) + top
        loss -= np.take_along_axis(z, np.maximum(target, 0)[..., None], -1)[..., 0]
        self.keep("loss", np.mean(loss[target != -100], dtype=self.wide))
        return self.out


# Options of `assay generate`, and defects with the tensor of layer 0 or 1 that they are found at.
FAMILIES = {
    "mistral": (["--window", "5"],
                {"window one more": "layers/0/attn/scores",
                 "window one less": "layers/0/attn/scores"}),
    "qwen2": ([], {"lost bias of q_proj": "layers/0/attn/q",
                   "lost bias of k_proj": "layers/0/attn/k",
                   "lost bias of v_proj": "layers/0/attn/v"}),
    "qwen3": ([], {"no norm of heads": "layers/0/attn/q_norm",
                   "eps of heads": "layers/0/attn/q_norm",
                   "gains exchanged": "layers/0/attn/q_norm",
                   "norm behind rotation": "layers/0/attn/q"}),
    "qwen3 ": (["--attention-bias", "all", "--window", "3", "--full-layers", "0,2"],
               {"lost bias of q_proj": "layers/0/attn/q_proj",
                "lost bias of o_proj": "layers/0/attn/out",
                "window one less": "layers/1/attn/scores",
                "window everywhere": "layers/0/attn/scores"}),
}


def main():
    judged = 0
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        for family, (options, defects) in FAMILIES.items():
            code, output = assay("generate", "--preset", "tiny", "--family", family.strip(),
                                 *options, "--batch", "2", "--seq", str(POSITIONS),
                                 "--out", at("g.h5"), "--force")
            check(code == 0, output)
            for to in ("g.npz", "model"):
                code, output = assay("export", at("g.h5"), "--to", at(to), "--force")
                check(code == 0, output)
            golden = dict(np.load(at("g.npz")))
            with open(at("model/config.json")) as file:
                config = json.load(file)
            check(config["model_type"] == family.strip(), f"{family}: {config['model_type']}")
            check(config["architectures"] != ["AssayForCausalLM"], f"{family}: a class has it")

            expected = Decoder(golden, config, "fp64").run()
            forward = {k[len("forward/"):]: v for k, v in golden.items()
                       if k.startswith("forward/")}
            check(set(expected) == set(forward), f"{family}: {set(expected) ^ set(forward)}")
            for name, values in expected.items():
                finite = np.isfinite(values)
                check(np.array_equal(finite, np.isfinite(forward[name])),
                      f"{family}: {name}: the same entries are masked")
                off = np.abs(values[finite] - forward[name][finite]).max()
                most = np.abs(forward[name][finite]).max()
                check(off <= 1e-12 * most, f"{family}: {name}: off by {off} of {most}")

            def verdict(precision, defect=""):
                np.savez(at("c.npz"), **Decoder(golden, config, precision, defect).run())
                return assay("compare", at("g.h5"), at("c.npz"), "--precision", precision)

            for precision in ("fp32", "bf16"):
                code, output = verdict(precision)
                check(code == 0, f"{family}, {precision} passes: {output}")
                judged += 1
                for defect, tensor in defects.items():
                    # Half of bf16's 8 bits hide an eps of 1e-3 under squares of 1.
                    if precision == "bf16" and defect == "eps of heads":
                        continue
                    code, output = verdict(precision, defect)
                    check(code == 1, f"{family}, {precision}, {defect} fails: {output}")
                    first = next((line for line in output.splitlines() if "FAIL /" in line), "")
                    check(f"FAIL /{tensor} " in first,
                          f"{family}, {precision}, {defect} is found at {tensor}: {output}")
    print(f"numpy {np.__version__}: {judged} clean dumps pass")


main()
