"""The C interface (cuda_impl/engine/interface/c_api.h) for Python, over the shared library
assay_c_shared."""
import ctypes
import json

import torch

READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p,
                        ctypes.POINTER(ctypes.c_double), ctypes.c_int64)
RECEIVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_double),
                           ctypes.c_int64)


class Batch(ctypes.Structure):
    _fields_ = [("batch", ctypes.c_int64), ("positions", ctypes.c_int64),
                ("tokens", ctypes.POINTER(ctypes.c_int32)),
                ("attention_mask", ctypes.POINTER(ctypes.c_uint8)),
                ("labels", ctypes.POINTER(ctypes.c_int32))]


class TrainingOptions(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double)
                for name in ("beta1", "beta2", "eps", "weight_decay", "max_norm", "loss_scale")]


class StepReport(ctypes.Structure):
    _fields_ = [("loss", ctypes.c_double), ("gradient_norm", ctypes.c_double),
                ("skipped", ctypes.c_int32)]


class AssayError(RuntimeError):
    pass


class Library:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.assay_last_error.restype = ctypes.c_char_p
        self.library.assay_training_defaults.restype = TrainingOptions

    def check(self, status):
        if status != 0:
            raise AssayError(self.library.assay_last_error().decode())

    def batch(self, tokens):
        """The struct, and the memory that it points to."""
        kept = tokens.to("cpu", torch.int32).contiguous()
        pointer = ctypes.cast(kept.data_ptr(), ctypes.POINTER(ctypes.c_int32))
        return Batch(tokens.shape[0], tokens.shape[1], pointer, None, None), kept


def reader(weights):
    """Hands weights, torch tensors by their checkpoints' names, to the library."""
    def read(_, name, values, count):
        weight = weights.get(name.decode())
        if weight is None or weight.numel() != count:
            return 1
        wide = weight.detach().reshape(-1).double().cpu().contiguous()
        ctypes.memmove(values, wide.data_ptr(), 8 * count)
        return 0

    return READ(read)


class Trainer(Library):
    def __init__(self, library, config, backend, precision, weights, **options):
        """options: those of TrainingOptions that are not the defaults."""
        super().__init__(library)
        self.trainer = ctypes.c_void_p()
        given = self.library.assay_training_defaults()
        for name, value in options.items():
            setattr(given, name, value)
        self.check(self.library.assay_trainer_create(json.dumps(config).encode(), backend.encode(),
                                                     precision.encode(),
                                                     ctypes.byref(given), reader(weights), None,
                                                     ctypes.byref(self.trainer)))

    def close(self):
        self.library.assay_trainer_free(self.trainer)
        self.trainer = ctypes.c_void_p()

    def step(self, tokens, learning_rate):
        """Forward, backward and an update of every weight. Returns loss, gradient_norm and
        skipped."""
        batch, _kept = self.batch(tokens)
        report = StepReport()
        self.check(self.library.assay_trainer_accumulate(self.trainer, ctypes.byref(batch)))
        self.check(self.library.assay_trainer_step(self.trainer, ctypes.c_double(learning_rate),
                                                   ctypes.byref(report)))
        return report


class Model(Library):
    def __init__(self, library, config, backend, precision, weights):
        """weights: torch tensors by their checkpoints' names."""
        super().__init__(library)
        self.model = ctypes.c_void_p()
        self.check(self.library.assay_model_create(json.dumps(config).encode(), backend.encode(),
                                                   precision.encode(),
                                                   reader(weights), None, ctypes.byref(self.model)))

    def close(self):
        self.library.assay_model_free(self.model)
        self.model = ctypes.c_void_p()

    def run(self, tokens):
        """A forward pass; nothing is read back. Returns when it has ended."""
        batch, _kept = self.batch(tokens)
        self.check(self.library.assay_model_forward(self.model, ctypes.byref(batch), None, None))

    def loss(self, tokens):
        batch, _kept = self.batch(tokens)
        loss = ctypes.c_double()
        self.check(self.library.assay_model_forward(self.model, ctypes.byref(batch), None,
                                                    ctypes.byref(loss)))
        return loss.value

    def logits(self, tokens, vocab):
        """[B,T,V] in float64 on the CPU."""
        batch, _kept = self.batch(tokens)
        logits = torch.empty(*tokens.shape, vocab, dtype=torch.float64)
        pointer = ctypes.cast(logits.data_ptr(), ctypes.POINTER(ctypes.c_double))
        self.check(self.library.assay_model_forward(self.model, ctypes.byref(batch), pointer, None))
        return logits

    def train(self, tokens):
        """Forward and backward; the gradients stay where they are formed. Returns the loss."""
        batch, _kept = self.batch(tokens)
        loss = ctypes.c_double()
        self.check(self.library.assay_model_gradients(self.model, ctypes.byref(batch), None, None,
                                                      ctypes.byref(loss)))
        return loss.value

    def gradients(self, tokens):
        """Of every weight, float64 on the CPU, by name."""
        batch, _kept = self.batch(tokens)
        received = {}

        def receive(_, name, values, count):
            kept = torch.empty(count, dtype=torch.float64)
            ctypes.memmove(kept.data_ptr(), values, 8 * count)
            received[name.decode()] = kept

        self.check(self.library.assay_model_gradients(self.model, ctypes.byref(batch),
                                                      RECEIVE(receive), None, None))
        return received
