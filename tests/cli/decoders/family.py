"""Small decoders in numpy, each a program: python3 family.py NAME. None is a Llama, none has a
config. LEAKS see what they must not: the check that finds it, and the first tensor that shows it.
CLEAN ones do not; UNCERTAIN ones nobody can be sure of, and nobody may accuse."""

import json
import os
import sys

import numpy as np

VOCAB, WIDTH, HEADS, LAYERS, MOST = 29, 16, 2, 2, 256

# name: (check that fails, first tensor)
LEAKS = {
    "bidirectional": ("prefix", "b0.probs"),
    "head_without_mask": ("prefix", "b1.scores"),
    "backend_without_mask": ("prefix", "b0.context"),
    "mask_one_late": ("prefix", "b0.scores"),
    "additive_mask_too_small": ("prefix", "b0.probs"),
    "top_tokens": ("prefix", "b0.chosen"),
    "norm_over_time": ("prefix", "b0.normed"),
    "pooled": ("prefix", "b0.pooled"),
    "labels_fed": ("labels", "b1.fed"),
    "norm_over_rows": ("batch", "b0.normed"),
    "row_before": ("batch", "b0.normed"),
    "decode_position": ("decode", "logits"),
    "decode_stale": ("decode", "logits"),
    "decode_not_reset": ("decode", "logits"),
    "length_constant": ("length", "b0.context"),
    "positions_from_the_end": ("length", "x"),
    "state_of_the_call_before": ("repeat", "x"),
    "state_of_the_first_call": ("state", "x"),
    "running_mean": ("repeat", "b0.normed"),
    "convolution": ("prefix", "b0.mixed"),
    "fourier": ("prefix", "b0.mixed"),
    "ranks": ("prefix", "b0.ranks"),
    "scale_of_the_whole": ("prefix", "b0.quantised"),
    "shifted_tokens": ("prefix", "b0.mixed"),
    "sum_from_behind": ("prefix", "b0.mixed"),
    "two_way_rnn": ("prefix", "b0.mixed"),
    "flat_with_neighbours": ("prefix", "b0.mixed"),
    "time_first_bidirectional": ("prefix", "b0.context"),
    "padding_seen": ("padding", "b0.scores"),
    "tiny_in_doubles": ("prefix", "logits"),
    "noise_and_pooled": ("prefix", "b0.pooled"),
    "dead_tokens": ("influence", "logits"),
}
CLEAN = ["transformer", "grouped_heads", "window", "alibi", "rnn", "causal_convolution",
         "linear_attention", "scan", "prefix_mean", "scale_per_token", "bf16", "flat_products",
         "experts", "time_first", "flat", "shifted_logits", "decode", "padding", "doubles",
         "raw_scores", "keys_first", "integers", "probs_only_lower", "shape_of_the_tokens",
         "loss_of_each", "fixed_length", "one_row", "hidden_bf16"]
UNCERTAIN = ["noise", "noise_from_a_seed", "last_alone", "nothing_with_positions"]


def drawn(*shape, seed=0):
    return np.random.default_rng(hash_of(shape) + seed).standard_normal(shape).astype(np.float32)


def hash_of(shape):
    return sum((i + 1) * 7919 * n for i, n in enumerate(shape))


def bf16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return (bits & 0xFFFF0000).view(np.float32)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


