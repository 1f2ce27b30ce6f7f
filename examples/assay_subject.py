"""Python programs under Assay's judgement: a model that is recorded, a program that answers.

    with record(model, "candidate.h5"):             # PyTorch: a model of transformers
        model(input_ids, labels=input_ids)          # assay compare golden.h5 candidate.h5

    serve(TorchSubject())                       # assay verify g.h5 --subject exec:"python3 me.py"
    serve(lambda request: {"logits": my_model(request.tokens)})      # names as in docs/tensors.md

Needs numpy; h5py to write .h5, torch for `record` and `TorchSubject`. docs/python.md has examples,
docs/programs.md the protocol. What a program that serves prints goes to standard error.
"""

import contextlib
import fnmatch
import inspect
import json
import os
import re
import struct
import sys
import traceback

import numpy

# Safetensors' names of element types, as numpy has them; numpy has no bfloat16: its bits.
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
         "U8": "|u1"}

# Where a model of transformers has our tensors: a module's result, its argument (":in"), or, of an
# attention (":attention"), q and k after rotation, v, scores and probabilities; ":heads" and
# ":heads in" where the module's are [B,T,n,Dh], ours [B,n,T,Dh].
LLAMA = {
    "embed": "model.embed_tokens",
    "layers/{l}/input": "model.layers.{l}:in",
    "layers/{l}/attn_norm": "model.layers.{l}.input_layernorm",
    "layers/{l}/attn": "model.layers.{l}.self_attn:attention",
    "layers/{l}/attn/context": "model.layers.{l}.self_attn.o_proj:in",
    "layers/{l}/attn/out": "model.layers.{l}.self_attn.o_proj",
    "layers/{l}/attn_residual": "model.layers.{l}.post_attention_layernorm:in",
    "layers/{l}/mlp_norm": "model.layers.{l}.post_attention_layernorm",
    "layers/{l}/mlp/gate": "model.layers.{l}.mlp.gate_proj",
    "layers/{l}/mlp/up": "model.layers.{l}.mlp.up_proj",
    "layers/{l}/mlp/act": "model.layers.{l}.mlp.down_proj:in",
    "layers/{l}/mlp/out": "model.layers.{l}.mlp.down_proj",
    "layers/{l}/output": "model.layers.{l}",
    "final_norm": "model.norm",
    "logits": "lm_head",
}
GPT2 = {
    "embed": "transformer.drop",
    "layers/{l}/input": "transformer.h.{l}:in",
    "layers/{l}/attn_norm": "transformer.h.{l}.ln_1",
    "layers/{l}/attn": "transformer.h.{l}.attn:attention",
    "layers/{l}/attn/context": "transformer.h.{l}.attn.c_proj:in",
    "layers/{l}/attn/out": "transformer.h.{l}.attn.c_proj",
    "layers/{l}/attn_residual": "transformer.h.{l}.ln_2:in",
    "layers/{l}/mlp_norm": "transformer.h.{l}.ln_2",
    "layers/{l}/mlp/up": "transformer.h.{l}.mlp.c_fc",
    "layers/{l}/mlp/act": "transformer.h.{l}.mlp.c_proj:in",
    "layers/{l}/mlp/out": "transformer.h.{l}.mlp.c_proj",
    "layers/{l}/output": "transformer.h.{l}",
    "final_norm": "transformer.ln_f",
    "logits": "lm_head",
}
QWEN3 = {
    **LLAMA,
    "layers/{l}/attn/q_proj": "model.layers.{l}.self_attn.q_norm:heads in",
    "layers/{l}/attn/q_norm": "model.layers.{l}.self_attn.q_norm:heads",
    "layers/{l}/attn/k_proj": "model.layers.{l}.self_attn.k_norm:heads in",
    "layers/{l}/attn/k_norm": "model.layers.{l}.self_attn.k_norm:heads",
}
FAMILIES = {"llama": LLAMA, "mistral": LLAMA, "qwen2": LLAMA, "qwen3": QWEN3, "gpt2": GPT2}


# Files.


