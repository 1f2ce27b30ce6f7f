#!/usr/bin/env python3
"""Trains the small checkpoints of datasets/trained: every method on both blocks, and pt.

    python3 scripts/trained.py build/release/cli/assay [NAME ..]

Each is trained in double precision (`assay train`), rounded to float32 and written as a folder of
Hugging Face; datasets/trained/trained.json says from what, and what its loss on fresh tokens is.
Without names all are made, and the list is written anew; with names these alone.
"""

import array
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "datasets" / "trained"
SEED, FRESH_SEED = 1, 1000
POSITIONS = 16
SOURCES = {"llama": "markov:order=2,vocab=8", "gpt2": "markov:order=2,vocab=8",
           "pt": "markov:order=1,vocab=8,sharpness=8"}
RULE = ["--steps", 800, "--batch", 16, "--lr", 0.01, "--lr-floor", 0.0005, "--warmup", 10,
        "--clip", 1]
# The last of 9 tokens stands in no row: pt has it for a mask.
BLOCKS = {
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 16,
              "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
              "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 9,
              "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "tie_word_embeddings": False},
    "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 16,
             "n_inner": 32, "n_layer": 3, "n_head": 2, "n_positions": POSITIONS, "vocab_size": 9,
             "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
             "tie_word_embeddings": True},
}
BLOCKS["pt"] = {**BLOCKS["llama"], "hidden_size": 32}


def run(*arguments):
    done = subprocess.run([*map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def checkpoints_of(assay):
    """Name, block and options of each."""
    methods = [line.split()[0] for line in run(assay, "methods").splitlines()
               if line and not line.startswith(" ")]
    for block in ("llama", "gpt2"):
        for method in methods:
            if method != "pt":
                yield f"{block}/{method}", block, ["--method", method]
    for output in ("mlm", "causal"):
        yield f"pt/{output}", "pt", ["--method", "pt", "--pt-output", output]


def as_float32(data):
    """A file of safetensors in float64, rounded to float32."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    metadata = header.pop("__metadata__", {})
    values, written = b"", {"__metadata__": metadata}
    for name in sorted(header):
        entry = header[name]
        if entry["dtype"] != "F64":
            sys.exit(f"{name}: expected F64, got {entry['dtype']}")
        first, last = entry["data_offsets"]
        narrow = array.array("f", array.array("d", body[first:last]))
        written[name] = {"dtype": "F32", "shape": entry["shape"],
                         "data_offsets": [len(values), len(values) + 4 * len(narrow)]}
        values += narrow.tobytes()
    text = json.dumps(written, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + values


def fresh_loss(assay, folder, source, work, seed=FRESH_SEED):
    """Mean loss of tokens that are drawn from another seed, and its standard error."""
    out = work / "evaluated"
    run(assay, "train", "--weights", folder, "--data", source, "--seq", POSITIONS, "--steps", 1,
        "--lr", 0, "--seed", seed, "--val-rows", 256, "--out", out, "--force", "--quiet")
    result = json.loads((out / "result.json").read_text())
    return result["mean_losses"]["fresh"], result["standard_errors"]["fresh"]


def entry_of(assay, name, block, options, work):
    """What trained.json says of a checkpoint that stands there."""
    folder = FOLDER / name
    loss, error = fresh_loss(assay, folder, SOURCES[block], work)
    own = json.loads((work / "evaluated" / "config.json").read_text())
    arguments = [*options, "--data", SOURCES[block], "--seq", POSITIONS, "--seed", SEED, *RULE]
    size = (folder / "model.safetensors").stat().st_size
    print(f"{name:<16} {size:>6} bytes, fresh {loss:.4f} +- {error:.4f}", flush=True)
    return {"options": " ".join(map(str, arguments)), "source": SOURCES[block],
            "parameters": own["parameters"],
            "sha256": {file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
                       for file in ("config.json", "model.safetensors")},
            "fresh_loss": round(loss, 6), "standard_error": round(error, 6)}


def make(assay, name, block, options, work):
    config = work / "config.json"
    config.write_text(json.dumps(BLOCKS[block]))
    out = work / "run"
    run(assay, "train", "--config", config, *options, "--data", SOURCES[block], "--seq", POSITIONS,
        "--seed", SEED, *RULE, "--out", out, "--force", "--quiet")
    (checkpoint,) = out.glob("checkpoint-*")
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    weights = as_float32((checkpoint / "model.safetensors").read_bytes())
    (folder / "model.safetensors").write_bytes(weights)


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    assay, names = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    known = list(checkpoints_of(assay))
    for name in names:
        if name not in [known_name for known_name, _, _ in known]:
            sys.exit(f"{name}: expected one of {', '.join(n for n, _, _ in known)}")
    listed = FOLDER / "trained.json"
    entries = json.loads(listed.read_text())["checkpoints"] if names and listed.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name, block, options in known:
            if names and name not in names:
                continue
            make(assay, name, block, options, work)
            entries[name] = entry_of(assay, name, block, options, work)
            document = {"command": "python3 scripts/trained.py build/release/cli/assay",
                        "version": run(assay, "--version").strip(), "positions": POSITIONS,
                        "seed": SEED, "fresh_seed": FRESH_SEED, "checkpoints": entries}
            listed.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
