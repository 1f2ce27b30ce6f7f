"""The programs of docs/evidence.md, each by its name, right or with a defect planted in it."""

import importlib.metadata
import os
import sys

import numpy as np
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "..", "..", "..", "examples")
sys.path[:0] = [EXAMPLES, os.path.join(HERE, "..")]
import assay_subject  # noqa: E402
import planted  # noqa: E402
import texts  # noqa: E402
import torch_llama  # noqa: E402


def version_of(package):
    return f"{package} {importlib.metadata.version(package)}"


def of_transformers(case):
    """Eager, sdpa, and either through torch.compile; names of transformers' own classes."""

    def load(folder, dtype):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype=dtype, attn_implementation=case["mode"].split()[0])
        planted.plant(case["defect"], model.eval(), case["kind"])
        return model

    subject = assay_subject.TorchSubject(load, compiled="compiled" in case["mode"])
    assay_subject.serve(subject)


def of_example(case):
    """A program of examples/, its text changed where a defect is planted."""
    path = os.path.join(EXAMPLES, case["program"].split()[0] + ".py")
    with open(path, encoding="utf-8") as file:
        text = texts.planted(file.read(), case["defect"])
    sys.argv = [path] + (["--jit"] if case["mode"] == "jit" else [])
    exec(compile(text, path, "exec"), {"__name__": "__main__", "__file__": path})


class Flat(torch.nn.Module):
    """A model as a function of three tensors to the list of all that Taps see."""

    def __init__(self, model):
        super().__init__()
        self.model, self.taps = model, assay_subject.Taps(model, "llama")
        self.names = []

    def forward(self, tokens, attention_mask, labels):
        with self.taps:
            self.model(tokens, attention_mask, labels)
        found = assay_subject.heads_once(self.taps.tensors)
        self.names = [name for name in found if not name.startswith("inputs/")]
        return tuple(found[name] for name in self.names)


class OfOnnxruntime:
    """examples/torch_llama.py, exported with all its tensors as outputs, in onnxruntime."""

    def __init__(self, optimised):
        self.optimised, self.sessions = optimised, {}

    def hello(self, message):
        self.folder = message["folder"]
        self.model = Flat(torch_llama.load(message["model"], torch.float32).eval())
        return {"version": version_of("onnxruntime"), "storage": message["precision"],
                "angles": "float32"}

    def session(self, inputs):
        import onnxruntime

        shape = inputs[0].shape
        if shape not in self.sessions:
            path = os.path.join(self.folder, "model.onnx")
            with torch.no_grad():
                torch.onnx.export(self.model, inputs, path, dynamo=False, opset_version=17,
                                  input_names=["tokens", "attention_mask", "labels"])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            levels = onnxruntime.GraphOptimizationLevel
            options.graph_optimization_level = (
                levels.ORT_ENABLE_ALL if self.optimised else levels.ORT_DISABLE_ALL)
            self.sessions[shape] = onnxruntime.InferenceSession(path, options), self.model.names
            os.remove(path)
        return self.sessions[shape]

    def __call__(self, request):
        inputs = tuple(torch.tensor(x).long() for x in
                       (request.tokens, request.attention_mask, request.labels))
        session, names = self.session(inputs)
        given = {x.name: y.numpy() for x, y in zip(session.get_inputs(), (
            y for y, name in zip(inputs, ("tokens", "attention_mask", "labels"))
            if name in {x.name for x in session.get_inputs()}))}
        return dict(zip(names, session.run(None, given)))


class Words:
    """A tokenizer whose words are numbers: of a folder that has none."""

    bos_token, eos_token, unk_token = "0", "1", "2"

    def __init__(self, size):
        self.size = size

    def get_vocab(self):
        return {str(n): n for n in range(self.size)}


class OfCtranslate2:
    """Logits alone: it shows nothing else."""

    def hello(self, message):
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        class Converter(TransformersConverter):
            def load_tokenizer(self, _, folder, **__):
                return Words(transformers.AutoConfig.from_pretrained(folder).vocab_size)

        path = Converter(message["model"]).convert(os.path.join(message["folder"], "ct2"))
        kind = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[message["precision"]]
        self.generator = ctranslate2.Generator(path, compute_type=kind, intra_threads=1)
        if self.generator.compute_type != kind:
            raise ValueError(f"{kind} asked for, {self.generator.compute_type} taken")
        return {"version": version_of("ctranslate2"), "storage": message["precision"]}

    def __call__(self, request):
        words = [[str(n) for n in row] for row in request.tokens]
        return {"logits": np.array(self.generator.forward_batch(words))}


PROGRAMS = {
    "transformers": of_transformers,
    "torch_llama": of_example,
    "numpy_llama": of_example,
    "jax_llama": of_example,
    "onnxruntime": lambda case: assay_subject.serve(
        OfOnnxruntime(case["mode"] == "optimised"), "onnxruntime"),
    "ctranslate2": lambda case: assay_subject.serve(OfCtranslate2(), "ctranslate2"),
}


def run(case):
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    PROGRAMS[case["program"]](case)