def read_safetensors(path):
    """The tensors of a .safetensors file as arrays; bfloat16 as the float32 of the same value."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = numpy.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = widened(entry["dtype"], array)
    return tensors


def widened(kind, array):
    if kind != "BF16":
        return array
    return (array.astype(numpy.uint32) << 16).view(numpy.float32).reshape(array.shape)


def encoded(name, x):
    """Element type and little-endian array of a tensor of numpy, torch, jax, or a plain number."""
    if type(x).__module__.split(".")[0] == "torch":
        x = x.detach().cpu().contiguous()
        bits = "int16" if str(x.dtype) == "torch.bfloat16" else None
        x, kind = (x.view(getattr(__import__("torch"), bits)), "BF16") if bits else (x, None)
        x = x.numpy()
    else:
        x = numpy.asarray(x)
        kind = "BF16" if x.dtype.name == "bfloat16" else None
    x = numpy.ascontiguousarray(x).reshape(x.shape)
    if kind:
        return kind, x.view(numpy.uint16)
    for kind, numpy_type in TYPES.items():
        if kind != "BF16" and x.dtype == numpy.dtype(numpy_type):
            return kind, x.astype(numpy_type, copy=False)
    raise TypeError(f"{name}: expected a tensor of floats or integers, got {x.dtype}")


def write_tensors(path, tensors, attributes=None):
    """A dump: .h5, .npz or .safetensors by the name's end. There whole or not at all."""
    write, partial = writer_of(path), f"{path}.partial-{os.getpid()}"
    try:
        write(partial, {name: encoded(name, x) for name, x in tensors.items()},
              {key: str(x) for key, x in (attributes or {}).items() if x})
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)


def writer_of(path):
    writers = {".h5": write_h5, ".hdf5": write_h5, ".npz": write_npz,
               ".safetensors": write_safetensors}
    end = os.path.splitext(path)[1]
    if end not in writers:
        raise ValueError(f"{path}: expected a name that ends with .h5, .npz or .safetensors")
    return writers[end]


def write_h5(path, tensors, attributes):
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, (kind, x) in tensors.items():
            file[name] = x
            if kind == "BF16":
                file[name].attrs["dtype"] = "bfloat16"


def write_npz(path, tensors, _):
    with open(path, "wb") as file:
        numpy.savez(file, **{name: widened(*x) for name, x in tensors.items()})


def write_safetensors(path, tensors, attributes):
    header, end = {"__metadata__": attributes} if attributes else {}, 0
    for name, (kind, x) in tensors.items():
        header[name] = {"dtype": kind, "shape": x.shape, "data_offsets": [end, end + x.nbytes]}
        end += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, x in tensors.values():
            file.write(x.tobytes())


# A program that answers.


class Request:
    """One run: int arrays [B,T], the folder of the model, the values to force, by name, and whether
    gradients are asked for."""

    wanted = ()  # names of the tensors that are asked for; none: all

    def __init__(self, model, inputs, forced, gradients=False):
        self.model, self.forced, self.gradients = model, forced, gradients
        self.tokens, self.labels = inputs["tokens"], inputs.get("labels")
        self.attention_mask = inputs.get("attention_mask")


class StepRequest:
    """One step of training by AdamW, all from one gradient: that of the mean loss over what all
    micro-batches count together.

    micro_batches: Requests. state: {"weight": .., "first": .., "second": ..}, each arrays by the
    weight's name, to take in place of one's own, with the number of `steps` taken before; None: go
    on from one's own. rate, rule: beta1, beta2, eps, weight_decay, max_norm (0: no clipping).
    decay: the names of the weights that decay.
    """

    def __init__(self, model, message, micro_batches, state):
        self.model, self.micro_batches, self.state = model, micro_batches, state
        self.steps, self.rate = message.get("steps"), message["lr"]
        self.rule, self.decay = message["rule"], set(message["decay"])


def read_step(folder, model, message):
    batches = []
    for file in message["inputs"]:
        with numpy.load(os.path.join(folder, file)) as inputs:
            batches.append(Request(model, dict(inputs), {}))
    state = None
    if "state" in message:
        state = {"weight": {}, "first": {}, "second": {}}
        for name, x in read_safetensors(os.path.join(folder, message["state"])).items():
            kind, weight = name.split("/", 1)
            state[kind][weight] = x
    return StepRequest(model, message, batches, state)


