"""Defects planted in models of transformers: those of hf_defects.py and more, and where each shows.

Of every defect the first checkpoint that is wrong: of eager attention, and where that is one that
sdpa does not form, `attn/context`.
"""

import sys

import torch
from torch import nn
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.llama import modeling_llama

import hf_defects

LAYER = hf_defects.LAYER
AT = f"layers/{LAYER}/"


def layer_of(model, kind):
    return hf_defects.layer_of(model, kind)


def attention_of(model, kind):
    return hf_defects.attention_of(model, kind)


def after(module, change):
    """`change` of what the module gives."""
    module.register_forward_hook(
        lambda _, __, out: (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out))


def norm_of_layer(model, kind, second=False):
    return hf_defects.norms_of(model, kind)[1 if second else 0]


# In either model.


def embedding_of_next(model, kind):
    """row n + 1 of the embedding for token n"""
    table = model.get_input_embeddings()
    table.weight = nn.Parameter(table.weight.roll(-1, 0))


def embedding_scaled(model, kind):
    """times sqrt(D), as Gemma does"""
    table = model.get_input_embeddings()
    after(table, lambda x: x * x.shape[-1] ** 0.5)


def final_norm_lost(model, kind):
    base = model.model if kind == "llama" else model.transformer
    setattr(base, "norm" if kind == "llama" else "ln_f", nn.Identity())


def logits_of_before(model, kind):
    """the logits of position t - 1 at t"""
    after(model.lm_head, lambda x: x.roll(1, 1))


def loss_not_shifted(model, kind):
    """labels at t for logits at t"""
    model.loss_function = lambda logits, labels, **_: nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten())


def context_heads_mixed(model, kind):
    """[Dh, H] in place of [H, Dh] before the output projection"""
    attention = attention_of(model, kind)
    out, heads = (attention.o_proj, 4) if kind == "llama" else (attention.c_proj, 4)
    out.register_forward_pre_hook(
        lambda _, x: (x[0].unflatten(-1, (heads, -1)).transpose(-1, -2).flatten(-2),))


def stale_row(model, kind):
    """the context of the last position is that of the one before"""
    attention = attention_of(model, kind)
    out = attention.o_proj if kind == "llama" else attention.c_proj

    def change(_, x):
        y = x[0].clone()
        y[:, -1] = y[:, -2]
        return (y,)

    out.register_forward_pre_hook(change)


def residual_of_normed(model, kind):
    """attention is added to its normed input"""
    layer, attend = layer_of(model, kind), attention_of(model, kind)
    first, second = hf_defects.norms_of(model, kind)

    def forward(hidden_states, *_, **named):
        normed = first(hidden_states)
        x = normed + attend(hidden_states=normed, **named)[0]
        out = x + layer.mlp(second(x))
        return out if kind == "llama" else (out,)

    layer.forward = forward


def mlp_residual_lost(model, kind):
    layer, attend = layer_of(model, kind), attention_of(model, kind)
    first, second = hf_defects.norms_of(model, kind)

    def forward(hidden_states, *_, **named):
        x = hidden_states + attend(hidden_states=first(hidden_states), **named)[0]
        out = layer.mlp(second(x))
        return out if kind == "llama" else (out,)

    layer.forward = forward


def weights_of_layer_before(model, kind):
    """the inner projection of layer 0"""
    layers = model.model.layers if kind == "llama" else model.transformer.h
    name = "up_proj" if kind == "llama" else "c_fc"
    source, target = (getattr(layers[l].mlp, name).weight for l in (LAYER - 1, LAYER))
    target.data.copy_(source.data)


def column_lost(model, kind):
    """one inner feature of the MLP does not reach its output"""
    mlp = layer_of(model, kind).mlp
    weight = mlp.down_proj.weight if kind == "llama" else mlp.c_proj.weight
    with torch.no_grad():
        (weight[:, 3] if kind == "llama" else weight[3]).zero_()


