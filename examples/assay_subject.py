"""A Python program as a subject of Assay: assay verify g.h5 --subject exec:"python3 mine.py".

    import assay_subject

    def run(request):               # .tokens, .attention_mask, .labels [B,T]; .model, a folder
        return {"logits": my_model(request.tokens)}         # arrays named as in docs/tensors.md

    assay_subject.serve(run, name="mine", version="1.0")

Needs numpy. What `run` prints goes to standard error: standard output is the protocol's
(docs/programs.md).
"""

import json
import os
import struct
import sys
import traceback

import numpy


class Request:
    """One run: int arrays [B,T], the folder of the model, the values to force, by name, and whether
    gradients are asked for."""

    def __init__(self, model, inputs, forced, gradients=False):
        self.model, self.forced, self.gradients = model, forced, gradients
        self.tokens, self.labels = inputs["tokens"], inputs["labels"]
        self.attention_mask = inputs["attention_mask"]


def read_safetensors(path):
    """The tensors of a .safetensors file of F64, F32 and F16, as arrays."""
    types = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = numpy.frombuffer(data[begin:end], types[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"])
    return tensors


def serve(run, name, version="", can=(), storage="", schedule="", angles=""):
    """Answers requests until there are no more. `run` takes a Request and returns arrays by name.

    can: "force" in it if `run` takes its tensors from request.forced where they are there,
    "gradients" if it returns d loss / d x as "grad/<x>" too where request.gradients is true.
    storage, schedule, angles: what it computes in (docs/verdicts.md); "" if it does not say.
    """
    lines, answers = sys.stdin, os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    folder = model = None

    def say(**message):
        answers.write(json.dumps(message) + "\n")

    for line in lines:
        message = json.loads(line)
        if message["type"] == "bye":
            return
        if message["type"] == "hello":
            folder, model = message["folder"], message["model"]
            says = {"storage": storage, "schedule": schedule, "angles": angles}
            say(name=name, version=version, can=list(can), **{k: v for k, v in says.items() if v})
            continue
        try:
            with numpy.load(os.path.join(folder, message["inputs"])) as inputs:
                inputs = dict(inputs)
            forced = {}
            if "forced" in message:
                forced = read_safetensors(os.path.join(folder, message["forced"]))
            file = f"answer-{message['id']}.npz"
            request = Request(model, inputs, forced, message.get("gradients", False))
            numpy.savez(os.path.join(folder, file), **run(request))
            say(id=message["id"], file=file)
        except Exception as error:  # the judge is told, and may ask again
            traceback.print_exc()
            say(id=message["id"], error=f"{type(error).__name__}: {error}")