def serve(run, name="", version="", can=(), storage="", schedule="", angles=""):
    """Answers requests until there are no more. `run` takes a Request and returns tensors by name,
    of numpy, torch or jax. It may have methods: `hello` gets Assay's first message and returns what
    else is said in answer to it; `train` gets a StepRequest and returns tensors as docs/programs.md
    names them of a step, or None for one that overflowed and is skipped; `decode` gets a Request
    whose tokens follow those in a cache, and returns tensors of these; `reset` empties that cache.

    name: of the program in reports; that of its file, if it is empty.
    can: "force" in it if `run` takes its tensors from request.forced where they are there,
    "gradients" if it returns d loss / d x as "grad/<x>" too where request.gradients is true.
    storage, schedule, angles: what it computes in (docs/verdicts.md); "" if it does not say.
    """
    lines, answers = sys.stdin, os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    folder = model = None
    name = name or os.path.splitext(os.path.basename(sys.argv[0]))[0] or "python"
    says = {"storage": storage, "schedule": schedule, "angles": angles}
    can = [*can, *(["decode"] if hasattr(run, "decode") else []),
           *(["train"] if hasattr(run, "train") else [])]
    says = {"name": name, "version": version, "can": can, **says}

    def say(**message):
        answers.write(json.dumps({key: x for key, x in message.items() if x != ""}) + "\n")

    for line in lines:
        message = json.loads(line)
        if message["type"] == "bye":
            return
        try:
            if message["type"] == "hello":
                folder, model = message["folder"], message.get("model")
                say(**{**says, **(run.hello(message) if hasattr(run, "hello") else {})})
                continue
            if message["type"] == "reset":
                run.reset()
                say(id=message["id"])
                continue
            if message["type"] == "step":
                tensors = run.train(read_step(folder, model, message))
                if tensors is None:
                    say(id=message["id"], skipped=True)
                    continue
                file = f"answer-{message['id']}.safetensors"
                write_tensors(os.path.join(folder, file), tensors)
                say(id=message["id"], file=file)
                continue
            with numpy.load(os.path.join(folder, message["inputs"])) as inputs:
                inputs = dict(inputs)
            forced = {}
            if "forced" in message:
                forced = read_safetensors(os.path.join(folder, message["forced"]))
            request = Request(model, inputs, forced, message.get("gradients", False))
            request.wanted = message.get("wanted", ())
            file = f"answer-{message['id']}.safetensors"
            tensors = (run.decode if message["type"] == "decode" else run)(request)
            write_tensors(os.path.join(folder, file), tensors)
            say(id=message["id"], file=file)
        except Exception as error:  # the judge is told, and may ask again
            traceback.print_exc()
            about = {"id": message["id"]} if "id" in message else {"name": name}
            say(**about, error=f"{type(error).__name__}: {error}{own_line(error)}")


def own_line(error):
    """" (mine.py, line 57, forward: y = x @ w)": the innermost of a program's own lines."""
    libraries = (os.path.abspath(__file__), os.path.dirname(os.path.abspath(os.__file__)))
    own = [frame for frame in traceback.extract_tb(error.__traceback__)
           if not os.path.abspath(frame.filename).startswith(libraries)
           and not {"site-packages", "dist-packages"} & set(frame.filename.split(os.sep))
           and os.path.exists(frame.filename)]
    if not own:
        return ""
    file, line, where, text = own[-1]
    return f" ({os.path.basename(file)}, line {line}, {where}: {text})"


# Models of PyTorch.

NO_LOSS = ("expected a model that returns its loss where labels are given, as out.loss, "
           "out['loss'] or the one number of a tuple; got none")


def loss_of(out):
    """None where there is none, or there are several."""
    if hasattr(out, "get"):
        found = [out.get("loss")]
    else:
        found = list(out) if isinstance(out, (tuple, list)) else []
        found = [out.loss] if hasattr(out, "loss") else found
    numbers = [x for x in found if getattr(x, "ndim", None) == 0]
    return numbers[0] if len(numbers) == 1 else None


@contextlib.contextmanager
def record(model, path, names=None, only="*", schedule=None, angles=None):
    """Writes what `model` computes in the block to `path`, under our names (docs/python.md).

    Of several calls the last is written; with "{}" in the path each, in a file of its number.
    An exception leaves no file. The model is as it was behind the block.
    names: where the tensors are, for a model that is none of FAMILIES: a family's name, where the
    modules are called alike; {"layers/{l}/attn_norm": "blocks.{l}.norm1", ..} with ":in" behind a
    module for its argument and ":attention" for q, k, v, scores and probabilities; or "modules":
    the result of every module under its own name.
    only: patterns of tensors, such as "logits,layers/*/output".
    schedule, angles: what the dump declares of its arithmetic (docs/verdicts.md).
    """
    calls, numbered = [], "{}" in path
    write_check(path)
    with Taps(model, names, only, "record") as taps:

        def keep(tensors):
            if not numbered:
                calls.clear()
            calls.append({name: x.cpu() for name, x in tensors.items()})

        taps.finished = keep
        yield
    if not calls:
        raise RuntimeError(f"{path}: nothing to write: no call of {type(taps.root).__name__} has "
                           "ended in the block")
    said = taps.arithmetic()
    said = {"schedule": said["schedule"] if schedule is None else schedule,
            "angles": said["angles"] if angles is None else angles, "made_with": said["version"]}
    for number, tensors in enumerate(calls):
        write_tensors(path.replace("{}", str(number)), heads_once(tensors), said)


