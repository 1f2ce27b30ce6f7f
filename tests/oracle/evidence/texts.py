"""Defects planted in the text of examples/numpy_llama.py and examples/jax_llama.py, in all layers.

name: (text that stands in both, exactly once; text in its place; first checkpoint that is wrong)
"""

FIRST = "layers/0/"
DEFECTS = {
    "eps 1e-3": ('self.config["rms_norm_eps"]', "1e-3", FIRST + "attn_norm"),
    "gain lost": (" * self.weights[name]\n", "\n", FIRST + "attn_norm"),
    "gain 1.01": (" * self.weights[name]\n", " * self.weights[name] * x.dtype.type(1.01)\n",
                  FIRST + "attn_norm"),
    "mlp_norm's gain in attn_norm": ('"input_layernorm.weight"',
                                     '"post_attention_layernorm.weight"', FIRST + "attn_norm"),
    "theta 20000": ('self.config["rope_theta"]', "20000.0", FIRST + "attn/q"),
    "positions from 1": ("np.arange(x.shape[2])", "np.arange(1, x.shape[2] + 1)", FIRST + "attn/q"),
    "frequencies over Dh/2 + 1": ("(-np.arange(half) / half)", "(-np.arange(half) / (half + 1))",
                                  FIRST + "attn/q"),
    "rotated backwards": ("first * cos - second * sin, second * cos + first * sin",
                          "first * cos + second * sin, second * cos - first * sin",
                          FIRST + "attn/q"),
    "rotation interleaved": ("x[..., :half], x[..., half:]", "x[..., ::2], x[..., 1::2]",
                             FIRST + "attn/q"),
    "keys not rotated": ('self.rotate(self.heads(self.linear(x, prefix + "k_proj")))',
                         'self.heads(self.linear(x, prefix + "k_proj"))', FIRST + "attn/k"),
    "values of keys": ('prefix + "v_proj"', 'prefix + "k_proj"', FIRST + "attn/v"),
    "keys grouped otherwise": (".repeat(k, group, axis=1)", ".tile(k, (1, group, 1, 1))",
                               FIRST + "attn/scores"),
    "values grouped otherwise": (".repeat(v, group, axis=1)", ".tile(v, (1, group, 1, 1))",
                                 FIRST + "attn/context"),
    "scale inverted": ("k.transpose(0, 1, 3, 2) / ", "k.transpose(0, 1, 3, 2) * ",
                       FIRST + "attn/scores"),
    "scaled by the width": ("q.shape[-1])", "x.shape[-1])", FIRST + "attn/scores"),
    "sees one key ahead": (", bool))", ", bool), 1)", FIRST + "attn/scores"),
    "does not see itself": (", bool))", ", bool), -1)", FIRST + "attn/scores"),
    "probabilities times 1.01": ('keep("attn/probs", ', 'keep("attn/probs", 1.01 * ',
                                 FIRST + "attn/probs"),
    "heads and features swapped": ("(probs @ v).transpose(0, 2, 1, 3)",
                                   "(probs @ v).transpose(0, 2, 3, 1)", FIRST + "attn/context"),
    "stale rows": ('keep("attn/context", context)',
                   'keep("attn/context", context[:, np.r_[0, : positions - 1]])',
                   FIRST + "attn/context"),
    "residual dropped": ('keep("attn_residual", x + self', 'keep("attn_residual", self',
                         FIRST + "attn_residual"),
    "mlp_norm lost": ('self.norm(x, prefix + "post_attention_layernorm.weight")', "x",
                      FIRST + "mlp_norm"),
    "up for gate": ('"mlp.gate_proj"', '"mlp.up_proj"', FIRST + "mlp/gate"),
    "gate for up": (" * up)", " * gate)", FIRST + "mlp/act"),
    "MLP's residual lost": ('keep("output", x + keep', 'keep("output", keep', FIRST + "output"),
    "weights of the layer before": ('"model.layers.{number}."',
                                    '"model.layers.{max(number - 1, 0)}."', "layers/1/attn_norm"),
    "embedding doubled": ('keep("embed", ', 'keep("embed", 2 * ', "embed"),
    "final norm lost": ('self.norm(x, "model.norm.weight")', "x", "final_norm"),
    "head of the embedding": ('self.linear(x, "lm_head")', 'self.linear(x, "model.embed_tokens")',
                              "logits"),
    "loss not shifted": ("labels[:, 1:]", "labels[:, :-1]", "loss"),
}


def planted(text, defect):
    if not defect:
        return text
    old, new, _ = DEFECTS[defect]
    assert text.count(old) == 1, (defect, text.count(old))
    return text.replace(old, new)