def sums_in_bf16(model, kind):
    """products of the MLP's output summed up in bf16, eight at a time"""
    mlp = layer_of(model, kind).mlp
    linear = mlp.down_proj if kind == "llama" else mlp.c_proj
    weight = linear.weight.T if kind == "llama" else linear.weight

    def forward(x):
        total = torch.zeros(*x.shape[:-1], weight.shape[1], dtype=torch.bfloat16)
        for begin in range(0, x.shape[-1], 8):
            total = total + (x[..., begin:begin + 8] @ weight[begin:begin + 8]).bfloat16()
        bias = getattr(linear, "bias", None)
        return (total.to(x.dtype) + (0 if bias is None else bias)).to(x.dtype)

    linear.forward = forward


# In Llama.


def keys_not_rotated(model, kind):
    rotation = modeling_llama.apply_rotary_pos_emb
    attention, at = attention_of(model, kind), []

    def rotated(q, k, cos, sin, **named):
        new = rotation(q, k, cos, sin, **named)
        return (new[0], k) if at else new

    attention.register_forward_pre_hook(lambda *_: at.append(1))
    attention.register_forward_hook(lambda *_: at.clear())
    modeling_llama.apply_rotary_pos_emb = rotated


def rotated_backwards(model, kind):
    """by the negative angle"""
    rope = model.model.rotary_emb
    rope.inv_freq = -rope.inv_freq


def angles_in_bf16(model, kind):
    """model.to(bfloat16) behind from_pretrained rounds the frequencies, too"""
    rope = model.model.rotary_emb
    rope.inv_freq = rope.inv_freq.bfloat16().float()


def gate_and_up_swapped(model, kind):
    mlp = layer_of(model, kind).mlp
    mlp.gate_proj, mlp.up_proj = mlp.up_proj, mlp.gate_proj


def activation_of_product(model, kind):
    """silu(gate * up)"""
    mlp = layer_of(model, kind).mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x) * mlp.up_proj(x)))


def values_of_other_heads(call):
    """value head h mod Hkv, keys as they should"""
    count = call["module"].num_key_value_groups
    if count > 1:
        call["value"] = call["value"].flip(1)


def mean_taken_off(model, kind):
    """LayerNorm in place of RMSNorm"""
    norm = norm_of_layer(model, kind)
    inner = norm.forward
    norm.forward = lambda x: inner(x - x.mean(-1, keepdim=True))


# In GPT-2.


def positions_from_one(model, kind):
    table = model.transformer.wpe
    table.weight.data = table.weight.data.roll(-1, 0)


def mean_kept(model, kind):
    """LayerNorm that divides by the spread and takes off no mean"""
    norm = norm_of_layer(model, kind)

    def forward(x):
        wide = x.float()
        spread = torch.rsqrt(wide.var(-1, correction=0, keepdim=True) + norm.eps)
        return (wide * spread * norm.weight + norm.bias).to(x.dtype)

    norm.forward = forward


def variance_of_sample(model, kind):
    """divided by D - 1"""
    norm = norm_of_layer(model, kind)

    def forward(x):
        wide = x.float()
        wide = (wide - wide.mean(-1, keepdim=True)) * torch.rsqrt(
            wide.var(-1, correction=1, keepdim=True) + norm.eps)
        return (wide * norm.weight + norm.bias).to(x.dtype)

    norm.forward = forward


def queries_and_keys_swapped(model, kind):
    """columns of c_attn read as key, query, value"""

    def change(x):
        q, k, v = x.chunk(3, -1)
        return torch.cat([k, q, v], -1)

    after(attention_of(model, kind).c_attn, change)


def bias_of_mlp_lost(model, kind):
    layer_of(model, kind).mlp.c_fc.bias.data.zero_()


# In the other families.


def bias_of_queries_lost(model, kind):
    attention_of(model, kind).q_proj.bias.data.zero_()


def norm_of_keys_lost(model, kind):
    attention_of(model, kind).k_norm = nn.Identity()


def norm_of_queries_of_keys(model, kind):
    """the gain of keys for queries"""
    attention = attention_of(model, kind)
    attention.q_norm.weight.data.copy_(attention.k_norm.weight.data)


