"""Training a Llama in numpy, with gradients by hand and AdamW, as a subject of Assay.

    assay generate --method plain --seq 32 --batch 2 --out golden.h5
    assay verify golden.h5 --train 4 --subject exec:"python3 examples/numpy_train.py"

In float32, or in float64 under --precision fp64. docs/lockstep.md tells what is judged of it.
"""

import json
import math
import os

import assay_subject
import numpy as np


class Model:
    """Loss and gradients of weights by name."""

    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = json.load(file)
        self.tied = self.config.get("tie_word_embeddings", False)

    def gradients(self, weights, batch, counted, grads):
        """Adds to `grads` those of the sum of losses over `counted`; returns that sum."""
        self.weights, self.grads = weights, grads
        positions, layers = batch.tokens.shape[1], self.config["num_hidden_layers"]
        causal = np.tril(np.ones((positions, positions), bool))
        visible = causal & (batch.attention_mask[:, None, None, :] != 0)
        x, kept = self.weights["model.embed_tokens.weight"][batch.tokens], []
        for number in range(layers):
            x, saved = self.layer(x, f"model.layers.{number}.", visible)
            kept.append(saved)
        normed, final = self.norm(x, "model.norm.weight")
        head = "model.embed_tokens.weight" if self.tied else "lm_head.weight"
        loss, dlogits = self.loss(normed @ self.weights[head].T, batch.labels, counted)
        dx = self.norm_back(self.linear_back(dlogits, normed, head), "model.norm.weight", final)
        for number in reversed(range(layers)):
            dx = self.layer_back(dx, f"model.layers.{number}.", kept[number])
        np.add.at(self.grads["model.embed_tokens.weight"], batch.tokens, dx)
        return loss

    def loss(self, logits, labels, counted):
        """Of logits at t against the label at t + 1, where it is not -100; and its gradient."""
        shifted = np.full_like(labels, -100)
        shifted[:, :-1] = labels[:, 1:]
        real = shifted != -100
        exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probs = exps / exps.sum(axis=-1, keepdims=True)
        wanted = np.where(real, shifted, 0)[..., None]
        picked = np.take_along_axis(probs, wanted, -1)[..., 0]
        np.put_along_axis(probs, wanted, (picked - 1)[..., None], -1)
        return float(-np.log(picked[real]).sum()) / counted, probs * real[..., None] / counted

    # Each operation, and its gradient.

    def linear(self, x, name):
        return x @ self.weights[name].T

    def linear_back(self, dy, x, name):
        self.grads[name] += np.einsum("btm,btk->mk", dy, x, optimize=True)
        return dy @ self.weights[name]

    def norm(self, x, name):
        inverse = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.config["rms_norm_eps"])
        inverse = inverse.astype(x.dtype)
        return x * inverse * self.weights[name], (x * inverse, inverse)

    def norm_back(self, dy, name, saved):
        unit, inverse = saved
        self.grads[name] += (dy * unit).sum(axis=(0, 1))
        dy = dy * self.weights[name]
        return inverse * (dy - unit * np.mean(dy * unit, axis=-1, keepdims=True))

    def heads(self, x):
        batch, positions, _ = x.shape
        return x.reshape(batch, positions, -1, self.config["head_dim"]).transpose(0, 2, 1, 3)

    def merged(self, x):
        batch, heads, positions, size = x.shape
        return x.transpose(0, 2, 1, 3).reshape(batch, positions, heads * size)

    def rotate(self, x, turn=1):
        half = x.shape[-1] // 2
        frequencies = self.config["rope_theta"] ** (-np.arange(half) / half)
        angles = np.arange(x.shape[2])[:, None] * frequencies
        cos, sin = np.cos(angles).astype(x.dtype), turn * np.sin(angles).astype(x.dtype)
        first, second = x[..., :half], x[..., half:]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def attention(self, x, prefix, visible):
        q = self.rotate(self.heads(self.linear(x, prefix + "q_proj.weight")))
        k = self.rotate(self.heads(self.linear(x, prefix + "k_proj.weight")))
        v = self.heads(self.linear(x, prefix + "v_proj.weight"))
        group = q.shape[1] // k.shape[1]
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.where(visible, q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1]), -np.inf)
        most = scores.max(axis=-1, keepdims=True, initial=-1e30, where=visible)
        exps = np.where(visible, np.exp(scores - most), 0).astype(x.dtype)
        total = exps.sum(axis=-1, keepdims=True)
        probs = np.divide(exps, total, np.zeros_like(exps), where=total > 0)
        context = self.merged(probs @ v)
        return self.linear(context, prefix + "o_proj.weight"), (x, q, k, v, probs, context, group)

    def attention_back(self, dy, prefix, saved):
        x, q, k, v, probs, context, group = saved
        dcontext = self.heads(self.linear_back(dy, context, prefix + "o_proj.weight"))
        dprobs = dcontext @ v.transpose(0, 1, 3, 2)
        dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
        dscores = dscores / math.sqrt(q.shape[-1])

        def once(d):  # the sum over the copies of a head
            batch, heads, positions, size = d.shape
            return d.reshape(batch, heads // group, group, positions, size).sum(axis=2)

        dq, dk = dscores @ k, once(dscores.transpose(0, 1, 3, 2) @ q)
        dv = once(probs.transpose(0, 1, 3, 2) @ dcontext)
        dx = self.linear_back(self.merged(self.rotate(dq, -1)), x, prefix + "q_proj.weight")
        dx = dx + self.linear_back(self.merged(self.rotate(dk, -1)), x, prefix + "k_proj.weight")
        return dx + self.linear_back(self.merged(dv), x, prefix + "v_proj.weight")

    def mlp(self, x, prefix):
        gate = self.linear(x, prefix + "gate_proj.weight")
        up = self.linear(x, prefix + "up_proj.weight")
        sigmoid = 1 / (1 + np.exp(-gate))
        act = gate * sigmoid * up
        return self.linear(act, prefix + "down_proj.weight"), (x, gate, up, sigmoid, act)

    def mlp_back(self, dy, prefix, saved):
        x, gate, up, sigmoid, act = saved
        dact = self.linear_back(dy, act, prefix + "down_proj.weight")
        dgate = dact * up * sigmoid * (1 + gate * (1 - sigmoid))
        dx = self.linear_back(dgate, x, prefix + "gate_proj.weight")
        return dx + self.linear_back(dact * gate * sigmoid, x, prefix + "up_proj.weight")

    def layer(self, x, prefix, visible):
        normed, first = self.norm(x, prefix + "input_layernorm.weight")
        out, attention = self.attention(normed, prefix + "self_attn.", visible)
        x = x + out
        normed, second = self.norm(x, prefix + "post_attention_layernorm.weight")
        out, mlp = self.mlp(normed, prefix + "mlp.")
        return x + out, (first, attention, second, mlp)

    def layer_back(self, dx, prefix, saved):
        first, attention, second, mlp = saved
        dnormed = self.mlp_back(dx, prefix + "mlp.", mlp)
        dx = dx + self.norm_back(dnormed, prefix + "post_attention_layernorm.weight", second)
        dnormed = self.attention_back(dx, prefix + "self_attn.", attention)
        return dx + self.norm_back(dnormed, prefix + "input_layernorm.weight", first)


class Trainer:
    """AdamW over the weights of a model: what `serve` asks for a step."""

    def hello(self, message):
        types = {"fp32": np.float32, "fp64": np.float64}
        if message["precision"] not in types:
            raise ValueError(f"precision: expected fp32 or fp64, got {message['precision']}")
        self.dtype, self.steps = types[message["precision"]], 0
        self.model = Model(message["model"])
        return {"storage": message["precision"], "scalars": "double", "clip_epsilon": 0}

    def __call__(self, request):
        raise NotImplementedError("this program trains; examples/numpy_llama.py runs")

    def train(self, request):
        if request.state is not None:
            self.steps = request.steps
            self.weights, self.first, self.second = (
                {name: x.astype(self.dtype) for name, x in request.state[kind].items()}
                for kind in ("weight", "first", "second"))
        grads = {name: np.zeros_like(x) for name, x in self.weights.items()}
        counted = sum(int((batch.labels[:, 1:] != -100).sum()) for batch in request.micro_batches)
        loss = 0.0
        for batch in request.micro_batches:
            loss += self.model.gradients(self.weights, batch, counted, grads)
        norm = math.sqrt(sum(float(np.sum(g * g)) for g in grads.values()))
        self.steps += 1
        self.update(grads, norm, request)
        return {"loss": loss, "grad_norm": norm,
                **{"grad/" + name: x for name, x in grads.items()},
                **{"first/" + name: x for name, x in self.first.items()},
                **{"second/" + name: x for name, x in self.second.items()},
                **{"weight/" + name: x for name, x in self.weights.items()}}

    def update(self, grads, norm, request):
        rule = request.rule
        beta1, beta2, eps = rule["beta1"], rule["beta2"], rule["eps"]
        clip = min(1.0, rule["max_norm"] / norm) if rule["max_norm"] > 0 else 1.0
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        for name, weight in self.weights.items():
            g = clip * grads[name]
            m = beta1 * self.first[name] + (1 - beta1) * g
            v = beta2 * self.second[name] + (1 - beta2) * g * g
            direction = m / correction1 / (np.sqrt(v / correction2) + eps)
            decay = rule["weight_decay"] if name in request.decay else 0.0
            weight = weight - request.rate * (direction + decay * weight)
            self.weights[name], self.first[name], self.second[name] = weight, m, v


if __name__ == "__main__":
    assay_subject.serve(Trainer(), schedule="eager", angles="double")
