"""Defects planted one at a time in Hugging Face models, in layer 1 unless a name says "all"."""

import torch
from transformers.models.llama import modeling_llama

LAYER = 1


def layer_of(model, kind):
    return model.model.layers[LAYER] if kind == "llama" else model.transformer.h[LAYER]


def norms_of(model, kind):
    layer = layer_of(model, kind)
    return (
        (layer.input_layernorm, layer.post_attention_layernorm)
        if kind == "llama"
        else (layer.ln_1, layer.ln_2)
    )


def attention_of(model, kind):
    layer = layer_of(model, kind)
    return layer.self_attn if kind == "llama" else layer.attn


# Changes of the model before it runs.


def eps_everywhere(model, _):
    """1e-3 for 1e-5"""
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 1e-3
        elif isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-3


def gain(model, kind):
    """1 % more than the norm gives: a weight of 1.01 times the gain is another number in bf16"""
    norms_of(model, kind)[0].register_forward_hook(
        lambda _, __, out: (out.float() * 1.01).to(out.dtype)
    )


def wrong_norm(model, kind):
    first, second = norms_of(model, kind)
    first.weight.data.copy_(second.weight.data)


def norm_lost(model, kind):
    norms_of(model, kind)[0].weight.data.fill_(1)


def other_activation(model, kind):
    """GELU's exact form for its tanh form; in Llama GELU for SiLU"""
    layer = layer_of(model, kind)
    if kind == "llama":
        layer.mlp.act_fn = torch.nn.GELU()
    else:
        layer.mlp.act = torch.nn.GELU()


def theta(model, _):
    """20000 for 10000"""
    rope = model.model.rotary_emb
    rope.inv_freq = rope.inv_freq * 0.5 ** torch.linspace(0, 1, len(rope.inv_freq) + 1)[:-1]


def rope_offset(model, _):
    """positions counted from 1"""
    rope = model.model.rotary_emb
    inner = rope.forward
    rope.forward = lambda x, position_ids: inner(x, position_ids + 1)


def interleaved(model, _):
    """neighbours rotated together in place of halves"""
    attention = model.model.layers[LAYER].self_attn
    inner, plain = attention.forward, modeling_llama.rotate_half

    def turned(x):
        return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)

    def forward(*rest, **named):
        modeling_llama.rotate_half = turned
        cos, sin = named["position_embeddings"]
        half = cos.shape[-1] // 2
        spread = tuple(y[..., :half].repeat_interleave(2, dim=-1) for y in (cos, sin))
        try:
            return inner(*rest, **{**named, "position_embeddings": spread})
        finally:
            modeling_llama.rotate_half = plain

    attention.forward = forward


def bias_lost(model, kind):
    attention_of(model, kind).c_proj.bias.data.zero_()


def bias_of_keys_lost(model, kind):
    bias = attention_of(model, kind).c_attn.bias.data
    bias[len(bias) // 3 : 2 * len(bias) // 3] = 0


def residual_dropped(model, kind):
    layer, attend = layer_of(model, kind), attention_of(model, kind)
    first, second = norms_of(model, kind)

    def forward(hidden_states, *_, **named):
        x = attend(hidden_states=first(hidden_states), **named)[0]  # + hidden_states
        out = x + layer.mlp(second(x))
        return out if kind == "llama" else (out,)

    layer.forward = forward


# Changes of one call of attention: of its named arguments.


def mask_of(call, value, shift=0):
    """A mask of the model's type: `value` where a key is later than the query plus shift."""
    query, key = call["query"], call["key"]
    hidden = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).triu(1 + shift)
    if shift < 0:
        hidden[0, 0] = False  # the first query keeps its only key
    mask = torch.zeros(hidden.shape, dtype=query.dtype).masked_fill(hidden, value)
    return mask[None, None]


def see_all(call):
    """GPT-2 has a second mask of its own, in eager attention."""
    module = call["module"]
    if not isinstance(getattr(module, "bias", None), torch.Tensor):
        return None
    kept = module.bias
    module.bias = torch.ones_like(kept)
    return lambda: setattr(module, "bias", kept)


def with_mask(value, shift):
    def change(call):
        lowest = torch.finfo(call["query"].dtype).min
        call["attention_mask"] = mask_of(call, lowest if value is None else value, shift)
        if "is_causal" in call:
            call["is_causal"] = False
        return see_all(call)

    return change


def no_scale(call):
    module = call["module"]
    if hasattr(module, "scale_attn_weights"):
        call["query"] = call["query"] * module.head_dim**0.5
    else:
        call["scaling"] = 1.0


def wrong_groups(call):
    """query head h reads head h mod Hkv"""
    module = call["module"]
    repeats = module.num_key_value_groups
    call["key"], call["value"] = (call[name].repeat(1, repeats, 1, 1) for name in ("key", "value"))
    module.num_key_value_groups = 1
    return lambda: setattr(module, "num_key_value_groups", repeats)


BOTH, LLAMA, GPT2 = ("llama", "gpt2"), ("llama",), ("gpt2",)
IN_MODEL = {  # name: models, change
    "eps 1e-3, all norms": (BOTH, eps_everywhere),
    "gain 1.01": (BOTH, gain),
    "mlp_norm's gain in attn_norm": (BOTH, wrong_norm),
    "gain lost": (BOTH, norm_lost),
    "other activation": (BOTH, other_activation),
    "theta 20000, all": (LLAMA, theta),
    "positions from 1, all": (LLAMA, rope_offset),
    "rotation interleaved": (LLAMA, interleaved),
    "bias of c_proj lost": (GPT2, bias_lost),
    "bias of keys lost": (GPT2, bias_of_keys_lost),
    "residual dropped": (BOTH, residual_dropped),
}
IN_CALL = {
    "no scale": (BOTH, no_scale),
    "sees one key ahead": (BOTH, with_mask(None, 1)),
    "does not see itself": (BOTH, with_mask(None, -1)),
    "mask of -5": (BOTH, with_mask(-5.0, 0)),
    "heads grouped otherwise": (LLAMA, wrong_groups),
}
# Other ways to the same function: no defects.
HARMLESS = {
    "mask of -1e4": (BOTH, with_mask(-1e4, 0)),
}


def names_of(kind, table):
    return [name for name, (kinds, _) in table.items() if kind in kinds]


def plant(name, model, kind):
    """Changes the model; what it returns changes each call of attention."""
    if name in IN_MODEL:
        IN_MODEL[name][1](model, kind)
    if name not in IN_CALL and name not in HARMLESS:
        return lambda call: None
    change = {**IN_CALL, **HARMLESS}[name][1]
    return lambda call: change(call) if call["module"].layer_idx == LAYER else None
