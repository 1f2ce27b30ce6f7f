"""Golden tensors as other programs' dumps have them: names and layouts of the shipped maps.

Each function takes the tensors of a golden file by our names, and the model's sizes, and gives a
dump; SOURCES says which tensor of the dump holds which of ours, for what looks for that itself.
"""
import json

import h5py
import numpy as np


class Model:
    def __init__(self, path):
        with h5py.File(path) as file:
            config = json.loads(file.attrs["config"])
            self.tensors = {}
            file["forward"].visititems(
                lambda name, item: self.tensors.__setitem__(name, item[()])
                if isinstance(item, h5py.Dataset) else None)
        self.is_gpt2 = "n_embd" in config
        pick = lambda *keys: next(config[key] for key in keys if key in config)
        self.layers = pick("num_hidden_layers", "n_layer")
        self.heads = pick("num_attention_heads", "n_head")
        inner = config.get("assay", {})
        self.groups = config.get("num_key_value_heads",
                                 inner.get("num_key_value_heads", self.heads))
        self.batch, self.positions = self.tensors["embed"].shape[:2]

    def layer(self, l, name):
        return self.tensors[f"layers/{l}/{name}"]


def write_map(rules, path="map.json"):
    """A map of rules, or of any text."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(rules if isinstance(rules, str) else json.dumps(rules))
    return path


def joined(x):
    """[B,H,T,Dh] as [B,T,H*Dh]."""
    return np.ascontiguousarray(np.swapaxes(x, 1, 2)).reshape(x.shape[0], x.shape[2], -1)


def by_position(x):
    """[B,H,T,Dh] as [B,T,H,Dh]."""
    return np.ascontiguousarray(np.swapaxes(x, 1, 2))


def fused(m, l):
    return np.concatenate([joined(m.layer(l, f"attn/{name}")) for name in "qkv"], axis=-1)


def hf_llama(m):
    dump, sources = {}, {}

    def keep(theirs, value, ours):
        dump[theirs] = value
        sources.setdefault(ours, []).append(theirs)

    keep("model.embed_tokens", m.tensors["embed"], "embed")
    for l in range(m.layers):
        at, ours = f"model.layers.{l}.", f"layers/{l}/"
        keep(at + "input", m.layer(l, "input"), ours + "input")
        keep(at + "input_layernorm", m.layer(l, "attn_norm"), ours + "attn_norm")
        keep(at + "self_attn.q_rope", joined(m.layer(l, "attn/q")), ours + "attn/q")
        keep(at + "self_attn.k_rope", joined(m.layer(l, "attn/k")), ours + "attn/k")
        keep(at + "self_attn.v_proj", joined(m.layer(l, "attn/v")), ours + "attn/v")
        keep(f"attentions.{l}", m.layer(l, "attn/probs"), ours + "attn/probs")
        keep(at + "self_attn.o_proj.input", m.layer(l, "attn/context"), ours + "attn/context")
        keep(at + "self_attn.o_proj", m.layer(l, "attn/out"), ours + "attn/out")
        keep(at + "post_attention_layernorm", m.layer(l, "mlp_norm"), ours + "mlp_norm")
        keep(at + "mlp.gate_proj", m.layer(l, "mlp/gate"), ours + "mlp/gate")
        keep(at + "mlp.up_proj", m.layer(l, "mlp/up"), ours + "mlp/up")
        keep(at + "mlp.down_proj.input", m.layer(l, "mlp/act"), ours + "mlp/act")
        keep(at + "mlp", m.layer(l, "mlp/out"), ours + "mlp/out")
        keep(f"model.layers.{l}", m.layer(l, "output"), ours + "output")
    keep("model.norm", m.tensors["final_norm"], "final_norm")
    keep("lm_head", m.tensors["logits"], "logits")
    return dump, sources


def hf_gpt2(m):
    dump, sources = {}, {}

    def keep(theirs, value, *ours):
        dump[theirs] = value
        for name in ours:
            sources.setdefault(name, []).append(theirs)

    keep("transformer.drop", m.tensors["embed"], "embed")
    for l in range(m.layers):
        at, ours = f"transformer.h.{l}.", f"layers/{l}/"
        keep(at + "ln_1", m.layer(l, "attn_norm"), ours + "attn_norm")
        keep(at + "attn.c_attn", fused(m, l), *(ours + "attn/" + name for name in "qkv"))
        keep(f"attentions.{l}", m.layer(l, "attn/probs"), ours + "attn/probs")
        keep(at + "attn.c_proj", m.layer(l, "attn/out"), ours + "attn/out")
        keep(at + "ln_2.input", m.layer(l, "attn_residual"), ours + "attn_residual")
        keep(at + "ln_2", m.layer(l, "mlp_norm"), ours + "mlp_norm")
        keep(at + "mlp.c_fc", m.layer(l, "mlp/up"), ours + "mlp/up")
        keep(at + "mlp.act", m.layer(l, "mlp/act"), ours + "mlp/act")
        keep(at + "mlp.c_proj", m.layer(l, "mlp/out"), ours + "mlp/out")
        keep(f"transformer.h.{l}", m.layer(l, "output"), ours + "output")
    keep("transformer.ln_f", m.tensors["final_norm"], "final_norm")
    keep("lm_head", m.tensors["logits"], "logits")
    return dump, sources


def transformer_lens(m):
    dump, sources = {}, {}

    def keep(theirs, value, ours):
        dump[theirs] = value
        sources.setdefault(ours, []).append(theirs)

    rotated = "" if m.is_gpt2 else "rot_"
    sources["embed"] = ["blocks.0.hook_resid_pre"]
    for l in range(m.layers):
        at, ours = f"blocks.{l}.", f"layers/{l}/"
        keep(at + "hook_resid_pre", m.layer(l, "input"), ours + "input")
        if m.is_gpt2:
            keep(at + "ln1.hook_normalized", m.layer(l, "attn_norm"), ours + "attn_norm")
            keep(at + "ln2.hook_normalized", m.layer(l, "mlp_norm"), ours + "mlp_norm")
            keep(at + "mlp.hook_pre", m.layer(l, "mlp/up"), ours + "mlp/up")
        else:
            keep(at + "mlp.hook_pre", m.layer(l, "mlp/gate"), ours + "mlp/gate")
            keep(at + "mlp.hook_pre_linear", m.layer(l, "mlp/up"), ours + "mlp/up")
        keep(at + f"attn.hook_{rotated}q", by_position(m.layer(l, "attn/q")), ours + "attn/q")
        keep(at + f"attn.hook_{rotated}k", by_position(m.layer(l, "attn/k")), ours + "attn/k")
        keep(at + "attn.hook_v", by_position(m.layer(l, "attn/v")), ours + "attn/v")
        keep(at + "attn.hook_attn_scores", m.layer(l, "attn/scores"), ours + "attn/scores")
        keep(at + "attn.hook_pattern", m.layer(l, "attn/probs"), ours + "attn/probs")
        keep(at + "attn.hook_z",
             m.layer(l, "attn/context").reshape(m.batch, m.positions, m.heads, -1),
             ours + "attn/context")
        keep(at + "hook_attn_out", m.layer(l, "attn/out"), ours + "attn/out")
        keep(at + "hook_resid_mid", m.layer(l, "attn_residual"), ours + "attn_residual")
        keep(at + "mlp.hook_post", m.layer(l, "mlp/act"), ours + "mlp/act")
        keep(at + "hook_mlp_out", m.layer(l, "mlp/out"), ours + "mlp/out")
        keep(at + "hook_resid_post", m.layer(l, "output"), ours + "output")
    if m.is_gpt2:
        keep("ln_final.hook_normalized", m.tensors["final_norm"], "final_norm")
    return dump, sources


def llm_c(m):
    dump, sources = {"encoded": m.tensors["embed"]}, {"embed": ["encoded"]}

    def keep(theirs, values, *ours):
        dump[theirs] = np.stack(values)
        for l in range(m.layers):
            for name in ours:
                sources[f"layers/{l}/{name}"] = [theirs]

    def all_of(name):
        return [m.layer(l, name) for l in range(m.layers)]

    keep("ln1", all_of("attn_norm"), "attn_norm")
    keep("qkv", [fused(m, l) for l in range(m.layers)], "attn/q", "attn/k", "attn/v")
    # Where the mask excludes, nothing is written.
    keep("preatt", [np.where(np.isneginf(x), 0, x) for x in all_of("attn/scores")], "attn/scores")
    keep("att", all_of("attn/probs"), "attn/probs")
    keep("atty", all_of("attn/context"), "attn/context")
    keep("attproj", all_of("attn/out"), "attn/out")
    keep("residual2", all_of("attn_residual"), "attn_residual")
    keep("ln2", all_of("mlp_norm"), "mlp_norm")
    keep("fch", all_of("mlp/up"), "mlp/up")
    keep("fch_gelu", all_of("mlp/act"), "mlp/act")
    keep("fcproj", all_of("mlp/out"), "mlp/out")
    keep("residual3", all_of("output"), "output")
    dump["lnf"] = m.tensors["final_norm"]
    padded = -m.tensors["logits"].shape[-1] % 128
    dump["logits"] = np.pad(m.tensors["logits"], ((0, 0), (0, 0), (0, padded)))
    sources["final_norm"], sources["logits"] = ["lnf"], ["logits"]
    return dump, sources


def maxtext(m, scanned=False):
    dump, sources = {}, {}

    def keep(theirs, value, ours):
        dump[theirs] = value
        sources.setdefault(ours, []).append(theirs)

    def every(path, name, change=lambda x: x):
        values = [change(m.layer(l, name)) for l in range(m.layers)]
        for l in range(m.layers):
            theirs = "decoder/layers/" + path if scanned else f"decoder/layers_{l}/{path}"
            keep(theirs, np.stack(values) if scanned else values[l], f"layers/{l}/{name}")

    keep("token_embedder/__call__", m.tensors["embed"], "embed")
    every("pre_self_attention_layer_norm/__call__", "attn_norm")
    every("self_attention/query_proj", "attn/q", by_position)
    every("self_attention/key_proj", "attn/k", by_position)
    every("self_attention/value/__call__", "attn/v", by_position)
    every("self_attention/__call__", "attn/out")
    every("post_self_attention_layer_norm/__call__", "mlp_norm")
    every("mlp/wi_0/__call__", "mlp/gate")
    every("mlp/wi_1/__call__", "mlp/up")
    every("mlp/__call__", "mlp/out")
    every("__call__", "output")
    keep("decoder/decoder_norm/__call__", m.tensors["final_norm"], "final_norm")
    keep("decoder/logits_dense/__call__", m.tensors["logits"], "logits")
    return dump, sources


# Which layouts a model of which block can have.
LAYOUTS = {
    "hf_llama": (hf_llama, "llama"),
    "hf_gpt2": (hf_gpt2, "gpt2"),
    "transformer_lens": (transformer_lens, "llama"),
    "transformer_lens (GPT-2)": (transformer_lens, "gpt2"),
    "llm_c": (llm_c, "gpt2"),
    "maxtext": (maxtext, "llama"),
    "maxtext (scanned)": (lambda m: maxtext(m, True), "llama"),
}
