"""The reference against Hugging Face transformers, in float64. Usage: transformers_oracle.py ASSAY

Golden files of Llama, Mistral, Qwen2, Qwen3 and GPT-2 with drawn weights; each is exported, loaded
by from_pretrained, run, and compared: logits, with sdpa attention too, loss, and the gradient of
the loss with respect to every weight, by the largest difference relative to the largest element.
Then the other way round: models that save_pretrained writes, with their configs as this version of
transformers spells them, are read by `assay generate --weights` and compared likewise. Exits with
77 (skip) where torch or transformers is missing; docs/oracle-requirements.txt names versions that
work together.

With padding on the left the first queries have no key: transformers attends to everything alike
there, Assay to nothing. The last of them predicts the first real token, so loss and gradients are
two different things then; the logits of real positions are the same and are compared.

transformers computes RMSNorm, RoPE angles, Llama's softmax and the loss in float32 whatever the
weights are. Here its own code runs with float32 read as float64, so that only rounding in double is
left.
"""

import json
import os
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
    from safetensors.torch import load_file
    from transformers import modeling_rope_utils
    from transformers.models.gpt2 import modeling_gpt2
    from transformers.models.llama import modeling_llama
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
try:  # from 4.51 on; earlier ones had another window in Qwen2
    from transformers.models.mistral import modeling_mistral
    from transformers.models.qwen2 import modeling_qwen2
    from transformers.models.qwen3 import modeling_qwen3
    FAMILIES = [modeling_mistral, modeling_qwen2, modeling_qwen3]
except ImportError:
    FAMILIES = []

# Both sides round each operation to 2^-53; sums of hundreds of terms through a few layers lose
# three digits of the sixteen, and one more is left for gradients that nearly cancel.
TOLERANCE = 1e-12

LLAMA = {"hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 3,
         "num_attention_heads": 6,
         "num_key_value_heads": 3, "head_dim": 8, "vocab_size": 61, "max_position_embeddings": 128,
         "rms_norm_eps": 1e-6}
# Of the wavelengths 6, 63, 628 and 6283 the first is kept, the second blended, the others divided.
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
# A window of 5 hides keys from most of the queries of every shape, one of 64 none.
WINDOWED = {"use_sliding_window": True, "sliding_window": 5}
MISTRAL = {**LLAMA, "model_type": "mistral", "sliding_window": 5}
QWEN2 = {**LLAMA, "model_type": "qwen2"}
# Heads of 10 are not the width divided by their number.
QWEN3 = {**LLAMA, "model_type": "qwen3", "head_dim": 10}
# As transformers 5 spells it, and with the rotation of the key that stands first.
SPELLED5 = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "dtype": "float32"}
GPT2 = {"model_type": "gpt2", "n_embd": 48, "n_inner": 40, "n_layer": 3, "n_head": 6,
        "n_positions": 40, "vocab_size": 61}

SUITE = {
    "assay_suite": 1,
    "about": "Models that transformers has.",
    "blocks": {
        "llama": LLAMA,
        "llama3tied": {**LLAMA, "tie_word_embeddings": True, "rope_scaling": LLAMA3},
        "llama3": {**LLAMA, "rope_theta": 10000.0, "rope_scaling": LLAMA3},
        "llamabias": {**LLAMA, "attention_bias": True},
        "mistral": MISTRAL,
        "mistralwide": {**MISTRAL, "sliding_window": 64, "tie_word_embeddings": True},
        "mistral5": {**MISTRAL, **SPELLED5, "layer_types": ["sliding_attention"] * 3},
        "qwen2": {**QWEN2, "sliding_window": None},
        "qwen2tied": {**QWEN2, **WINDOWED, "max_window_layers": 1, "tie_word_embeddings": True,
                      "rope_scaling": LLAMA3},
        "qwen2all": {**QWEN2, **WINDOWED, **SPELLED5, "max_window_layers": 0},
        "qwen3": QWEN3,
        "qwen3tied": {**QWEN3, **WINDOWED, **SPELLED5, "tie_word_embeddings": True,
                      "layer_types": ["sliding_attention", "full_attention",
                                      "sliding_attention"]},
        "qwen3bias": {**QWEN3, "attention_bias": True, "rms_norm_eps": 1e-3},
        "gpt2new": {**GPT2, "activation_function": "gelu_new"},
        "gpt2erf": {**GPT2, "activation_function": "gelu", "tie_word_embeddings": False},
    },
    "entries": [
        {"methods": ["plain"], "blocks": blocks, "heads": heads,
         "shapes": [{"batch": 2, "positions": 33, "gradients": True},
                    {"batch": 3, "positions": 17, "right": [0, 5, 2], "gradients": True,
                     "suffix": "right"},
                    {"batch": 3, "positions": 17, "left": [0, 5, 2], "suffix": "left"}]}
        for blocks, heads in ((["llama", "llama3tied", "llama3", "llamabias"]
                               + (["mistral", "mistralwide", "mistral5", "qwen2", "qwen2tied",
                                   "qwen2all", "qwen3", "qwen3tied", "qwen3bias"]
                                  if FAMILIES else []), ["gqa", "mha"]),
                              (["gpt2new", "gpt2erf"], ["mha"]))
    ],
}