def write_check(path):
    """What cannot be written is said before the model runs."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path}: there is no folder {folder}")
    writer_of(path)


def unwrapped(model):
    """The model inside torch.compile, DataParallel and its kind, and adapters of peft."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif type(model).__name__.endswith("DataParallel"):
            model = model.module
        else:
            return model


class Taps:
    """Reads, and replaces, tensors of a model while it runs. Leaves it as it was."""

    def __init__(self, model, names=None, only="*", who="TorchSubject"):
        import torch

        self.torch, self.model, self.root = torch, model, unwrapped(model)
        self.config = getattr(self.root, "config", None)
        self.places = self.found(names, who)
        self.wanted = {name for name in self.names()
                       if any(fnmatch.fnmatchcase(name, part) for part in only.split(","))}
        self.tensors, self.live, self.forced = {}, {}, {}
        self.running, self.gradients, self.patched = False, False, set()
        self.at, self.given, self.scored = "", False, False
        self.finished = lambda tensors: None
        self.undo = contextlib.ExitStack()

    def found(self, names, who):
        """(our name, module, part) of every tensor that the model has a place for."""
        modules = dict(self.root.named_modules())
        kind, known = getattr(self.config, "model_type", None), names is None
        if names == "modules":
            return [(name.replace(".", "/"), x, "") for name, x in modules.items() if name]
        table = FAMILIES.get(kind if known else names) if not isinstance(names, dict) else names
        if table is None:
            what = f"model_type {kind}" if known and kind else "not a model of transformers"
            what = what if known else f"names={names!r}"
            raise ValueError(
                f"{who}: no names are known for {type(self.root).__name__} ({what}): expected one "
                f"of {', '.join(FAMILIES)}; pass names={{'layers/{{l}}/attn_norm': "
                "'blocks.{l}.norm1', ..}, or names='modules'")
        places, strip = [], next(iter(table.values())).split(".")[0] + "."
        short = known and strip[:-1] not in modules  # the model without its head
        for name, place in table.items():
            path, _, part = place.partition(":")
            path = path[len(strip):] if short and path.startswith(strip) else path
            count = 0
            for number in range(10**9 if "{l}" in place else 1):
                module = modules.get(path.replace("{l}", str(number)))
                if module is None:
                    break
                places.append((name.replace("{l}", str(number)), module, part))
                count += 1
            if count == 0 and not (known and path == "lm_head"):
                raise ValueError(f"{who}: {name}: {type(self.root).__name__} has no module {path}")
        return places

    def names(self):
        """Of all tensors that a call may show."""
        yield "loss"
        for name, _, part in self.places:
            parts = ("q", "k", "v", "scores", "probs") if part == "attention" else ()
            yield from [f"{name}/{x}" for x in parts] or [name]

    def arithmetic(self):
        """What is said of the arithmetic: nothing of a compiled model, which joins operations."""
        import importlib.metadata as packages

        compiled = self.model is not self.root or any(
            getattr(module, "_compiled_call_impl", None) for module in self.root.modules())
        versions = [f"torch {self.torch.__version__}"]
        rotates = getattr(self.config, "model_type", "gpt2") != "gpt2"
        if type(self.root).__module__.startswith("transformers."):
            versions.insert(0, f"transformers {packages.version('transformers')}")
        else:
            rotates = False
        return {"schedule": "" if compiled else "eager", "angles": "float32" if rotates else "",
                "version": ", ".join(versions)}

    # While hooks are in place.

    def __enter__(self):
        self.reset_compiled()
        try:
            self.hook(self.root.register_forward_pre_hook, self.begin, with_kwargs=True)
            attentions = [(name, x) for name, x, part in self.places if part == "attention"]
            for name, module in attentions:
                self.watch_attention(name, module)
            for name, module, part in self.places:
                heads = part.startswith("heads")
                if part.endswith("in"):
                    self.hook(module.register_forward_pre_hook, self.argument(name, heads),
                              with_kwargs=True)
                elif part in ("", "heads"):
                    self.hook(module.register_forward_hook, self.result(name, heads))
            self.hook(self.root.register_forward_hook, self.end)
            if attentions:
                self.undo.enter_context(self.mode())
        except BaseException:
            self.undo.close()
            raise
        return self

    def __exit__(self, *_):
        self.running = False
        self.undo.close()
        self.reset_compiled()

    def reset_compiled(self):
        """What was compiled does not know of hooks that come or go."""
        if "torch._dynamo" in sys.modules:
            self.torch._dynamo.reset()

    def hook(self, register, function, **options):
        self.undo.callback(register(function, **options).remove)

    def patch(self, table, key, make):
        old = table[key]
        table[key] = make(old)
        self.undo.callback(table.__setitem__, key, old)

    def begin(self, _, args, named):
        self.tensors.clear()
        self.live.clear()
        self.running, self.at = True, ""
        for ours, theirs in (("tokens", "input_ids"), ("attention_mask", "attention_mask"),
                             ("labels", "labels"), ("position_ids", "position_ids")):
            x = named.get(theirs)
            if x is None and ours == "tokens" and args:
                x = args[0]
            if isinstance(x, self.torch.Tensor):
                self.tensors["inputs/" + ours] = x.detach().clone()

    def end(self, _, __, out):
        loss = loss_of(out)
        if loss is not None:
            self.tap("loss", loss)
        self.running, self.at = False, ""
        self.finished(dict(self.tensors))

    def tap(self, name, x):
        """Keeps x; what takes its place in the model."""
        if not self.running:
            return x
        if self.gradients:
            self.live[name] = x
        if name in self.wanted:
            self.tensors[name] = x.detach().clone()
        y = self.forced.get(name)
        if y is None:
            return x
        y = y.to(x.device, x.dtype)
        if y.shape != x.shape:  # heads that were repeated before they were seen
            y = y.repeat_interleave(x.shape[1] // y.shape[1], dim=1)
        return y

    def tap_heads(self, name, x):
        """tap() of heads [B,T,n,Dh]."""
        ours = x.transpose(1, 2)
        y = self.tap(name, ours)
        return x if y is ours else y.transpose(1, 2)

    def argument(self, name, heads=False):
        tap = self.tap_heads if heads else self.tap

        def before(_, args, named):
            key = None if args else next(iter(named))
            x = args[0] if args else named[key]
            y = tap(name, x)
            if y is x:
                return None
            if name.endswith("residual"):  # the sum goes on beside the norm
                x.copy_(y)
                return None
            return ((y, *args[1:]), named) if args else (args, {**named, key: y})

        return before

    def result(self, name, heads=False):
        tap = self.tap_heads if heads else self.tap

        def after(_, __, out):
            x = out[0] if isinstance(out, (tuple, list)) else out
            if not isinstance(x, self.torch.Tensor):
                return None
            y = tap(name, x)
            if y is x:
                return None
            return (y, *out[1:]) if isinstance(out, (tuple, list)) else y

        return after

    # Attention: q, k and v where transformers hands them to the function that attends, else, with
    # what is before and after softmax, as operands of the products around it.

    def watch_attention(self, name, module):
        def enter(*_):
            self.at, self.given, self.scored = name, False, False

        def leave(*_):
            self.at = ""

        self.hook(module.register_forward_pre_hook, enter)
        self.hook(module.register_forward_hook, leave)
        form = getattr(self.config, "_attn_implementation", "eager")
        for kind in type(module).__mro__:
            space = vars(sys.modules[kind.__module__])
            for table, key in ((space, "eager_attention_forward"),
                               (space.get("ALL_ATTENTION_FUNCTIONS", {}), form)):
                if key in table and (id(table), key) not in self.patched:
                    self.patched.add((id(table), key))
                    self.patch(table, key, self.watched)

    def watched(self, attend):
        def call(module, query, key, value, *rest, **named):
            if self.at:
                query, key, value = map(self.operand, "qkv", (query, key, value))
                self.given = True
            return attend(module, query, key, value, *rest, **named)

        return call

    def operand(self, name, x):
        return x if self.given else self.tap(f"{self.at}/{name}", x)

    def mode(self):
        torch, taps = self.torch, self
        softmax = {torch.softmax, torch.Tensor.softmax, torch.nn.functional.softmax}
        products = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}
        fused = torch.nn.functional.scaled_dot_product_attention

        class Watch(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                kwargs = kwargs or {}
                if not (taps.at and args and getattr(args[0], "ndim", 0) == 4):
                    return function(*args, **kwargs)
                if function is fused:
                    args = (*map(taps.operand, "qkv", args), *args[3:])
                elif function in softmax and not taps.scored:
                    args = (taps.tap(taps.at + "/scores", args[0]), *args[1:])
                    taps.scored = True
                    return taps.tap(taps.at + "/probs", function(*args, **kwargs))
                elif function in products and taps.scored:
                    args = (taps.tap(taps.at + "/probs", args[0]), taps.operand("v", args[1]))
                elif function in products:
                    k = taps.operand("k", args[1].transpose(-1, -2))
                    args = (taps.operand("q", args[0]), k.transpose(-1, -2))
                return function(*args, **kwargs)

        return Watch()


def heads_once(tensors):
    """The same with each key/value head once, where all of a group were repeated before they were
    seen: as many as are equal, bit for bit."""
    tensors = dict(tensors)
    for name in [name for name in tensors if name.endswith(("/attn/k", "/attn/v"))]:
        x, q = tensors[name], tensors.get(name[:-1] + "q")
        if q is None or x.ndim != 4 or x.shape[1] != q.shape[1]:
            continue
        for count in (n for n in range(1, x.shape[1]) if x.shape[1] % n == 0):
            groups = x.unflatten(1, (count, -1))
            if bool((groups == groups[:, :, :1]).all()):
                tensors[name] = groups[:, :, 0]
                break
    return tensors


class TorchSubject:
    """A model of PyTorch, for `serve`: all its tensors, from forced ones too, and gradients.

    model: none: what AutoModelForCausalLM.from_pretrained makes of the folder that Assay sends; a
    module: Assay's weights are loaded into it; a function of that folder and a dtype: what it
    returns. names as in `record`. weights: what its parameters are called where not as Assay's
    are, {"model.layers.{l}.self_attn.q_proj.weight": "blocks.{l}.wq.weight", ..}: they are loaded
    into a module, and their gradients named, by that. attention: eager, sdpa, .. of
    from_pretrained. compiled: through torch.compile. call: how it is run, a function of model,
    tokens, attention_mask and labels (not shifted; -100: not counted).
    """

    TYPES = {"fp64": "float64", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

    def __init__(self, model=None, names=None, attention="eager", compiled=False, device="cpu",
                 call=None, weights=None):
        self.source, self.names, self.attention = model, names, attention
        self.weights, self.ours = weights or {}, {}  # ours: Assay's name of a parameter
        self.compiled, self.device, self.call = compiled, device, call or self.usual_call

    def hello(self, message):
        import torch

        self.torch, precision = torch, message.get("precision")
        self.reset()
        if precision is not None and precision not in self.TYPES:
            raise ValueError(
                f"precision: expected one of {', '.join(self.TYPES)}, got {precision}")
        dtype = getattr(torch, self.TYPES[precision]) if precision else None
        model = self.made(message.get("model"), dtype).to(self.device).eval()
        if self.weights and message.get("model"):
            self.name_weights(message["model"], model)
        if dtype is not None:
            for x in model.parameters():  # not buffers: angles are formed in float32 for every type
                x.data = x.data.to(dtype)
        names = self.names
        if names is None and precision is None and self.family(model) not in FAMILIES:
            names = "modules"  # nobody compares them with ours
        self.taps = Taps(model, names).__enter__()
        self.model = torch.compile(model) if self.compiled else model
        self.taps.model = self.model
        said = self.taps.arithmetic()
        said["name"] = type(self.taps.root).__name__ + (" compiled" if self.compiled else "")
        self.takes = inspect.signature(self.taps.root.forward).parameters
        self.past = next((x for x in ("past_key_values", "cache") if x in self.takes), None)
        can = ["force", "gradients", *(["mask"] if "attention_mask" in self.takes else []),
               *(["decode"] if self.decodes() else [])]
        self.half, self.optimizer = precision == "fp16", None
        self.narrow = precision in ("fp16", "bf16")
        # What PyTorch's AdamW and clip_grad_norm_ do.
        trains = {"master": "fp32" if self.narrow else precision, "scalars": "double",
                  "clip_epsilon": 1e-6} if precision else {}
        can += ["train"] if precision else []
        return {**said, **trains, "storage": precision or "", "can": can}

    def decodes(self):
        """Keeps a cache when asked to, and hands it over by name."""
        root, kept = self.taps.root, None
        if not self.past or "use_cache" not in self.takes or self.call != self.usual_call:
            return False
        device = next((x.device for x in root.parameters()), self.device)
        try:
            with self.torch.no_grad():
                out = root(self.torch.zeros((1, 1), dtype=self.torch.long, device=device),
                           use_cache=True)
            kept = out.get(self.past, out.get("past_key_values"))
        except Exception:  # of any kind: the model's own
            pass
        self.taps.tensors.clear()
        return kept is not None

    @staticmethod
    def family(model):
        return getattr(getattr(unwrapped(model), "config", None), "model_type", None)

    def made(self, folder, dtype):
        own = isinstance(self.source, self.torch.nn.Module)
        if folder is None and not own:
            raise ValueError("a model of yours is asked for: TorchSubject(model)")
        if self.source is None:
            import transformers

            return transformers.AutoModelForCausalLM.from_pretrained(
                folder, torch_dtype=dtype, attn_implementation=self.attention)
        if folder is None or not own:
            return self.source if own else self.source(folder, dtype)
        weights = read_safetensors(os.path.join(folder, "model.safetensors"))
        weights = {self.theirs(name): x for name, x in weights.items()}
        root = unwrapped(self.source)
        state = root.state_dict(keep_vars=True)
        loaded = {state[name].data_ptr() for name in weights if name in state}
        missing = [name for name, x in root.named_parameters() if x.data_ptr() not in loaded]
        extra = [name for name in weights if name not in state]
        if missing or extra:
            raise ValueError(
                f"{type(root).__name__}: its weights are named otherwise: it lacks {extra[:3]} and "
                f"has {missing[:3]} besides; say so in weights={{..}}, or pass a function of "
                "folder and dtype that loads them")
        root.load_state_dict({k: self.torch.tensor(x) for k, x in weights.items()}, strict=False)
        return self.source

    def theirs(self, name):
        for pattern, own in self.weights.items():
            found = re.fullmatch(re.escape(pattern).replace(r"\{l\}", r"(\d+)"), name)
            if found:
                return own.replace("{l}", found[1] if found.groups() else "{l}")
        return name

    def name_weights(self, folder, model):
        own = dict(unwrapped(model).named_parameters(remove_duplicate=False))
        names = read_safetensors(os.path.join(folder, "model.safetensors"))
        self.ours = {self.theirs(name): name for name in names}
        missing = [name for name in self.ours if name not in own]
        if missing:
            raise ValueError(f"weights: {type(unwrapped(model)).__name__} has no parameter "
                             f"{missing[0]}; it has {', '.join(list(own)[:6])}, ..")

    def parameters(self):
        """By Assay's names."""
        if not self.ours:
            return dict(self.taps.root.named_parameters())
        named = list(self.taps.root.named_parameters(remove_duplicate=False))
        ours = {id(x): self.ours[name] for name, x in named if name in self.ours}
        return {ours.get(id(x), name): x for name, x in self.taps.root.named_parameters()}

    def usual_call(self, model, tokens, attention_mask, labels):
        named = {"attention_mask": attention_mask, "labels": labels, "use_cache": False}
        return model(tokens, **{key: x for key, x in named.items()
                                if key in self.takes and x is not None})

    def __call__(self, request):
        torch, taps = self.torch, self.taps
        taps.forced = {name: torch.tensor(x) for name, x in request.forced.items()}
        taps.gradients = request.gradients
        with torch.set_grad_enabled(request.gradients):
            self.call(self.model, *map(self.long, (request.tokens, request.attention_mask,
                                                   request.labels)))
        tensors = self.found()
        if request.gradients:
            tensors.update(self.gradients(tensors))
        taps.live.clear()
        return tensors

    # Training: AdamW on the parameters, or on float32 masters of those in 16 bits.

    def train(self, request):
        torch = self.torch
        if request.state is not None or self.optimizer is None:
            self.take_over(request)
        self.taps.forced, self.taps.gradients = {}, False
        counts = [int((batch.labels[:, 1:] != -100).sum()) for batch in request.micro_batches]
        loss = 0.0
        for batch, count in zip(request.micro_batches, counts):
            share = count / sum(counts)
            out = self.call(self.model, *map(self.long, (batch.tokens, batch.attention_mask,
                                                         batch.labels)))
            mean = loss_of(out)
            if mean is None:
                raise ValueError(NO_LOSS)
            (mean * share * self.loss_scale).backward()
            loss += share * mean.item()
            for name, x in self.trained.items():
                self.gather(self.masters[name], x)
        grads = {name: x.grad / self.loss_scale for name, x in self.masters.items()}
        for name, x in self.masters.items():
            x.grad = grads[name].clone()
        max_norm = request.rule["max_norm"] or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(list(self.masters.values()), max_norm)
        skipped = self.narrow and not torch.isfinite(norm)
        if not skipped:
            self.update(request)
        elif self.loss_scale > 1:
            self.loss_scale /= 2
        for x in self.masters.values():
            x.grad = None
        return None if skipped else self.step_tensors(loss, norm, grads)

    def take_over(self, request):
        torch, state = self.torch, request.state
        self.trained = self.parameters()
        if self.optimizer is None:
            self.loss_scale = 65536.0 if self.half else 1.0
        self.masters = {}
        for name, x in self.trained.items():
            x.grad, x.requires_grad = None, True
            master = torch.tensor(state["weight"][name]).to(x.device)
            wide = torch.promote_types(x.dtype, torch.float32)
            self.masters[name] = master.to(wide).requires_grad_()
        decaying = [x for name, x in self.masters.items() if name in request.decay]
        others = [x for name, x in self.masters.items() if name not in request.decay]
        rule = request.rule
        groups = [{"params": decaying, "weight_decay": rule["weight_decay"]},
                  {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]],
                                           lr=request.rate, eps=rule["eps"],
                                           betas=(rule["beta1"], rule["beta2"]))
        for name, x in self.masters.items():
            moments = (torch.tensor(state[kind][name]).to(x) for kind in ("first", "second"))
            self.optimizer.state[x] = {"step": torch.tensor(float(request.steps)),
                                       **dict(zip(("exp_avg", "exp_avg_sq"), moments))}
        self.publish()

    @staticmethod
    def gather(master, x):
        if x.grad is None:
            x.grad = x.detach() * 0
        grad = x.grad.to(master.dtype)
        master.grad = grad.clone() if master.grad is None else master.grad + grad
        x.grad = None

    def update(self, request):
        for group in self.optimizer.param_groups:
            group["lr"] = request.rate
        self.optimizer.step()
        self.publish()

    def publish(self):
        """The model computes with the masters, in its own type."""
        for name, x in self.trained.items():
            x.data = self.masters[name].detach().to(x.dtype).clone()

    def step_tensors(self, loss, norm, grads):
        state = {name: self.optimizer.state[x] for name, x in self.masters.items()}
        return {"loss": loss, "grad_norm": norm,
                **{"grad/" + name: x for name, x in grads.items()},
                **{"first/" + name: x["exp_avg"] for name, x in state.items()},
                **{"second/" + name: x["exp_avg_sq"] for name, x in state.items()},
                **{"weight/" + name: x for name, x in self.masters.items()}}

    def long(self, x):
        return None if x is None else self.torch.tensor(x).long().to(self.device)

    def found(self):
        return {name: x for name, x in heads_once(self.taps.tensors).items()
                if not name.startswith("inputs/")}

    def reset(self):
        self.cache, self.mask = None, numpy.ones((1, 0), int)

    def decode(self, request):
        """Of keys and values those of the new tokens. Where there is padding the model gets the
        mask of all that was read."""
        self.taps.forced, self.taps.gradients = {}, False
        named = {self.past: self.cache}
        mask = request.attention_mask
        if mask is not None and "attention_mask" in self.takes:
            old = numpy.broadcast_to(self.mask, (len(mask), self.mask.shape[1]))
            self.mask = numpy.concatenate([old, mask], axis=1)
            if not self.mask.all():
                named["attention_mask"] = self.long(self.mask)
        with self.torch.no_grad():
            out = self.model(self.long(request.tokens), use_cache=True, **named)
        self.cache = out.get(self.past, out.get("past_key_values"))
        count = request.tokens.shape[1]
        return {name: x[:, :, -count:] if name.endswith(("/attn/k", "/attn/v")) else x
                for name, x in self.found().items()}

    def gradients(self, tensors):
        live = {**self.taps.live, **self.parameters()}
        loss = live.pop("loss", None)
        if loss is None:
            raise ValueError(NO_LOSS)
        live = {name: x for name, x in live.items() if x.requires_grad}
        found = self.torch.autograd.grad(loss, list(live.values()), allow_unused=True)
        grads = {name: x for name, x in zip(live, found) if x is not None}
        for name in [name for name in grads if name in tensors and "attn/" in name]:
            heads = tensors[name].shape[1] if tensors[name].ndim == 4 else 0
            if heads and heads != grads[name].shape[1]:  # each copy of a head has a part of it
                wide = self.torch.promote_types(grads[name].dtype, self.torch.float32)
                grads[name] = grads[name].to(wide).unflatten(1, (heads, -1)).sum(2)
        return {"grad/" + name: x for name, x in grads.items()}
