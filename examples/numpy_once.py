"""The same Llama as a program without a loop, started anew for each answer.

    assay verify golden.h5 --subject exec-once:"python3 examples/numpy_once.py"

Its arguments are the names of two files: of the request, a JSON object, and of the answer.
"""

import json
import os
import sys
import types

import numpy as np
from numpy_llama import Llama


def main():
    with open(sys.argv[1]) as file:
        request = json.load(file)
    with np.load(os.path.join(request["folder"], request["inputs"])) as inputs:
        run = types.SimpleNamespace(forced={}, **inputs)
    tensors = Llama(request["model"])(run)
    np.savez(os.path.join(request["folder"], "answer.npz"), **tensors)
    answer = {"name": "numpy_once", "file": "answer.npz", "storage": "fp32", "angles": "double"}
    with open(sys.argv[2], "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()
