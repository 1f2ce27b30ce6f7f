"""What a run is made to be, before it is run. A recipe is drawn from its own number and a seed: the
kind of defect, the source, sizes of model and data, the optimiser. No two are alike.

KINDS: name -> (class, runs, draw). A draw may set any field of a recipe.
"""

import dataclasses

import numpy as np

CLASSES = ("healthy", "underfit", "overfit", "leak", "contamination", "diverging", "degenerate")


@dataclasses.dataclass
class Recipe:
    number: int = 0
    kind: str = ""
    meant: str = ""
    source: str = ""
    vocab: int = 16
    positions: int = 32
    train_rows: int = 3072
    eval_rows: int = 0       # of val and of fresh; 0: of 12,288 tokens
    width: int = 32
    layers: int = 1
    heads: int = 2
    steps: int = 400
    batch: int = 32
    rate: float = 3e-3       # of learning
    optimiser: str = "adam"
    decay: float = 0.0
    clip: float = 1.0
    leak: str = ""
    leak_rate: float = 0.0
    period: int = 0
    phase: int = 0
    shift: int = 1           # 0: targets that were not shifted
    with_logits: bool = False
    contaminated: float = 0.0  # share of val rows that stand in train
    checkpoints: int = 0     # val chooses among so many
    fault: str = ""          # of a diverging or degenerate run
    data_seed: int = 0
    torch_seed: int = 0


def source(rng, recipe, learnable=True):
    """A law that such a model learns in a few hundred steps, or any."""
    kinds = ["uniform", "markov", "markov", "hmm", "mixture"] + ([] if learnable else ["copy"])
    kind = kinds[rng.integers(len(kinds))]
    law_seed = int(rng.integers(1, 1000))
    V = int(rng.choice([8, 12, 16, 24]))
    recipe.vocab = V
    if kind == "uniform":
        recipe.vocab = V = int(rng.choice([16, 32, 64]))
        recipe.source = f"uniform:vocab={V}"
    elif kind == "markov":
        recipe.source = f"markov:order=1,vocab={V},sharpness={rng.integers(1, 5)},seed={law_seed}"
    elif kind == "hmm":
        recipe.source = f"hmm:states={rng.integers(2, 5)},vocab={V},sharpness=3,seed={law_seed}"
    elif kind == "mixture":
        recipe.source = (f"mixture:0.5*uniform:vocab={V}"
                         f"+0.5*markov:order=1,vocab={V},sharpness=3,seed={law_seed}")
    else:
        recipe.source = f"copy:vocab={V},length={rng.integers(3, 7)},noise=0.05"


def healthy(rng, recipe):
    source(rng, recipe)
    recipe.steps = int(rng.integers(250, 450))


def selected(rng, recipe):
    """Val chooses the checkpoint, as everywhere: no contamination."""
    healthy(rng, recipe)
    recipe.checkpoints = int(rng.integers(5, 20))


def too_short(rng, recipe):
    source(rng, recipe, learnable=False)
    recipe.steps = int(rng.integers(5, 60))


def too_small(rng, recipe):
    recipe.vocab = int(rng.choice([16, 24]))
    recipe.source = (f"markov:order=2,vocab={recipe.vocab},sharpness=4,"
                     f"seed={rng.integers(1, 1000)}")
    recipe.width, recipe.heads = 4, 1
    recipe.steps = int(rng.integers(150, 400))


def too_slow(rng, recipe):
    source(rng, recipe, learnable=False)
    recipe.rate = float(10 ** rng.uniform(-5.5, -4.3))
    recipe.steps = int(rng.integers(100, 300))


def few_rows(rng, recipe):
    source(rng, recipe)
    recipe.train_rows = int(rng.choice([16, 32, 64, 128]))
    recipe.width = int(rng.choice([32, 48]))
    recipe.steps = int(rng.integers(200, 400))


def late(rng, recipe):
    """Copies that are known by heart before their rule is: val is not solved yet."""
    recipe.vocab = int(rng.choice([12, 16]))
    recipe.source = f"copy:vocab={recipe.vocab},length={rng.integers(8, 13)},noise=0"
    recipe.train_rows = int(rng.choice([48, 64, 96]))
    recipe.width, recipe.layers, recipe.positions = 48, 2, 32
    recipe.steps = int(rng.integers(200, 350))


def leaks(name, rate=0.0):
    def draw(rng, recipe):
        source(rng, recipe)
        recipe.leak, recipe.leak_rate = name, rate
        recipe.layers = int(rng.integers(1, 3))
        recipe.steps = int(rng.integers(150, 300))
        if rate and rate < 0.05:
            recipe.steps = 500
    return draw


