"""A Llama of one's own in PyTorch as a subject of Assay: nothing in the model knows of Assay.

    assay generate --method plain --seq 32 --out golden.h5
    assay verify golden.h5 --subject exec:"python3 examples/torch_llama.py" --leakage

Its modules and weights are named as in checkpoints of Hugging Face: names="llama". Of a model with
other names, names={"layers/{l}/attn_norm": "blocks.{l}.norm1", ..} says where the tensors are
(docs/python.md). Needs torch.
"""

import json

import assay_subject
import torch
from torch import nn
from torch.nn import functional as F


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, self.size, self.theta = c["hidden_size"], c["head_dim"], c["rope_theta"]
        heads, groups = c["num_attention_heads"], c["num_key_value_heads"]
        self.q_proj = nn.Linear(width, heads * self.size, bias=False)
        self.k_proj = nn.Linear(width, groups * self.size, bias=False)
        self.v_proj = nn.Linear(width, groups * self.size, bias=False)
        self.o_proj = nn.Linear(heads * self.size, width, bias=False)

    def rotated(self, x):
        frequency = self.theta ** (-torch.arange(0, self.size, 2).float() / self.size)
        angle = torch.outer(torch.arange(x.shape[2]).float(), frequency)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        x1, x2 = x.chunk(2, dim=-1)  # halves of a head, not neighbours
        return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1)

    def forward(self, x, visible):
        batch, positions, _ = x.shape
        split = lambda y: y.view(batch, positions, -1, self.size).transpose(1, 2)
        q, k = self.rotated(split(self.q_proj(x))), self.rotated(split(self.k_proj(x)))
        v, repeats = split(self.v_proj(x)), q.shape[1] // k.shape[1]
        k, v = (y.repeat_interleave(repeats, dim=1) for y in (k, v))
        scores = (q @ k.transpose(-1, -2) / self.size**0.5).masked_fill(~visible, float("-inf"))
        probs = scores.softmax(-1).masked_fill(~visible, 0)  # of a query that sees no key: 0
        return self.o_proj((probs @ v).transpose(1, 2).reshape(batch, positions, -1))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, inner = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = Mlp(c)

    def forward(self, x, visible):
        x = x + self.self_attn(self.input_layernorm(x), visible)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.model = Model(c)
        self.lm_head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)

    def forward(self, tokens, attention_mask, labels):
        causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()
        visible = causal & attention_mask[:, None, None, :].bool()
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, visible)
        logits = self.lm_head(self.model.norm(x))
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return {"logits": logits, "loss": loss}


def load(folder, dtype):
    """The model of a Hugging Face folder."""
    with open(folder + "/config.json", encoding="utf-8") as file:
        model = Llama(json.load(file))
    weights = assay_subject.read_safetensors(folder + "/model.safetensors")
    model.load_state_dict({name: torch.tensor(x) for name, x in weights.items()})
    return model.to(dtype)


if __name__ == "__main__":
    assay_subject.serve(assay_subject.TorchSubject(load, names="llama"))
