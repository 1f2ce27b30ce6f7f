"""A Llama in JAX as a subject of Assay, operation by operation or compiled as a whole (--jit).

    assay generate --method plain --seq 32 --out golden.h5
    assay verify golden.h5 --subject exec:"python3 examples/jax_llama.py --jit" --leakage

It computes in the type of --precision: fp32, bf16 or fp16. Needs jax.
"""

import json
import sys

import assay_subject
import jax
import jax.numpy as jnp
import numpy as np

TYPES = {"fp32": jnp.float32, "bf16": jnp.bfloat16, "fp16": jnp.float16}


class Llama:
    def __init__(self, folder, dtype):
        with open(folder + "/config.json", encoding="utf-8") as file:
            self.config = json.load(file)
        weights = assay_subject.read_safetensors(folder + "/model.safetensors")
        self.weights = {name: jnp.asarray(x).astype(dtype) for name, x in weights.items()}

    def norm(self, x, name):
        wide = x.astype(jnp.float32)
        mean = jnp.mean(wide * wide, axis=-1, keepdims=True)
        wide = wide * jax.lax.rsqrt(mean + self.config["rms_norm_eps"])
        return wide.astype(x.dtype) * self.weights[name]

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T

    def heads(self, x):
        batch, positions, _ = x.shape
        return x.reshape(batch, positions, -1, self.config["head_dim"]).transpose(0, 2, 1, 3)

    def rotate(self, x):
        half = x.shape[-1] // 2
        frequencies = self.config["rope_theta"] ** (-np.arange(half) / half)
        angles = np.arange(x.shape[2])[:, None] * frequencies
        cos, sin = (jnp.asarray(y.astype(np.float32)).astype(x.dtype)
                    for y in (np.cos(angles), np.sin(angles)))
        first, second = x[..., :half], x[..., half:]
        return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def attention(self, x, prefix, visible, keep):
        q = keep("attn/q", self.rotate(self.heads(self.linear(x, prefix + "q_proj"))))
        k = keep("attn/k", self.rotate(self.heads(self.linear(x, prefix + "k_proj"))))
        v = keep("attn/v", self.heads(self.linear(x, prefix + "v_proj")))
        group = q.shape[1] // k.shape[1]
        k, v = jnp.repeat(k, group, axis=1), jnp.repeat(v, group, axis=1)
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]).astype(q.dtype)
        scores = keep("attn/scores", jnp.where(visible, scores, -jnp.inf))
        probs = jax.nn.softmax(scores.astype(jnp.float32), where=visible).astype(x.dtype)
        probs = keep("attn/probs", jnp.where(visible, probs, 0))
        batch, heads, positions, size = v.shape
        context = (probs @ v).transpose(0, 2, 1, 3).reshape(batch, positions, heads * size)
        return keep("attn/out", self.linear(keep("attn/context", context), prefix + "o_proj"))

    def layer(self, x, number, visible, keep):
        prefix = f"model.layers.{number}."
        x = keep("input", x)
        normed = keep("attn_norm", self.norm(x, prefix + "input_layernorm.weight"))
        x = keep("attn_residual", x + self.attention(normed, prefix + "self_attn.", visible, keep))
        normed = keep("mlp_norm", self.norm(x, prefix + "post_attention_layernorm.weight"))
        gate = keep("mlp/gate", self.linear(normed, prefix + "mlp.gate_proj"))
        up = keep("mlp/up", self.linear(normed, prefix + "mlp.up_proj"))
        act = keep("mlp/act", jax.nn.silu(gate) * up)
        return keep("output", x + keep("mlp/out", self.linear(act, prefix + "mlp.down_proj")))

    def __call__(self, tokens, attention_mask, labels, forced):
        tensors = {}

        def keep(name, x):  # what is computed, and what goes on in its place
            tensors[name] = x
            return forced[name].astype(x.dtype) if name in forced else x

        causal = np.tril(np.ones((tokens.shape[1], tokens.shape[1]), bool))
        visible = causal & (attention_mask[:, None, None, :] != 0)
        x = keep("embed", self.weights["model.embed_tokens.weight"][tokens])
        for number in range(self.config["num_hidden_layers"]):
            x = self.layer(
                x, number, visible, lambda name, y, n=number: keep(f"layers/{n}/{name}", y)
            )
        x = keep("final_norm", self.norm(x, "model.norm.weight"))
        logits = keep("logits", self.linear(x, "lm_head"))
        keep("loss", loss(logits, labels))
        return tensors


def loss(logits, labels):
    """Mean cross-entropy of logits at t against the label at t + 1, where it is not -100."""
    spread, labels = jax.nn.log_softmax(logits[:, :-1].astype(jnp.float32)), labels[:, 1:]
    counted = labels != -100
    picked = jnp.take_along_axis(spread, jnp.where(counted, labels, 0)[..., None], -1)[..., 0]
    return -jnp.sum(picked * counted) / jnp.sum(counted)


class Subject:
    def __init__(self, jit):
        self.jit = jit

    def hello(self, message):
        model = Llama(message["model"], TYPES[message["precision"]])
        self.run = jax.jit(model) if self.jit else model
        schedule = "" if self.jit else "eager"
        return {"version": f"jax {jax.__version__}{' jit' if self.jit else ''}",
                "storage": message["precision"], "schedule": schedule, "angles": "double",
                "can": ["force"]}

    def __call__(self, request):
        forced = {name: jnp.asarray(x) for name, x in request.forced.items()}
        return self.run(request.tokens, request.attention_mask, request.labels, forced)


if __name__ == "__main__":
    assay_subject.serve(Subject("--jit" in sys.argv))
