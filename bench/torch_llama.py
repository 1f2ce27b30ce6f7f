"""Llama blocks with method 1 or plain in PyTorch, for bench/device_bench.py: the peer, in any type,
on any device.

Straightforward code. attention="stored" keeps every matrix of probabilities, as method 1 needs it;
"sdpa" calls scaled_dot_product_attention, which keeps none and serves method plain alone.
"""
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Size:
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    vocab: int
    eps: float = 1e-5

    def config(self, method, positions):
        """The config.json of the same model."""
        return {"hidden_size": self.width, "intermediate_size": self.inner,
                "num_hidden_layers": self.layers,
                "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads,
                "head_dim": self.head,
                "vocab_size": self.vocab, "max_position_embeddings": positions,
                "rms_norm_eps": self.eps, "rope_theta": 10000.0, "assay": {"method": method}}


def make_weights(size, device, dtype, seed=1):
    """By their checkpoints' names; drawn in float32 and rounded to dtype."""
    generator = torch.Generator(device=device).manual_seed(seed)

    def draw(rows, columns):
        values = torch.randn(rows, columns, generator=generator, device=device) / columns ** 0.5
        return values.to(dtype)

    def gain():
        return (torch.rand(size.width, generator=generator, device=device) + 0.5).to(dtype)

    weights = {"model.embed_tokens.weight": draw(size.vocab, size.width)}
    for l in range(size.layers):
        layer = {"self_attn.q_proj": draw(size.heads * size.head, size.width),
                 "self_attn.k_proj": draw(size.kv_heads * size.head, size.width),
                 "self_attn.v_proj": draw(size.kv_heads * size.head, size.width),
                 "self_attn.o_proj": draw(size.width, size.heads * size.head),
                 "mlp.gate_proj": draw(size.inner, size.width),
                 "mlp.up_proj": draw(size.inner, size.width),
                 "mlp.down_proj": draw(size.width, size.inner),
                 "input_layernorm": gain(), "post_attention_layernorm": gain()}
        weights.update({f"model.layers.{l}.{name}.weight": value for name, value in layer.items()})
    weights["model.norm.weight"] = gain()
    weights["lm_head.weight"] = draw(size.vocab, size.width)
    return weights


def rms_norm(x, gain, eps):
    wide = x.float()
    return gain * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rotate(x, cos, sin):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1)


def swiglu(x, gate, up, down):
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


class Llama:
    """compiled: each of the three pieces of a layer through torch.compile, once for all layers."""

    def __init__(self, size, weights, method, attention, compiled=False):
        self.size, self.weights, self.method, self.attention = size, weights, method, attention
        wrap = torch.compile if compiled else (lambda function: function)
        self.run_attention, self.run_mlp = wrap(self.attend), wrap(self.mlp)
        self.run_again = wrap(self.again)

    def split(self, x, count):
        return x.view(x.shape[0], x.shape[1], count, self.size.head).transpose(1, 2)

    def merged(self, x):
        return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], self.size.heads * self.size.head)

    def repeated(self, x):
        return x.repeat_interleave(self.size.heads // self.size.kv_heads, dim=1)

    def attend(self, x, norm, q, k, v, o, cos, sin, hidden):
        """The block's output Y and, if they are formed, its probabilities."""
        s = self.size
        h = rms_norm(x, norm, s.eps)
        q = rotate(self.split(F.linear(h, q), s.heads), cos, sin)
        k = self.repeated(rotate(self.split(F.linear(h, k), s.kv_heads), cos, sin))
        v = self.repeated(self.split(F.linear(h, v), s.kv_heads))
        if self.attention == "sdpa":
            return x + F.linear(self.merged(F.scaled_dot_product_attention(q, k, v,
                                                                           is_causal=True)),
                                o), None
        scores = (q @ k.transpose(-1, -2)) / s.head ** 0.5
        probs = scores.masked_fill(hidden, float("-inf")).softmax(-1,
                                                                  dtype=torch.float32).to(x.dtype)
        return x + F.linear(self.merged(probs @ v), o), probs

    def mlp(self, y, norm, gate, up, down):
        return y + swiglu(rms_norm(y, norm, self.size.eps), gate, up, down)

    def again(self, x, probs, attn_norm, v, o, mlp_norm, gate, up, down):
        """An earlier layer on the current stream, with its own probabilities."""
        s = self.size
        v = self.repeated(self.split(F.linear(rms_norm(x, attn_norm, s.eps), v), s.kv_heads))
        out = F.linear(self.merged(probs @ v), o)
        return swiglu(rms_norm(x + out, mlp_norm, s.eps), gate, up, down)

    def forward(self, tokens):
        """Logits [B,T,V]."""
        s, positions = self.size, tokens.shape[1]
        x = F.embedding(tokens, self.weights["model.embed_tokens.weight"])
        steps = torch.arange(positions, device=x.device, dtype=torch.float64)[:, None]
        angle = steps * 10000.0 ** (-torch.arange(0, s.head, 2, device=x.device,
                                                  dtype=torch.float64) / s.head)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        hidden = None
        if self.attention != "sdpa":
            hidden = torch.ones(positions, positions, dtype=torch.bool, device=x.device).triu(1)
        layers = [self.layer(l) for l in range(s.layers)]
        probs = []
        for l, (norm, q, k, v, o, *mlp) in enumerate(layers):
            y, a = self.run_attention(x, norm, q, k, v, o, cos, sin, hidden)
            out = self.run_mlp(y, *mlp)
            if self.method == "1":
                probs.append(a)
                for j, (earlier, _, _, v_j, o_j, *mlp_j) in enumerate(layers[:l]):
                    out = out + self.run_again(x, probs[j], earlier, v_j, o_j, *mlp_j)
            x = out
        return F.linear(rms_norm(x, self.weights["model.norm.weight"], s.eps),
                        self.weights["lm_head.weight"])

    def layer(self, l):
        names = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                 "self_attn.o_proj",
                 "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
        return [self.weights[f"model.layers.{l}.{name}.weight"] for name in names]

    def loss(self, tokens):
        logits = self.forward(tokens)[:, :-1]
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(),
                               tokens[:, 1:].reshape(-1))