def one_position(rng, recipe):
    source(rng, recipe)
    recipe.leak, recipe.positions = "one position", 64
    recipe.period = 64
    recipe.phase = int(rng.integers(0, 62))
    recipe.steps, recipe.batch = 300, 16


def unshifted(rng, recipe):
    source(rng, recipe)
    recipe.shift, recipe.with_logits = 0, bool(rng.integers(2))
    recipe.steps = int(rng.integers(150, 300))


def leak_and_overfit(rng, recipe):
    few_rows(rng, recipe)
    ways = [("mask", 0.0), ("future token", 0.3), ("mask of one head", 0.0),
            ("future token", 1.0), ("label path", 0.5)]
    recipe.leak, recipe.leak_rate = ways[rng.integers(len(ways))]


def val_in_train(rng, recipe):
    few_rows(rng, recipe)
    recipe.contaminated = float(rng.choice([0.25, 0.5, 1.0]))
    recipe.eval_rows = 96


def val_in_much(rng, recipe):
    """Val beside many other rows: seen seldom, so that little of it is known by heart."""
    source(rng, recipe)
    recipe.contaminated, recipe.eval_rows, recipe.train_rows = 1.0, 96, 256
    recipe.steps = int(rng.integers(300, 500))


def fault(name):
    def draw(rng, recipe):
        source(rng, recipe)
        if name in ("constant logits", "no output weights", "dead block"):
            recipe.source = (f"markov:order=1,vocab={recipe.vocab},sharpness=4,"
                             f"seed={rng.integers(1, 1000)}")
        recipe.fault = name
        recipe.steps = int(rng.integers(100, 250))
    return draw


KINDS = {
    "large data": ("healthy", 45, healthy),
    "checkpoint chosen by val": ("healthy", 15, selected),
    "too short": ("underfit", 15, too_short),
    "too small": ("underfit", 15, too_small),
    "learns too slowly": ("underfit", 15, too_slow),
    "few rows": ("overfit", 30, few_rows),
    "late generalisation": ("overfit", 15, late),
    "mask lost": ("leak", 8, leaks("mask")),
    "mask lost in one layer": ("leak", 8, leaks("mask in one layer")),
    "mask of one head lost": ("leak", 8, leaks("mask of one head")),
    "mask off by one": ("leak", 8, leaks("mask off by one")),
    "mask lost at 1 query in 5": ("leak", 6, leaks("mask at random", 0.2)),
    "future token, 10 %": ("leak", 8, leaks("future token", 0.1)),
    "future token, 1 %": ("leak", 8, leaks("future token", 0.01)),
    "1 position in 64": ("leak", 8, one_position),
    "labels reach the output": ("leak", 6, leaks("label path", 1.0)),
    "targets not shifted": ("leak", 8, unshifted),
    "pooling over time": ("leak", 8, leaks("pooling")),
    "norm over time": ("leak", 8, leaks("norm over time")),
    "other rows": ("leak", 6, leaks("other rows")),
    "leak and few rows": ("leak", 15, leak_and_overfit),
    "val in train, few rows": ("contamination", 20, val_in_train),
    "val in train, more rows": ("contamination", 15, val_in_much),
    "huge learning rate": ("diverging", 12, fault("huge rate")),
    "NaN": ("diverging", 10, fault("nan")),
    "rate that jumps": ("diverging", 10, fault("jump")),
    "loss scale collapses": ("diverging", 6, fault("loss scale")),
    "output always zero": ("degenerate", 8, fault("no output weights")),
    "no label counts": ("degenerate", 8, fault("mask of zeros")),
    "no gradient": ("degenerate", 8, fault("detached")),
    "a bias alone": ("degenerate", 8, fault("constant logits")),
}


def recipe_of(number, kind, seed):
    rng = np.random.default_rng([seed, number])
    meant, _, draw = KINDS[kind]
    recipe = Recipe(number=number, kind=kind, meant=meant, data_seed=int(rng.integers(1, 2 ** 31)),
                    torch_seed=int(rng.integers(1, 2 ** 31)))
    recipe.positions = int(rng.choice([16, 24, 32]))
    recipe.batch = int(rng.choice([12, 16, 24]))
    recipe.rate = float(10 ** rng.uniform(-2.3, -1.9))
    recipe.optimiser = str(rng.choice(["adam", "adamw"]))
    draw(rng, recipe)
    recipe.eval_rows = recipe.eval_rows or 12288 // recipe.positions
    return recipe


def all_recipes(seed, most=None):
    """Every kind in turn, so that the first few are of many kinds."""
    left = {kind: runs for kind, (_, runs, _) in KINDS.items()}
    order = []
    while any(left.values()):
        for kind in KINDS:
            if left[kind]:
                left[kind] -= 1
                order.append(kind)
    if most is not None:
        order = order[:most]
    return [recipe_of(number, kind, seed) for number, kind in enumerate(order)]
