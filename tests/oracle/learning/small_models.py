"""Causal Transformers of a few thousand weights, right or with one way to see the answer."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Heads whose mask may be lost: in all, in the first, or at random queries."""

    def __init__(self, width, heads, lost, rate):
        super().__init__()
        self.heads, self.lost, self.rate = heads, lost, rate
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [B,H,T,Dh]
        seen = torch.ones(1, 1, T, T, dtype=torch.bool).tril()
        if self.lost == "all":
            seen = torch.ones_like(seen)
        elif self.lost == "head":
            seen = seen.repeat(1, self.heads, 1, 1)
            seen[:, 0] = True
        elif self.lost == "next":  # the mask is off by one
            seen = torch.ones_like(seen).tril(1)
        elif self.lost == "random":
            seen = seen | (torch.rand(B, 1, T, 1) < self.rate)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(context.transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    def __init__(self, width, heads, lost="", rate=0.0, mixes=""):
        super().__init__()
        self.attn_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, lost, rate)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Linear(4 * width, width))
        self.mixes = mixes
        self.mix = nn.Linear(width, width) if mixes else None

    def forward(self, x):
        x = x + self.attn(self.attn_norm(x))
        h = self.mlp_norm(x)
        if self.mixes == "norm over time":
            h = (h - h.mean(1, keepdim=True)) / (h.std(1, keepdim=True) + 1e-3)
        x = x + self.mlp(h)
        if self.mixes == "pooling":  # of all positions, later ones too
            x = x + self.mix(x.mean(1, keepdim=True))
        return x


class SmallModel(nn.Module):
    """`leak` says how it sees the answer: see recipes.py."""

    def __init__(self, vocab, positions, width=32, layers=1, heads=2, leak="", rate=0.0, period=0,
                 phase=0):
        super().__init__()
        self.leak, self.rate, self.period, self.phase = leak, rate, period, phase
        self.embed = nn.Embedding(vocab, width)
        self.position = nn.Embedding(positions, width)
        self.ahead = nn.Embedding(vocab + 1, width)  # the token that nobody may see; vocab: none
        lost = {"mask": "all", "mask in one layer": "all", "mask of one head": "head",
                "mask at random": "random", "mask off by one": "next"}.get(leak, "")
        mixes = leak if leak in ("pooling", "norm over time") else ""
        one = leak in ("mask in one layer", "pooling", "norm over time")
        self.blocks = nn.ModuleList(
            Block(width, heads, lost if not one or i == 0 else "", rate,
                  mixes if not one or i == 0 else "") for i in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.08)

    def seen_ahead(self, tokens):
        """[B,T]: the next token where it shows, else V."""
        B, T = tokens.shape
        none = torch.full_like(tokens, self.ahead.num_embeddings - 1)
        after = torch.cat([tokens[:, 1:], none[:, :1]], 1)
        if self.leak in ("future token", "label path"):
            shows = torch.rand(B, T) < self.rate
        else:  # one position in `period`
            shows = (torch.arange(T) % self.period == self.phase).expand(B, T)
        return torch.where(shows, after, none)

    def forward(self, tokens):
        x = self.embed(tokens) + self.position.weight[:tokens.shape[1]]
        if self.leak in ("future token", "one position"):
            x = x + self.ahead(self.seen_ahead(tokens))
        if self.leak == "other rows":  # a batch norm of what comes next
            after = torch.cat([tokens[:, 1:], tokens[:, :1]], 1)
            x = x + self.ahead(after).mean(0, keepdim=True)
        for block in self.blocks:
            x = block(x)
        if self.leak == "label path":
            x = x + self.ahead(self.seen_ahead(tokens))
        return self.head(self.norm(x))


def losses_of(logits, tokens, shift=1):
    """[B,T-1] of each next token; shift 0: the targets were not shifted, [B,T-1] of tokens 1 .."""
    V = logits.shape[-1]
    if shift == 0:
        logits, targets = logits[:, 1:], tokens[:, 1:]
    else:
        logits, targets = logits[:, :-1], tokens[:, 1:]
    return F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1),
                           reduction="none").view(targets.shape)


@torch.no_grad()
def evaluate(model, tokens, shift=1, rows=64):
    model.eval()
    parts = [losses_of(model(tokens[i:i + rows]).double(), tokens[i:i + rows], shift)
             for i in range(0, len(tokens), rows)]
    model.train()
    return torch.cat(parts)


@torch.no_grad()
def sees_the_future(model, tokens):
    """Whether a change of tokens from t on moves a logit before t, for any t."""
    vocab, state = model.embed.num_embeddings, torch.get_rng_state()
    sees = False
    for t in range(1, tokens.shape[1]):
        other = tokens.clone()
        other[:, t:] = (other[:, t:] + 1) % vocab
        torch.manual_seed(t)
        before = model(tokens)[:, :t]
        torch.manual_seed(t)
        if not torch.equal(before, model(other)[:, :t]):
            sees = True
            break
    torch.set_rng_state(state)
    return sees
