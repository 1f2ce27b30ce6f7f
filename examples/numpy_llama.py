"""A Llama in numpy, in float32, as a subject of Assay.

    assay generate --method plain --seq 32 --out golden.h5
    assay verify golden.h5 --subject exec:"python3 examples/numpy_llama.py" --leakage
"""

import json
import os

import assay_subject
import numpy as np


class Llama:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = json.load(file)
        path = os.path.join(folder, "model.safetensors")
        self.weights = assay_subject.read_safetensors(path)

    def norm(self, x, name):
        mean = np.mean(x * x, axis=-1, keepdims=True)
        eps = np.float32(self.config["rms_norm_eps"])
        return x / np.sqrt(mean + eps) * self.weights[name]

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T

    def heads(self, x):
        batch, positions, _ = x.shape
        return x.reshape(batch, positions, -1, self.config["head_dim"]).transpose(0, 2, 1, 3)

    def rotate(self, x):
        half = x.shape[-1] // 2
        frequencies = self.config["rope_theta"] ** (-np.arange(half) / half)
        angles = np.arange(x.shape[2])[:, None] * frequencies
        cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
        first, second = x[..., :half], x[..., half:]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def attention(self, x, prefix, visible, keep):
        q = keep("attn/q", self.rotate(self.heads(self.linear(x, prefix + "q_proj"))))
        k = keep("attn/k", self.rotate(self.heads(self.linear(x, prefix + "k_proj"))))
        v = keep("attn/v", self.heads(self.linear(x, prefix + "v_proj")))
        group = q.shape[1] // k.shape[1]
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(np.float32(q.shape[-1]))
        scores = keep("attn/scores", np.where(visible, scores, -np.inf).astype(x.dtype))
        most = scores.max(axis=-1, keepdims=True, initial=-1e30, where=visible)
        weights = np.where(visible, np.exp(scores - most), 0)
        total = weights.sum(axis=-1, keepdims=True)
        probs = np.divide(weights, total, np.zeros_like(weights), where=total > 0)
        probs = keep("attn/probs", probs)
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
        act = keep("mlp/act", gate / (1 + np.exp(-gate)) * up)
        return keep("output", x + keep("mlp/out", self.linear(act, prefix + "mlp.down_proj")))

    def __call__(self, request):
        tensors = {}

        def keep(name, x):  # what is computed, and what goes on in its place
            tensors[name] = x
            return request.forced[name].astype(x.dtype) if name in request.forced else x

        positions = request.tokens.shape[1]
        causal = np.tril(np.ones((positions, positions), bool))
        visible = causal & (request.attention_mask[:, None, None, :] != 0)
        x = keep("embed", self.weights["model.embed_tokens.weight"][request.tokens])
        for number in range(self.config["num_hidden_layers"]):
            x = self.layer(
                x, number, visible, lambda name, y, n=number: keep(f"layers/{n}/{name}", y)
            )
        x = keep("final_norm", self.norm(x, "model.norm.weight"))
        logits = keep("logits", self.linear(x, "lm_head"))
        keep("loss", np.float32(loss(logits, request.labels)))
        return tensors


def loss(logits, labels):
    """Mean cross-entropy of logits at t against the label at t + 1, where it is not -100."""
    logits, labels = logits[:, :-1].astype(np.float64), labels[:, 1:]
    counted = labels != -100
    most = logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(logits - most).sum(axis=-1)) + most[..., 0]
    picked = np.take_along_axis(logits, np.where(counted, labels, 0)[..., None], -1)[..., 0]
    return (log_sum - picked)[counted].mean()


def main():
    models = {}

    def run(request):
        if request.model not in models:
            models[request.model] = Llama(request.model)
        return models[request.model](request)

    assay_subject.serve(run, can=["force"], storage="fp32", schedule="eager", angles="double")


if __name__ == "__main__":
    main()