class InDouble:
    """The module torch as modelling code sees it, without float32."""

    def __getattr__(self, name):
        return torch.float64 if name in ("float32", "float") else getattr(torch, name)


def check(condition, claim):
    if not condition:
        sys.exit(f"FAIL: {claim}")


def run(*arguments):
    done = subprocess.run([sys.argv[1], *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    check(done.returncode == 0, f"assay {' '.join(arguments)} succeeds: {done.stdout.decode()}")


def difference(got, expected, what):
    check(got.shape == expected.shape, f"{what}: expected {list(expected.shape)}, got "
                                       f"{list(got.shape)}")
    check(bool(torch.isfinite(got).all()), f"{what} is finite")
    largest = expected.abs().max().item()
    check(largest > 0, f"{what} is not all zero")
    return (got - expected).abs().max().item() / largest


CLASSES = {"gpt2": "GPT2LMHeadModel", "mistral": "MistralForCausalLM",
           "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def class_of(block):
    return next((name for family, name in CLASSES.items() if block.startswith(family)),
                "LlamaForCausalLM")


def compare(folder, name):
    """The largest relative differences of logits, loss and gradients."""
    golden, exported = f"{folder}/{name}.h5", f"{folder}/{name}"
    run("export", golden, "--to", exported)
    run("export", golden, "--to", f"{exported}.safetensors")
    tensors = load_file(f"{exported}.safetensors")
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        exported, torch_dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
    check(not any(report.values()), f"{name}: every weight is loaded and none is left over: "
                                    f"{report}")
    check(type(model).__name__ == class_of(name.split("-")[1]),
          f"{name}: {type(model).__name__} is the class meant")
    return differences(model, tensors, name)


def differences(model, tensors, name):
    """Of a model of transformers and what Assay computed of it."""
    model.eval()  # no dropout
    inputs = {key: tensors[f"inputs/{key}"].long()
              for key in ("tokens", "attention_mask", "labels")}
    out = model(input_ids=inputs["tokens"], attention_mask=inputs["attention_mask"],
                labels=inputs["labels"])
    real = inputs["attention_mask"].bool()
    logits = difference(out.logits.detach()[real], tensors["forward/logits"].double()[real],
                        f"{name}: logits")
    if name.endswith("-left"):
        return {"logits": logits}
    if FAMILIES:
        model.set_attn_implementation("sdpa")
        with torch.no_grad():
            sdpa = model(input_ids=inputs["tokens"],
                         attention_mask=inputs["attention_mask"]).logits
        logits = max(logits, difference(sdpa[real], tensors["forward/logits"].double()[real],
                                        f"{name}: logits of sdpa"))
    out.loss.backward()
    loss = difference(out.loss.detach(), tensors["forward/loss"].double(), f"{name}: loss")
    weights = {key[len("weights/"):] for key in tensors if key.startswith("weights/")}
    parameters = dict(model.named_parameters())
    check(set(parameters) == weights, f"{name}: the same weights: {set(parameters) ^ weights}")
    gradients = 0.0
    for key, parameter in parameters.items():
        check(torch.equal(parameter.detach(), tensors[f"weights/{key}"].double()),
              f"{name}: {key} is unchanged")
        gradients = max(gradients, difference(parameter.grad, tensors[f"grad/{key}"].double(),
                                              f"{name}: grad {key}"))
    return {"logits": logits, "loss": loss, f"gradients of {len(parameters)} weights": gradients}


# Their configs, as keyword arguments; what is absent is the class's default.
THEIRS = {
    "LlamaForCausalLM": [{"num_key_value_heads": 2}, {"attention_bias": True},
                         {"rope_scaling": {**LLAMA3}, "rope_theta": 500000.0}],
    "MistralForCausalLM": [{"sliding_window": 4}, {"sliding_window": None, "head_dim": 6,
                                                   "tie_word_embeddings": True}, {}],
    "Qwen2ForCausalLM": [{"num_key_value_heads": 2},
                         {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2,
                          "tie_word_embeddings": True},
                         {"use_sliding_window": True, "sliding_window": None}],
    "Qwen3ForCausalLM": [{"num_key_value_heads": 2},
                         {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0,
                          "attention_bias": True, "head_dim": 6, "tie_word_embeddings": True},
                         {"layer_types": ["full_attention"] * 3, "head_dim": 2}],
    "GPT2LMHeadModel": [{}],
}
EXTENTS = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 3,
           "num_attention_heads": 8, "vocab_size": 53}
EXTENTS_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40, "vocab_size": 53}


def read_theirs(folder, name, index, changes):
    """A model that transformers makes and saves, as `assay generate --weights` reads it."""
    kind = getattr(transformers, name)
    config = kind.config_class(**{**(EXTENTS_GPT2 if "GPT2" in name else EXTENTS), **changes})
    # Qwen2Config and Qwen3Config have 32 key/value heads, MistralConfig 8.
    if "GPT2" not in name and config.num_key_value_heads > config.num_attention_heads:
        config.num_key_value_heads = config.num_attention_heads
    config._attn_implementation = "eager"
    torch.manual_seed(index)
    model = kind(config).double()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in key or ".ln_" in key else 0.0,
                              0.2 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5)
    path = f"{folder}/{name}-{index}"
    model.save_pretrained(path)
    run("generate", "--weights", path, "--batch", "2", "--seq", "13", "--grad", "--out",
        f"{path}.h5")
    run("export", f"{path}.h5", "--to", f"{path}.safetensors")
    return differences(model, load_file(f"{path}.safetensors"), f"{name}-{index}")