class Decoder:
    def __init__(self, name):
        self.name = name
        self.type = np.float64 if name in ("doubles", "tiny_in_doubles") else np.float32
        self.round = bf16 if name in ("bf16", "hidden_bf16") else lambda x: x
        self.embedding = self.weight(VOCAB, WIDTH, seed=1)
        self.places = self.weight(MOST, WIDTH, seed=2)
        self.head = self.weight(WIDTH, VOCAB, seed=3)
        self.before, self.first_call, self.mean = None, None, np.zeros(WIDTH, np.float32)
        self.noise = np.random.default_rng(0 if name == "noise_from_a_seed" else None)
        self.cache = None

    def weight(self, *shape, seed=0):
        return self.round((drawn(*shape, seed=seed) / np.sqrt(shape[0] if seed > 3 else 1))
                          .astype(self.type)) * (0.3 if seed in (1, 2) else 1)

    def linear(self, x, seed, width=WIDTH):
        weight = self.weight(x.shape[-1], width, seed=10 + seed)
        if self.name == "flat_products":
            return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], width)
        if self.name in ("bf16", "hidden_bf16"):
            return bf16(x @ weight)
        # One row at a time: a row's bits are its own, whatever the shape is.
        return np.einsum("...i,ij->...j", x, weight)

    def norm(self, x, out, layer):
        mean = x.mean(-1, keepdims=True)
        if self.name == "norm_over_time" and layer == 0:
            mean = x.mean(1, keepdims=True)
        if self.name == "norm_over_rows" and layer == 0:
            mean = x.mean(0, keepdims=True)
        if self.name == "row_before" and layer == 0:
            mean = np.roll(x, 1, axis=0)
        if self.name == "running_mean" and layer == 0:
            mean = self.mean
            self.mean = 0.9 * self.mean + 0.1 * x.mean((0, 1))
        y = x - mean
        y = self.round(y / np.sqrt((y * y).mean(-1, keepdims=True) + self.type(1e-5)))
        return out(f"b{layer}.normed", y)

    def bias(self, t, s, layer):
        """What is added to scores [H,T,S] of positions t and s."""
        late = s[None, :] - t[:, None]
        allowed = np.broadcast_to(late <= (1 if self.name == "mask_one_late" else 0),
                                  (HEADS, len(t), len(s))).copy()
        if self.name == "window":
            allowed &= late > -5
        if self.name == "head_without_mask" and layer == 1:
            allowed[1] = True
        if self.name == "bidirectional":
            allowed[:] = True
        if self.name == "time_first_bidirectional":
            allowed[:] = True
        bias = np.zeros(allowed.shape, self.type)
        if self.name == "alibi":
            bias += np.array([0.5, 0.25], self.type)[:, None, None] * late
        return bias, allowed

    def attention(self, x, out, layer, t=None, cache=None):
        rows, n, _ = x.shape
        groups = 1 if self.name == "grouped_heads" else HEADS
        size = WIDTH // HEADS
        q = self.linear(x, 20 + layer).reshape(rows, n, HEADS, size).transpose(0, 2, 1, 3)
        k, v = (self.linear(x, seed + layer, groups * size).reshape(rows, n, groups, size)
                .transpose(0, 2, 1, 3) for seed in (30, 40))
        if cache is not None:
            k, v = (np.concatenate([old, new], 2) for old, new in zip(cache[layer], (k, v)))
            cache[layer] = (k, v)
        out(f"b{layer}.q", q)
        out(f"b{layer}.k", k) if cache is None else None
        k, v = (np.repeat(z, HEADS // groups, axis=1) for z in (k, v))
        t = np.arange(n) if t is None else t
        s = np.arange(k.shape[2])
        bias, allowed = self.bias(t, s, layer)
        scores = np.einsum("bhtd,bhsd->bhts", q, k) / self.type(np.sqrt(size)) + bias
        if self.name in ("raw_scores", "linear_attention"):
            out(f"b{layer}.scores", scores)
        if self.name == "keys_first":
            out(f"b{layer}.scores_from_keys", scores.transpose(0, 1, 3, 2))
        if self.mask is not None and self.name != "padding_seen":
            allowed = allowed[None] & (self.mask[:, None, None, :k.shape[2]] != 0)
        if self.name == "linear_attention":
            context = np.einsum("bhts,bhsd->bhtd", np.where(allowed, scores, 0), v)
        else:
            hidden = self.type(-3) if self.name == "additive_mask_too_small" else -np.inf
            scores = np.where(allowed, scores, scores + hidden if hidden > -9 else hidden)
            if self.name not in ("raw_scores", "keys_first", "probs_only_lower", "bidirectional"):
                out(f"b{layer}.scores", scores.astype(self.type))
            if self.mask is not None:
                scores = np.where(allowed.any(-1, keepdims=True), scores, 0)
            probs = self.round(softmax(scores).astype(self.type))
            if self.name == "backend_without_mask" and n > 8:
                probs = np.ones_like(probs) / n
            else:
                out(f"b{layer}.probs", probs)
            context = np.einsum("bhts,bhsd->bhtd", probs, v)
        if self.name == "length_constant":
            context = context * self.type(1 + 1 / n)
        context = self.round(context.transpose(0, 2, 1, 3).reshape(rows, n, WIDTH))
        return out(f"b{layer}.context", context)

    def mixed(self, x):
        """Other ways to hear of other positions; None: attention."""
        name, n = self.name, x.shape[1]
        zero = np.zeros_like(x[:, :1])
        before, after = (np.concatenate(z, 1) for z in ((zero, x[:, :-1]), (x[:, 1:], zero)))
        if name == "convolution":
            return before + x + after
        if name == "causal_convolution":
            return x + before * 0.5
        if name == "shifted_tokens":
            return 0.5 * x + 0.5 * after
        if name == "fourier":
            return np.fft.fft(x, axis=1).real.astype(x.dtype)
        if name == "sum_from_behind":
            return np.cumsum(x[:, ::-1], 1)[:, ::-1] / n
        if name == "prefix_mean":
            return np.cumsum(x, 1) / np.arange(1, n + 1, dtype=x.dtype)[None, :, None]
        if name in ("rnn", "two_way_rnn", "scan"):
            def run(z):
                state, states = np.zeros_like(z[:, 0]), []
                for i in range(n):
                    gate = 1 / (1 + np.exp(-z[:, i]))
                    state = gate * state + (1 - gate) * z[:, i] if name == "scan" else np.tanh(
                        self.linear(state, 50) + z[:, i])
                    states.append(state)
                return np.stack(states, 1)
            return run(x) + run(x[:, ::-1])[:, ::-1] if name == "two_way_rnn" else run(x)
        if name == "flat_with_neighbours":
            flat = x.reshape(-1, WIDTH)
            return (flat + np.roll(flat, -1, axis=0)).reshape(x.shape)
        return None

    def experts(self, x):
        """Each token by its own expert, an expert at a time: products of as many rows as choose
        it."""
        flat = x.reshape(-1, WIDTH)
        score = self.linear(flat, 60, 4)
        y = np.zeros_like(flat)
        for e in range(4):
            rows = np.flatnonzero(score.argmax(-1) == e)
            y[rows] = flat[rows] @ self.weight(WIDTH, WIDTH, seed=70 + e)
        return y.reshape(x.shape)

    def quantised(self, x, axis):
        scale = np.abs(x).max(axis, keepdims=True) / 7
        return np.round(x / scale) * scale

    def layer(self, x, out, layer):
        name = self.name
        y = self.norm(x, out, layer)
        mixed = self.mixed(y)
        mixed = self.attention(y, out, layer) if mixed is None else out(f"b{layer}.mixed", mixed)
        x = x + self.round(self.linear(mixed, 80 + layer))
        if name in ("pooled", "noise_and_pooled") and layer == 0:
            x = out("b0.pooled", x + x.mean(1, keepdims=True))
        if name == "top_tokens":
            score = self.linear(x, 60, 1)[..., 0]
            kept = score >= np.sort(score, 1)[:, -x.shape[1] // 2][:, None]
            x = out(f"b{layer}.chosen", x * (1 + kept[..., None]).astype(x.dtype))
        if name == "experts":
            x = out(f"b{layer}.experts", x + self.experts(x))
        if name == "ranks":
            rank = np.argsort(np.argsort(x[..., 0], 1), 1)
            out(f"b{layer}.ranks", rank)
            x = x * (1 + rank[..., None] / 100).astype(x.dtype)
        if name in ("scale_of_the_whole", "scale_per_token"):
            axis = (1, 2) if name == "scale_of_the_whole" else -1
            x = out(f"b{layer}.quantised", self.quantised(x, axis))
        if name == "labels_fed" and layer == 1:
            x = out("b1.fed", x + 0.01 * self.embedding[np.maximum(self.labels, 0)])
        hidden = self.round(np.maximum(self.linear(x, 90 + layer, 2 * WIDTH), 0))
        return out(f"b{layer}.out", self.round(x + self.linear(hidden, 95 + layer)))

    def embedded(self, tokens, t):
        if self.name == "positions_from_the_end":
            t = t[::-1]
        return self.round(self.embedding[tokens] + self.places[t])

    def __call__(self, tokens, mask, labels):
        name, (rows, n) = self.name, tokens.shape
        self.mask, self.labels = (mask if name in ("padding", "padding_seen") else None), labels
        if name == "fixed_length" and n != 13 or name == "one_row" and rows != 1:
            raise ValueError("another shape")
        tensors = {}

        def out(key, x):
            if name.startswith("noise"):
                x = x + (1e-7 * self.noise.standard_normal(x.shape)).astype(x.dtype)
            tensors[key] = x
            return x

        x = self.embedded(tokens, np.arange(n))
        if name == "state_of_the_call_before":
            x, self.before = x + (0 if self.before is None else self.before), 0.1 * x.mean()
        if name == "state_of_the_first_call":
            self.first_call = x.mean() if self.first_call is None else self.first_call
            x = x + self.first_call
        x = out("x", x)
        for number in range(LAYERS):
            x = self.layer(x, out, number)
        logits = np.einsum("...i,ij->...j", x, self.head)
        if name == "tiny_in_doubles":
            logits = logits + 1e-9 * x.mean(1, keepdims=True).sum(-1, keepdims=True)
        if name == "dead_tokens":
            logits = logits * 0 + np.arange(n)[None, :, None]
        out("logits", logits)
        tensors["loss"] = np.float32(logits.mean())
        if name == "loss_of_each":
            tensors["nll"] = -np.take_along_axis(logits, np.roll(tokens, -1, 1)[..., None], -1)
        return self.shaped(tensors, tokens)

    def shaped(self, tensors, tokens):
        """What is handed over, in the form of the program."""
        name, logits = self.name, tensors["logits"]
        if name.startswith("time_first"):
            return {k: x.swapaxes(0, 1) if x.ndim == 3 else x for k, x in tensors.items()
                    if "scores" not in k and "probs" not in k}
        if name.startswith("flat"):
            return {k: x.reshape(-1, x.shape[-1]) for k, x in tensors.items() if x.ndim == 3}
        if name == "shifted_logits":
            return {"x": tensors["x"], "logits": logits[:, :-1], "loss": tensors["loss"]}
        if name == "shifted_targets":  # index 0 is of position 1
            return {"x": tensors["x"], "logits": logits[:, 1:]}
        if name == "integers":
            return {"best": logits.argmax(-1), **tensors}
        if name == "probs_only_lower":
            return {k: x for k, x in tensors.items() if "q" not in k}
        if name == "shape_of_the_tokens":
            return {"even": logits[tokens % 2 == 0], **tensors}
        if name == "last_alone":
            return {"logits": logits[:, -1]}
        if name == "nothing_with_positions":
            return {"mean": logits.mean((0, 1))}
        if name == "hidden_bf16":
            return {"logits": logits}
        return tensors

    def reset(self):
        if self.name == "decode_not_reset" and self.cache is not None:
            return
        empty = np.zeros((0,), self.type)
        self.cache, self.done = [(empty, empty) for _ in range(LAYERS)], 0

    def decode(self, tokens):
        """The logits of tokens behind those that the cache has."""
        rows, n = tokens.shape
        size = WIDTH // HEADS
        if self.cache[0][0].size == 0:
            self.cache = [(np.zeros((rows, HEADS, 0, size), self.type),) * 2
                          for _ in range(LAYERS)]
        t = np.arange(self.done, self.done + n)
        late = 1 if self.name == "decode_position" and self.done > 0 else 0
        x = self.embedded(tokens, t + late)
        kept, self.mask = {}, None

        def out(key, value):
            kept[key] = value
            return value

        for number in range(LAYERS):
            old = list(self.cache)
            y = self.norm(x, out, number)
            y = self.attention(y, out, number, np.arange(self.cache[number][0].shape[2],
                                                         self.cache[number][0].shape[2] + n),
                               self.cache)
            if self.name == "decode_stale" and self.done == 3:
                self.cache = old
            x = x + self.linear(y, 80 + number)
            hidden = np.maximum(self.linear(x, 90 + number, 2 * WIDTH), 0)
            x = x + self.linear(hidden, 95 + number)
        self.done += n
        return {"logits": np.einsum("...i,ij->...j", x, self.head)}


def main():
    name, folder = sys.argv[1], None
    decoder = Decoder(name)
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "bye":
            break
        if message["type"] == "hello":
            folder = message["folder"]
            assert message["vocab"] == VOCAB and "model" not in message
            can = (["decode"] if name.startswith("decode") else
                   ["mask"] if name.startswith("padding") else [])
            answer = {"name": name, "can": can}
            answer.update({"positions": 13} if name == "fixed_length" else {})
            print(json.dumps(answer), flush=True)
            continue
        try:
            answer = {"id": message["id"]}
            if message["type"] == "reset":
                decoder.reset()
            else:
                with np.load(os.path.join(folder, message["inputs"])) as inputs:
                    given = [inputs[key] for key in ("tokens", "attention_mask", "labels")]
                tensors = (decoder.decode(given[0]) if message["type"] == "decode"
                           else decoder(*given))
                answer["file"] = f"answer-{message['id']}.npz"
                np.savez(os.path.join(folder, answer["file"]), **tensors)
        except Exception as error:
            answer = {"id": message["id"], "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