def eps_of_query_norm(model, kind):
    attention_of(model, kind).q_norm.variance_epsilon = 1e-3


def window_moved(by):
    """keys t - W - by < s"""

    def change(call):
        query, window = call["query"], call["sliding_window"] + by
        mask = hf_defects.mask_of(call, torch.finfo(query.dtype).min)
        old = torch.ones(mask.shape[-2:], dtype=torch.bool).tril(-window)
        call["attention_mask"] = mask.masked_fill(old, torch.finfo(query.dtype).min)
        if "is_causal" in call:
            call["is_causal"] = False

    return change


# Of one call of attention.


def scaled_twice(call):
    size = call["query"].shape[-1]
    if call["module"].__class__.__module__.endswith("gpt2"):
        call["query"] = call["query"] / size**0.5
    else:
        call["scaling"] = 1 / size


def scaled_by_width(call):
    """1 / sqrt(D)"""
    heads = call["query"].shape[1]
    call["query"] = call["query"] / heads**0.5


def scale_of_one_percent(call):
    call["query"] = call["query"] * 1.01


class Changed:
    """A module of Python with some names changed."""

    def __init__(self, inner, **names):
        self.__dict__.update(names, inner=inner)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def with_softmax(change):
    """change(what enters softmax, what it gives) in place of what it gives"""

    def of_call(call):
        source = sys.modules[type(call["module"]).__module__]

        def softmax(x, *rest, **named):
            return change(x, nn.functional.softmax(x, *rest, **named))

        source.nn = Changed(nn, functional=Changed(nn.functional, softmax=softmax))
        return lambda: setattr(source, "nn", nn)

    return of_call


def in_bf16(x, probs):
    """exponentials and their sum rounded to bf16"""
    x = x.bfloat16()
    e = (x - x.max(-1, keepdim=True).values).exp()
    return (e / e.cumsum(-1)[..., -1:]).to(probs.dtype)


