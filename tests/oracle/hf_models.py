"""Hugging Face models as they come, four sets of weights, and what they compute in Assay's names.

Nothing of a model is written again here: transformers' own modules run, hooks read what they hand
on, and the functions that attention calls are looked up through wrappers that pass everything on.
"""

import contextlib
import json
import os

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.llama import modeling_llama

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CONFIGS = {
    "llama": {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "vocab_size": 300,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 128,
        "n_inner": 256,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 1024,
        "vocab_size": 300,
        "activation_function": "gelu_new",
    },
}
LIKE_LLAMA = {key: x for key, x in CONFIGS["llama"].items() if key != "model_type"}
FAMILIES = {
    **CONFIGS,
    "mistral": {**LIKE_LLAMA, "model_type": "mistral", "sliding_window": 9},
    "qwen2": {**LIKE_LLAMA, "model_type": "qwen2", "use_sliding_window": True,
              "sliding_window": 9, "max_window_layers": 2},
    "qwen3": {**LIKE_LLAMA, "model_type": "qwen3", "use_sliding_window": False},
}


def load(folder, precision="fp32", attention="eager"):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype=TYPES[precision], attn_implementation=attention
    )
    return model.eval()


def outliers(state, seed=3):
    """As in trained models: a few channels and gains far above the others, peaked attention."""
    generator = torch.Generator().manual_seed(seed)
    for name, x in state.items():
        if x.dim() == 1 and name.endswith("weight"):  # gains
            x.copy_(torch.exp(0.5 * torch.randn(x.shape, generator=generator)))
            x[torch.randperm(len(x), generator=generator)[:3]] *= 8
        elif name.endswith(("embed_tokens.weight", "wte.weight")):
            x[:, [5, 77]] *= 10
        elif name.endswith("q_proj.weight"):
            x.mul_(4)
        elif "c_attn" in name:
            x[..., : x.shape[-1] // 3] *= 4


def positive(state):
    """Mean far above the spread: nothing cancels in long sums, and LayerNorm takes off the mean."""
    for name, x in state.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "lm_head.weight")):
            continue
        signs = x[..., : 2 * x.shape[-1] // 3].sign() if "c_attn" in name else None
        x.abs_()
        if signs is not None:
            x[..., : signs.shape[-1]] *= signs


def make_folder(weights, kind, drawn, folder):
    """A Hugging Face folder with the weights of that name; `drawn` has those that Assay drew."""
    if weights == "init":
        torch.manual_seed(7)
        config = transformers.AutoConfig.for_model(**FAMILIES[kind])
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return
    os.makedirs(folder)
    state = load_file(f"{drawn}/model.safetensors")
    {"outliers": outliers, "positive": positive}[weights](state)
    save_file(state, f"{folder}/model.safetensors", metadata={"format": "pt"})
    with open(f"{drawn}/config.json") as source, open(f"{folder}/config.json", "w") as target:
        json.dump(json.load(source), target)


class Functional:
    """torch.nn.functional whose softmax shows what enters it."""

    def __init__(self, seen):
        self.seen = seen

    def softmax(self, scores, *rest, **named):
        self.seen(scores)
        return torch.nn.functional.softmax(scores, *rest, **named)

    def __getattr__(self, name):
        return getattr(torch.nn.functional, name)


class Modules:
    """torch.nn with that functional."""

    def __init__(self, seen):
        self.functional = Functional(seen)

    def __getattr__(self, name):
        return getattr(torch.nn, name)


class Recorder:
    """Tensors of one forward pass under Assay's names, in the types that the model has them in."""

    def __init__(self, model, kind, change_call=lambda call: None):
        self.kind, self.model, self.change_call = kind, model, change_call
        self.tensors, self.layer = {}, 0
        self.handles = []

    def keep(self, name, x):
        self.tensors[name] = x.detach().clone().contiguous()

    def on_result(self, module, name):
        self.handles.append(
            module.register_forward_hook(
                lambda _, __, out: self.keep(name, out[0] if isinstance(out, tuple) else out)
            )
        )

    def on_argument(self, module, name):
        self.handles.append(
            module.register_forward_pre_hook(
                lambda _, args, named: self.keep(name, args[0] if args else named["hidden_states"]),
                with_kwargs=True,
            )
        )

    def hook_layer(self, at, layer, attn_norm, attn_out, mlp_norm, mlp_up, mlp_out):
        """What both models have, each under its module's name."""
        self.on_argument(layer, at + "input")
        self.on_result(attn_norm, at + "attn_norm")
        self.on_argument(attn_out, at + "attn/context")
        self.on_result(attn_out, at + "attn/out")
        self.on_argument(mlp_norm, at + "attn_residual")
        self.on_result(mlp_norm, at + "mlp_norm")
        self.on_result(mlp_up, at + "mlp/up")
        self.on_argument(mlp_out, at + "mlp/act")
        self.on_result(mlp_out, at + "mlp/out")
        self.on_result(layer, at + "output")

    def hook_llama(self):
        base = self.model.model
        self.on_result(base.embed_tokens, "embed")
        for l, layer in enumerate(base.layers):
            attention, mlp = layer.self_attn, layer.mlp
            norms = layer.input_layernorm, layer.post_attention_layernorm
            at = f"layers/{l}/"
            self.hook_layer(
                at, layer, norms[0], attention.o_proj, norms[1], mlp.up_proj, mlp.down_proj
            )
            self.on_result(mlp.gate_proj, at + "mlp/gate")
        self.on_result(base.norm, "final_norm")

    def hook_gpt2(self):
        base = self.model.transformer
        self.on_argument(base.h[0], "embed")
        for l, block in enumerate(base.h):
            out, mlp = block.attn.c_proj, block.mlp
            self.hook_layer(
                f"layers/{l}/", block, block.ln_1, out, block.ln_2, mlp.c_fc, mlp.c_proj
            )
        self.on_result(base.ln_f, "final_norm")

    def watched(self, attend):
        """The function that attention calls, with what goes in and comes out kept."""

        def call(module, query, key, value, mask, **named):
            self.layer = module.layer_idx
            at = f"layers/{self.layer}/attn/"
            for name, x in (("q", query), ("k", key), ("v", value)):
                self.keep(at + name, x)
            given = {
                "module": module,
                "query": query,
                "key": key,
                "value": value,
                "attention_mask": mask,
                **named,
            }
            undo = self.change_call(given)
            out, probs = attend(**given)
            if undo:
                undo()
            if probs is not None:
                self.keep(at + "probs", probs)
            return out, probs

        return call

    @contextlib.contextmanager
    def recording(self):
        source = modeling_llama if self.kind == "llama" else modeling_gpt2
        eager, sdpa = source.eager_attention_forward, ALL_ATTENTION_FUNCTIONS["sdpa"]
        source.eager_attention_forward = self.watched(eager)
        ALL_ATTENTION_FUNCTIONS["sdpa"] = self.watched(sdpa)
        source.nn = Modules(lambda scores: self.keep(f"layers/{self.layer}/attn/scores", scores))
        (self.hook_llama if self.kind == "llama" else self.hook_gpt2)()
        self.on_result(self.model.lm_head, "logits")
        try:
            yield
        finally:
            source.eager_attention_forward, source.nn = eager, torch.nn
            ALL_ATTENTION_FUNCTIONS["sdpa"] = sdpa
            for handle in self.handles:
                handle.remove()

    def run(self, tokens, labels):
        with torch.no_grad(), self.recording():
            out = self.model(input_ids=tokens, labels=labels, use_cache=False)
        self.keep("loss", out.loss)
        return self.tensors
