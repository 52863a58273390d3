"""Small masked families for tests, and their likelihoods by brute force over all orders."""

import itertools
import math

import torch
from torch import nn

from likewise.core.condition import Labels, Tokens
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.families.masked import Config, Masked

END, PAD = 3, 4
SMALL = Sequence(length=3, tokens=5, end=END, pad=PAD)
WORDS = Sequence(length=8, tokens=5, end=END, pad=PAD)
PACKED = Sequence(length=8, tokens=5, end=END, pad=PAD, packed=True)
PROMPT = Tokens(name="prompt", length=8, tokens=5, pad=PAD)
LABEL = Labels(names=("a", "b"))


def lively(space, conditions=(), seed=0, std=0.4):
    """An untrained family whose zeroed layers are at random too."""
    torch.manual_seed(seed)
    config = Config(width=16, depth=2, heads=2, hidden=32)
    family = Masked(config, space, conditions).eval()
    for name, parameter in family.named_parameters():
        if "gain" not in name:
            nn.init.normal_(parameter, std=std)
    return family


def independent(space, conditions=()):
    """A family whose blocks are silent: each token is drawn by itself, in any order."""
    torch.manual_seed(0)
    family = Masked(Config(width=16, depth=1, heads=2, hidden=32), space, conditions).eval()
    nn.init.normal_(family.head.weight)
    nn.init.normal_(family.sizes.weight)
    return family


def row(text, space=WORDS):
    """ "01E" as tokens, filled up; E is the end, P the padding."""
    tokens = ["012EP".index(letter) for letter in text]
    return torch.tensor(tokens + [PAD] * (space.length - len(tokens)))


def rows(*texts, space=WORDS):
    return torch.stack([row(text, space) for text in texts])


def prompt(*texts):
    size = max(1, max(map(len, texts)))
    values = torch.stack([row(text)[:size] for text in texts])
    return {"prompt": (values, torch.tensor([bool(text) for text in texts]))}


def every(cut, length=3):
    """All texts that end before the cut, and all that are cut there."""
    closed = ["".join(t) + "E" for k in range(cut) for t in itertools.product("012", repeat=k)]
    return [*closed, *("".join(t) for t in itertools.product("012", repeat=cut))]


def parts(text):
    """The letters of a text, and whether it is closed."""
    return text.rstrip("E"), text.endswith("E")


def log_length(family, text, c=None):
    """log p of how long a text is, by p(k) alone."""
    letters, closed = parts(text)
    masses = family.lengths(1, c)[0].double().softmax(dim=0)
    mass = masses[len(letters)] if closed else masses[len(letters) :].sum()
    return float(mass.log())


def orders(family, text, c=None):
    """log p(tokens | how many there are) in each order of appearing."""
    letters, _ = parts(text)
    found = []
    for order in itertools.permutations(range(len(letters))):
        x, total = row(text, family.space)[None].clone(), 0.0
        x[0, : len(letters)] = family.hidden
        for place in order:
            log_probs = family.logits(x, c)[0, place].double().log_softmax(dim=0)
            x[0, place] = int(letters[place])
            total += float(log_probs[x[0, place]])
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


@torch.no_grad()
def bound(family, text, c=None):
    return float(orders(family, text, c).mean()) + log_length(family, text, c)


@torch.no_grad()
def exact(family, text, c=None):
    found = orders(family, text, c)
    return float(found.logsumexp(dim=0)) - math.log(len(found)) + log_length(family, text, c)


def estimate(family, text, c=None, n=1500):
    """The mean of log_prob over n samples, and the error of that (rows are even: it is less)."""
    told = {k: (v.expand(n, *v.shape[1:]), p.expand(n)) for k, (v, p) in (c or {}).items()}
    values = family.log_prob(row(text, family.space).expand(n, -1), told, rng=Draws(11))
    return float(values.mean()), 4 * float(values.std()) / math.sqrt(n) + 1e-4