BOTH, LLAMA, GPT2 = hf_defects.BOTH, hf_defects.LLAMA, hf_defects.GPT2
MODEL = {  # name: models, change, first checkpoint
    "embedding of the next token": (BOTH, embedding_of_next, "embed"),
    "embedding times sqrt(D)": (BOTH, embedding_scaled, "embed"),
    "final norm lost": (BOTH, final_norm_lost, "final_norm"),
    "logits one position late": (BOTH, logits_of_before, "logits"),
    "loss not shifted": (BOTH, loss_not_shifted, "loss"),
    "heads and features swapped": (BOTH, context_heads_mixed, AT + "attn/context"),
    "stale row": (BOTH, stale_row, AT + "attn/context"),
    "residual of the normed input": (BOTH, residual_of_normed, AT + "attn_residual"),
    "MLP's residual lost": (BOTH, mlp_residual_lost, AT + "output"),
    "weights of the layer before": (BOTH, weights_of_layer_before, AT + "mlp/up"),
    "an inner feature lost": (BOTH, column_lost, AT + "mlp/out"),
    "sums in bf16": (BOTH, sums_in_bf16, AT + "mlp/out"),
    "keys not rotated": (LLAMA, keys_not_rotated, AT + "attn/k"),
    "rotated backwards, all": (LLAMA, rotated_backwards, "layers/0/attn/q"),
    "frequencies in bf16, all": (LLAMA, angles_in_bf16, "layers/0/attn/q"),
    "gate and up swapped": (LLAMA, gate_and_up_swapped, AT + "mlp/gate"),
    "silu of the product": (LLAMA, activation_of_product, AT + "mlp/act"),
    "LayerNorm for RMSNorm": (LLAMA, mean_taken_off, AT + "attn_norm"),
    "positions from 1": (GPT2, positions_from_one, "embed"),
    "mean not taken off": (GPT2, mean_kept, AT + "attn_norm"),
    "variance over D - 1": (GPT2, variance_of_sample, AT + "attn_norm"),
    "c_attn as k, q, v": (GPT2, queries_and_keys_swapped, AT + "attn/q"),
    "bias of c_fc lost": (GPT2, bias_of_mlp_lost, AT + "mlp/up"),
    "bias of queries lost": (("qwen2",), bias_of_queries_lost, AT + "attn/q"),
    "norm of keys lost": (("qwen3",), norm_of_keys_lost, AT + "attn/k_norm"),
    "gain of keys for queries": (("qwen3",), norm_of_queries_of_keys, AT + "attn/q_norm"),
    "eps of the query norm": (("qwen3",), eps_of_query_norm, AT + "attn/q_norm"),
}
CALL = {
    "window wider by 1": (("mistral",), window_moved(1), AT + "attn/scores"),
    "window narrower by 1": (("mistral",), window_moved(-1), AT + "attn/scores"),
    "window lost": (("mistral",), window_moved(1 << 20), AT + "attn/scores"),
    "scaled twice": (BOTH, scaled_twice, AT + "attn/scores"),
    "scaled by the width": (BOTH, scaled_by_width, AT + "attn/scores"),
    "scale 1.01": (BOTH, scale_of_one_percent, AT + "attn/scores"),
    "values of other heads": (LLAMA, values_of_other_heads, AT + "attn/context"),
    "softmax in bf16": (BOTH, with_softmax(in_bf16), AT + "attn/probs"),
    "softmax twice": (BOTH, with_softmax(lambda _, probs: probs.softmax(-1)), AT + "attn/probs"),
}
FIRST = {  # of hf_defects
    "eps 1e-3, all norms": "layers/0/attn_norm",
    "gain 1.01": AT + "attn_norm",
    "mlp_norm's gain in attn_norm": AT + "attn_norm",
    "gain lost": AT + "attn_norm",
    "other activation": AT + "mlp/act",
    "theta 20000, all": "layers/0/attn/q",
    "positions from 1, all": "layers/0/attn/q",
    "rotation interleaved": AT + "attn/q",
    "bias of c_proj lost": AT + "attn/out",
    "bias of keys lost": AT + "attn/k",
    "residual dropped": AT + "attn_residual",
    "no scale": AT + "attn/scores",
    "sees one key ahead": AT + "attn/scores",
    "does not see itself": AT + "attn/scores",
    "mask of -5": AT + "attn/scores",
    "heads grouped otherwise": AT + "attn/scores",
}


def names_of(kind, mode):
    """Of all defects that the model can have; a softmax that nobody sees cannot be changed."""
    old = {**hf_defects.IN_MODEL, **hf_defects.IN_CALL}
    names = [name for name, entry in {**old, **MODEL, **CALL}.items() if kind in entry[0]]
    return [name for name in names if not ("softmax" in name and mode.startswith("sdpa"))]


def like(kind):
    """The family by whose names its modules are called."""
    return "gpt2" if kind == "gpt2" else "llama"


def first_of(name, mode):
    table = {**MODEL, **CALL}
    first = table[name][2] if name in table else FIRST[name]
    unseen = mode.startswith("sdpa") and first.endswith(("scores", "probs"))
    return AT + "attn/context" if unseen else first


def plant(name, model, kind):
    """Changes the model, or the function that its attention calls."""
    if name in MODEL:
        MODEL[name][1](model, like(kind))
        return
    change = CALL[name][1] if name in CALL else None
    if change is None:
        change = hf_defects.plant(name, model, like(kind))
    source = sys.modules[type(model).__module__]
    registry = source.ALL_ATTENTION_FUNCTIONS

    def planted(attend):
        def call(module, query, key, value, attention_mask, **named):
            if module.layer_idx != LAYER:
                return attend(module, query, key, value, attention_mask, **named)
            given = {"module": module, "query": query, "key": key, "value": value,
                     "attention_mask": attention_mask, **named}
            undo = change(given)
            try:
                return attend(**given)
            finally:
                if undo:
                    undo()

        return call

    source.eager_attention_forward = planted(source.eager_attention_forward)
    registry["sdpa"] = planted(registry["sdpa"])
