"""The reference against Hugging Face transformers, in float64. Usage: transformers_oracle.py ASSAY

Golden files of LlamaForCausalLM and GPT2LMHeadModel with drawn weights; each is exported, loaded by
from_pretrained, run, and compared: logits, loss, and the gradient of the loss with respect to every
weight, by the largest difference relative to the largest element. Exits with 77 (skip) where torch
or transformers is missing; docs/oracle-requirements.txt names versions that work together.

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

# Both sides round each operation to 2^-53; sums of hundreds of terms through a few layers lose four
# digits of the sixteen, and two more are left for gradients that nearly cancel.
TOLERANCE = 1e-10

LLAMA = {"hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 3,
         "num_attention_heads": 6,
         "num_key_value_heads": 3, "head_dim": 8, "vocab_size": 61, "max_position_embeddings": 128,
         "rms_norm_eps": 1e-6}
# Of the wavelengths 6, 63, 628 and 6283 the first is kept, the second blended, the others divided.
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
GPT2 = {"model_type": "gpt2", "n_embd": 48, "n_inner": 40, "n_layer": 3, "n_head": 6,
        "n_positions": 40, "vocab_size": 61}

SUITE = {
    "assay_suite": 1,
    "about": "Models that transformers has.",
    "blocks": {
        "llama": LLAMA,
        "llama3tied": {**LLAMA, "tie_word_embeddings": True, "rope_scaling": LLAMA3},
        "llama3": {**LLAMA, "rope_theta": 10000.0, "rope_scaling": LLAMA3},
        "gpt2new": {**GPT2, "activation_function": "gelu_new"},
        "gpt2erf": {**GPT2, "activation_function": "gelu", "tie_word_embeddings": False},
    },
    "entries": [
        {"methods": ["plain"], "blocks": blocks, "heads": heads,
         "shapes": [{"batch": 2, "positions": 33, "gradients": True},
                    {"batch": 3, "positions": 17, "right": [0, 5, 2], "gradients": True,
                     "suffix": "right"},
                    {"batch": 3, "positions": 17, "left": [0, 5, 2], "suffix": "left"}]}
        for blocks, heads in ((["llama", "llama3tied", "llama3"], ["gqa", "mha"]),
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
    check(type(model).__name__ == ("GPT2LMHeadModel" if "gpt2" in name else "LlamaForCausalLM"),
          f"{name}: {type(model).__name__} is the class meant")
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


def main():
    transformers.logging.set_verbosity_error()
    for module in (modeling_llama, modeling_gpt2, modeling_rope_utils):
        module.torch = InDouble()
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/oracle.json", "w") as file:
            json.dump(SUITE, file)
        run("suite", "generate", f"{folder}/oracle.json", "--dir", folder)
        names = sorted(name[:-3] for name in os.listdir(folder) if name.endswith(".h5"))
        check(len(names) == 24, f"24 cases are generated: {names}")
        outside = []
        for name in names:
            found = compare(folder, name)
            figures = ", ".join(f"{what} {value:.1e}" for what, value in found.items())
            print(f"{name}: {figures}")
            outside += [f"{name} {what} {value:.1e}" for what, value in found.items()
                        if not value <= TOLERANCE]
        check(not outside, f"within {TOLERANCE:.0e}: {'; '.join(outside)}")
    print("transformers oracle: every case within", TOLERANCE)


if __name__ == "__main__":
    main()
