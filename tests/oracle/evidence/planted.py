"""Defects planted in models of transformers: those of hf_defects.py and more, and where each shows.

Of every defect the first checkpoint that is wrong: of eager attention, and where that is one that
sdpa does not form, `attn/context`.
"""

import sys

import torch
from torch import nn

import changes
import hf_defects

LAYER = hf_defects.LAYER
AT = f"layers/{LAYER}/"


def values_of_other_heads(call):
    """value heads in reverse, keys as they should"""
    count = call["module"].num_key_value_groups
    if count > 1:
        call["value"] = call["value"].flip(1)


# In the other families.


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
    "embedding of the next token": (BOTH, changes.embedding_of_next, "embed"),
    "embedding times sqrt(D)": (BOTH, changes.embedding_scaled, "embed"),
    "final norm lost": (BOTH, changes.final_norm_lost, "final_norm"),
    "logits one position late": (BOTH, changes.logits_of_before, "logits"),
    "loss not shifted": (BOTH, changes.loss_not_shifted, "loss"),
    "heads and features swapped": (BOTH, changes.context_heads_mixed, AT + "attn/context"),
    "stale row": (BOTH, changes.stale_row, AT + "attn/context"),
    "residual of the normed input": (BOTH, changes.residual_of_normed, AT + "attn_residual"),
    "MLP's residual lost": (BOTH, changes.mlp_residual_lost, AT + "output"),
    "weights of the layer before": (BOTH, changes.weights_of_layer_before, AT + "mlp/up"),
    "an inner feature lost": (BOTH, changes.column_lost, AT + "mlp/out"),
    "sums in bf16": (BOTH, changes.sums_in_bf16, AT + "mlp/out"),
    "keys not rotated": (LLAMA, changes.keys_not_rotated, AT + "attn/k"),
    "rotated backwards, all": (LLAMA, changes.rotated_backwards, "layers/0/attn/q"),
    "frequencies in bf16, all": (LLAMA, changes.angles_in_bf16, "layers/0/attn/q"),
    "gate and up swapped": (LLAMA, changes.gate_and_up_swapped, AT + "mlp/gate"),
    "silu of the product": (LLAMA, changes.activation_of_product, AT + "mlp/act"),
    "LayerNorm for RMSNorm": (LLAMA, changes.mean_taken_off, AT + "attn_norm"),
    "positions from 1": (GPT2, changes.positions_from_one, "embed"),
    "mean not taken off": (GPT2, changes.mean_kept, AT + "attn_norm"),
    "variance over D - 1": (GPT2, changes.variance_of_sample, AT + "attn_norm"),
    "c_attn as k, q, v": (GPT2, changes.queries_and_keys_swapped, AT + "attn/q"),
    "bias of c_fc lost": (GPT2, changes.bias_of_mlp_lost, AT + "mlp/up"),
    "bias of queries lost": (("qwen2",), changes.bias_of_queries_lost, AT + "attn/q"),
    "norm of keys lost": (("qwen3",), changes.norm_of_keys_lost, AT + "attn/k_norm"),
    "gain of keys for queries": (("qwen3",), changes.norm_of_queries_of_keys, AT + "attn/q_norm"),
    "eps of the query norm": (("qwen3",), changes.eps_of_query_norm, AT + "attn/q_norm"),
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