def main():
    transformers.logging.set_verbosity_error()
    for module in (modeling_llama, modeling_gpt2, modeling_rope_utils, *FAMILIES):
        module.torch = InDouble()
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/oracle.json", "w") as file:
            json.dump(SUITE, file)
        run("suite", "generate", f"{folder}/oracle.json", "--dir", folder)
        names = sorted(name[:-3] for name in os.listdir(folder) if name.endswith(".h5"))
        expected = 84 if FAMILIES else 30
        check(len(names) == expected, f"{expected} cases are generated: {names}")
        outside = []
        models = [(name, lambda name=name: compare(folder, name)) for name in names]
        models += [(f"{name}-{i}, saved by transformers",
                    lambda name=name, i=i, changes=changes: read_theirs(folder, name, i, changes))
                   for name, cases in THEIRS.items() for i, changes in enumerate(cases)
                   if FAMILIES or name in ("LlamaForCausalLM", "GPT2LMHeadModel")]
        for name, figures_of in models:
            found = figures_of()
            figures = ", ".join(f"{what} {value:.1e}" for what, value in found.items())
            print(f"{name}: {figures}")
            outside += [f"{name} {what} {value:.1e}" for what, value in found.items()
                        if not value <= TOLERANCE]
        check(not outside, f"within {TOLERANCE:.0e}: {'; '.join(outside)}")
    print("transformers oracle: every case within", TOLERANCE,
          "" if FAMILIES else "; Mistral, Qwen2 and Qwen3 not compared: this version is too old")


if __name__ == "__main__":
    main()
