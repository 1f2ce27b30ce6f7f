"""What is made wrong in a model of transformers: each function changes the one that it is given."""

import torch
from torch import nn
from transformers.models.llama import modeling_llama

import hf_defects

LAYER = hf_defects.LAYER


def after(module, change):
    """`change` of what the module gives."""
    module.register_forward_hook(
        lambda _, __, out: (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out))


def norm_of_layer(model, kind, second=False):
    return hf_defects.norms_of(model, kind)[1 if second else 0]


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
    attention = hf_defects.attention_of(model, kind)
    out, heads = (attention.o_proj, 4) if kind == "llama" else (attention.c_proj, 4)
    out.register_forward_pre_hook(
        lambda _, x: (x[0].unflatten(-1, (heads, -1)).transpose(-1, -2).flatten(-2),))


def stale_row(model, kind):
    """the context of the last position is that of the one before"""
    attention = hf_defects.attention_of(model, kind)
    out = attention.o_proj if kind == "llama" else attention.c_proj

    def change(_, x):
        y = x[0].clone()
        y[:, -1] = y[:, -2]
        return (y,)

    out.register_forward_pre_hook(change)


def residual_of_normed(model, kind):
    """attention is added to its normed input"""
    layer, attend = hf_defects.layer_of(model, kind), hf_defects.attention_of(model, kind)
    first, second = hf_defects.norms_of(model, kind)

    def forward(hidden_states, *_, **named):
        normed = first(hidden_states)
        x = normed + attend(hidden_states=normed, **named)[0]
        out = x + layer.mlp(second(x))
        return out if kind == "llama" else (out,)

    layer.forward = forward


def mlp_residual_lost(model, kind):
    layer, attend = hf_defects.layer_of(model, kind), hf_defects.attention_of(model, kind)
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
    mlp = hf_defects.layer_of(model, kind).mlp
    weight = mlp.down_proj.weight if kind == "llama" else mlp.c_proj.weight
    with torch.no_grad():
        (weight[:, 3] if kind == "llama" else weight[3]).zero_()


def sums_in_bf16(model, kind):
    """products of the MLP's output summed up in bf16, eight at a time"""
    mlp = hf_defects.layer_of(model, kind).mlp
    linear = mlp.down_proj if kind == "llama" else mlp.c_proj
    weight = linear.weight.T if kind == "llama" else linear.weight

    def forward(x):
        total = torch.zeros(*x.shape[:-1], weight.shape[1], dtype=torch.bfloat16)
        for begin in range(0, x.shape[-1], 8):
            total = total + (x[..., begin:begin + 8] @ weight[begin:begin + 8]).bfloat16()
        bias = getattr(linear, "bias", None)
        return (total.to(x.dtype) + (0 if bias is None else bias)).to(x.dtype)

    linear.forward = forward


def keys_not_rotated(model, kind):
    rotation = modeling_llama.apply_rotary_pos_emb
    attention, at = hf_defects.attention_of(model, kind), []

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
    mlp = hf_defects.layer_of(model, kind).mlp
    mlp.gate_proj, mlp.up_proj = mlp.up_proj, mlp.gate_proj


def activation_of_product(model, kind):
    """silu(gate * up)"""
    mlp = hf_defects.layer_of(model, kind).mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x) * mlp.up_proj(x)))


def mean_taken_off(model, kind):
    """LayerNorm in place of RMSNorm"""
    norm = norm_of_layer(model, kind)
    inner = norm.forward
    norm.forward = lambda x: inner(x - x.mean(-1, keepdim=True))


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

    after(hf_defects.attention_of(model, kind).c_attn, change)


def bias_of_mlp_lost(model, kind):
    hf_defects.layer_of(model, kind).mlp.c_fc.bias.data.zero_()


def bias_of_queries_lost(model, kind):
    hf_defects.attention_of(model, kind).q_proj.bias.data.zero_()


def norm_of_keys_lost(model, kind):
    hf_defects.attention_of(model, kind).k_norm = nn.Identity()


def norm_of_queries_of_keys(model, kind):
    """the gain of keys for queries"""
    attention = hf_defects.attention_of(model, kind)
    attention.q_norm.weight.data.copy_(attention.k_norm.weight.data)


def eps_of_query_norm(model, kind):
    hf_defects.attention_of(model, kind).q_norm.variance_epsilon = 1e-3
