"""Every family over sequences: the unknown is never written, and a row is judged by itself."""

import pytest
import torch
from torch import nn

from likewise.core import registry
from likewise.core.condition import Tokens
from likewise.core.contract import Controls
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.workbench.fitting import build, steered

LENGTH, TOKENS, END, PAD = 12, 9, 7, 8
PROMPT = Tokens(name="prompt", length=24, tokens=TOKENS, pad=PAD)
SOURCE = Tokens(name="source", length=5, tokens=TOKENS, pad=PAD)
CONTROLS = {
    "temperature": Controls(temperature=0.0),
    "top_k": Controls(top_k=2),
    "top_p": Controls(top_p=0.5),
    "min_p": Controls(min_p=0.3),
    "repetition": Controls(repetition=3.0),
    "steps": Controls(steps=2),
}


def space(packed=False, unknown=None):
    return Sequence(length=LENGTH, tokens=TOKENS, end=END, pad=PAD, packed=packed, unknown=unknown)


NAMES = [
    name
    for name in registry.names("families")
    if registry.get("families", name).refuses(space()) is None
]
FILLING = [name for name in NAMES if registry.get("families", name).claims.completion]


def texts(n, longest, seed, least=0, end=True):
    """(n, longest) rows of unequal length, most of them closed by an end."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randint(0, END, (n, longest), generator=draw)
    size = torch.randint(least, longest + 1, (n, 1), generator=draw)
    place = torch.arange(longest)
    x = torch.where(place < size, x, PAD)
    return torch.where(place == size, END, x) if end else x


def lively(name, over, conditions=()):
    """A family whose next tokens are far from even, though it has learned little."""
    kind = registry.get("families", name)
    known = steered(kind, conditions)
    family = build(kind, kind.preset("xs", over, known), over, known, seed=0, name=name).eval()
    if kind.claims.learning == "counting":
        list(family.learn([(texts(60, LENGTH, 1), {})], rng=Draws(0)))
        return family
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(5)
        for parameter in family.parameters():
            nn.init.normal_(parameter, std=0.3)
    return family


def before(n, seed, conditions):
    """Prompts and sources of unequal length, up to twice as long as the context."""
    prompt, source = texts(n, 24, seed, end=False), texts(n, 5, seed + 1, least=1, end=False)
    known = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.8
    c = {"prompt": (prompt, known), "source": (source, torch.ones_like(known))}
    return {one.name: c[one.name] for one in conditions}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packed", [False, True])
def test_the_unknown_is_never_written_whatever_shapes_the_draws(name, packed):
    plain = lively(name, space(packed)).sample(80, rng=Draws(0))
    for unknown in (0, 3, END - 1):
        assert (plain == unknown).any(), "without its mark the token is written"
        family = lively(name, space(packed, unknown))
        x = family.sample(80, rng=Draws(0))
        assert not (x == unknown).any()
        assert len(x.unique()) >= TOKENS - 2, "the others are"
        for control in sorted(family.claims.controls):
            x = family.sample(20, rng=Draws(0), controls=CONTROLS[control])
            assert not (x == unknown).any(), control


@pytest.mark.parametrize("name", NAMES)
def test_the_unknown_is_read_and_scored_as_any_other(name):
    plain, marked = (lively(name, space(unknown=token), (PROMPT,)) for token in (None, 3))
    x, c = texts(20, LENGTH, 2), before(20, 3, (PROMPT,))
    assert (x == 3).any()
    assert (c["prompt"][0] == 3).any()
    value = marked.log_prob(x, c, rng=Draws(0))
    assert torch.isfinite(value).all()
    assert torch.equal(value, plain.log_prob(x, c, rng=Draws(0)))


@pytest.mark.parametrize("name", FILLING)
def test_gaps_are_filled_without_the_unknown_and_what_is_known_of_it_stays(name):
    family = lively(name, space(unknown=3))
    x = texts(60, LENGTH, 4)
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    whole = family.complete(x, known, rng=Draws(0))
    assert torch.equal(whole[known], x[known])
    assert not (whole[~known] == 3).any()


@pytest.mark.parametrize("conditions", [(PROMPT,), (PROMPT, SOURCE)], ids=["prompt", "source"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_row_is_as_likely_alone_as_among_others(name, packed, conditions):
    family = lively(name, space(packed), conditions)
    for seed in range(0, 30, 3):
        x, c = texts(5, LENGTH, seed), before(5, seed + 1, family.conditions)
        together = family.log_prob(x, c, rng=Draws(1))
        for row in range(5):
            own = {key: (v[row : row + 1], known[row : row + 1]) for key, (v, known) in c.items()}
            for key, (values, known) in own.items():  # no wider than it is
                own[key] = values[:, : max(1, int((values != PAD).sum()))], known
            alone = family.log_prob(x[row : row + 1], own, rng=Draws(1, row))
            torch.testing.assert_close(alone[0], together[row], atol=2e-5, rtol=1e-5)
