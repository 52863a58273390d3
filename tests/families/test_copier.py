"""The Parzen window: it copies, its masses sum to one, on every Space."""

import itertools
import math

import pytest
import torch

from likewise.core.condition import Labels
from likewise.core.errors import DataError, UsageError
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Column, Continuous, Mixed, Sequence
from likewise.families.copier import Config, Copier

LEVELS = Continuous(shape=(1, 1, 2), low=-1.0, high=1.0, step=0.5)
CLASSES = Categorical(shape=(2,), categories=3)
WORDS = Sequence(length=3, tokens=4, end=2, pad=3)
WORDS_ENDING_IN_PAD = Sequence(length=3, tokens=3, end=2, pad=2)
TABLE = Mixed(
    columns=(
        Column(name="age", low=0.0, high=2.0, step=1.0, missing=True),
        Column(name="colour", kind="category", categories=2, missing=True),
    )
)
LABELS = (Labels(names=("a", "b", "c")),)
LOUD = {"noise": 0.4, "bandwidth": 3.0}


class Batches:
    """Rows, a few at a time."""

    def __init__(self, x, y=None):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __iter__(self):
        for i in range(0, len(self.x), 7):
            rows = slice(i, i + 7)
            yield self.x[rows], {} if self.y is None else labelled(self.y[rows])


def labelled(y):
    return {"label": (y, torch.ones(len(y), dtype=torch.bool))}


def learned(x, space, y=None, **settings):
    model = Copier(Config(**settings), space, LABELS if y is not None else ())
    return model, list(model.learn(Batches(x, y), rng=Draws(0)))


def every(space):
    """All states of a small Space."""
    if isinstance(space, Continuous):
        axis = torch.arange(-1, 1.1, 0.5)
        return torch.cartesian_prod(axis, axis).reshape(-1, 1, 1, 2)
    if isinstance(space, Mixed):
        ages, colours = [0.0, 1.0, 2.0, math.nan], [0.0, 1.0, math.nan]
        return torch.tensor(list(itertools.product(ages, colours)))
    if isinstance(space, Categorical):
        return torch.tensor(list(itertools.product(range(3), repeat=2)))
    x = torch.tensor(list(itertools.product(range(space.tokens), repeat=3)))
    x = x[((x == space.pad) | space.mask(x)).all(dim=1)]
    return x if space.pad == space.end else x[((x != space.pad) | ~space.mask(x)).all(dim=1)]


SMALL = [LEVELS, CLASSES, WORDS, WORDS_ENDING_IN_PAD, TABLE]


@pytest.mark.parametrize("space", SMALL, ids=lambda space: space.kind)
@pytest.mark.parametrize("settings", [{}, LOUD], ids=["quiet", "loud"])
def test_masses_sum_to_one_and_samples_have_them(space, settings):
    states = every(space)
    x = states[Draws(4).integers(len(states), 3)]
    model, _ = learned(x, space, **settings)
    mass = model.log_prob(states).double().exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-6)
    drawn = model.sample(6000, rng=Draws(9))
    space.check(drawn)
    flat, seen = states.flatten(1).nan_to_num(-9), drawn.flatten(1).nan_to_num(-9)
    share = (seen[:, None] == flat[None]).all(-1).double().mean(0)
    assert float(share.sum()) == pytest.approx(1)
    assert torch.allclose(share, mass, atol=0.025)


@pytest.mark.parametrize("bounded", [False, True])
def test_a_density_over_a_plane_integrates_to_one(bounded):
    ends = {"low": 0.0, "high": 1.0} if bounded else {}
    space = Continuous(shape=(2,), **ends)
    x = Draws(0).uniform(5, 2)
    x[0] = 0.0
    model, _ = learned(x, space, bandwidth=0.3)
    axis = (torch.arange(400) + 0.5) / 400 * (1 if bounded else 4) - (0 if bounded else 1.5)
    grid = torch.cartesian_prod(axis, axis)
    cell = float(axis[1] - axis[0]) ** 2
    assert float(model.log_prob(grid).double().exp().sum()) * cell == pytest.approx(1, abs=1e-3)
    space.check(model.sample(200, rng=Draws(1)))


def test_it_is_the_kernel_density_of_scipy():
    from scipy.stats import norm

    x = Draws(0).normal(6, 3) * torch.tensor([1.0, 5.0, 0.2])
    model, _ = learned(x, Continuous(shape=(3,)), bandwidth=0.5)
    scale = 0.5 * x.double().std(0, correction=0)
    query = Draws(1).normal(4, 3)
    each = norm.pdf(query[:, None].double(), x[None].double(), scale).prod(-1).mean(1)
    assert torch.allclose(model.log_prob(query).double().exp(), torch.tensor(each), rtol=1e-4)


def test_a_number_with_atoms_and_gaps_integrates_to_one():
    column = Column(name="pay", atoms=(0.0, 9.0), missing=True)
    space = Mixed(columns=(column,))
    x = torch.tensor([[0.0], [1.3], [2.0], [math.nan]])
    model, _ = learned(x, space, **LOUD)
    axis = torch.linspace(-60, 60, 100_000)[:, None]
    total = float(model.log_prob(axis).double().exp().sum()) * 120 / 99_999
    for point in (0.0, 9.0, math.nan):
        total += float(model.log_prob(torch.tensor([[point]])).exp())
    assert total == pytest.approx(1, abs=1e-3)
    space.check(model.sample(50, rng=Draws(0)))


def test_samples_are_copies():
    space = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125)
    x = space.quantise(Draws(0).normal(50, 1, 8, 8).clamp(-1, 1))
    model, (objective,) = learned(x, space)
    assert model.learned["records"].dtype == torch.uint8
    s = model.sample(300, rng=Draws(1))
    away = (s[:, None] - x[None]).abs().flatten(2)
    nearest = away.amax(dim=-1).min(dim=1).values
    assert float(nearest.max()) <= 0.125
    assert float((away.sum(-1).min(1).values == 0).float().mean()) > 0.5
    assert objective == pytest.approx(-float(model.log_prob(x).mean()), abs=1e-4)
    other = space.quantise(Draws(5).normal(50, 1, 8, 8).clamp(-1, 1))
    assert torch.isfinite(model.log_prob(other)).all()
    assert float(model.log_prob(other).max()) < float(model.log_prob(x).min()) - 100


def test_it_copies_a_record_of_the_label():
    x, y = torch.arange(12.0)[:, None], torch.arange(12) % 2
    model, _ = learned(x, Continuous(shape=(1,)), y)
    s = model.sample(100, labelled(torch.ones(100, dtype=torch.int64)), rng=Draws(0))
    assert bool((s.round() % 2 == 1).all())
    assert set(model.sample(400, rng=Draws(0)).round().long().flatten().tolist()) == set(range(12))
    even, odd = (model.log_prob(x, labelled(torch.full((12,), k))) for k in (0, 1))
    assert bool((even[0::2] > odd[0::2]).all() and (odd[1::2] > even[1::2]).all())
    both = torch.stack([even, odd]).double().logsumexp(0) - math.log(2)
    assert torch.allclose(both.float(), model.log_prob(x), atol=1e-4)
    never = labelled(torch.full((12,), 2))
    assert torch.equal(model.log_prob(x, never), model.log_prob(x))


def test_chunks_change_nothing(monkeypatch):
    x = every(LEVELS)
    model, _ = learned(x, LEVELS, **LOUD)
    whole = model.log_prob(x)
    monkeypatch.setattr("likewise.families.copier.NUMBERS", 50)
    monkeypatch.setattr("likewise.families.copier.ROWS", 3)
    assert torch.allclose(model.log_prob(x), whole, atol=1e-6)


@pytest.mark.parametrize("space", SMALL, ids=lambda space: space.kind)
def test_it_loads_what_it_saved_and_rows_stand_alone(space):
    states = every(space)
    model, _ = learned(states[:5], space, **LOUD)
    again = Copier(Config(**LOUD), space)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.log_prob(states), model.log_prob(states))
    whole, part = model.sample(9, rng=Draws(2)), again.sample(3, rng=Draws(2, start=4))
    assert torch.equal(whole[4:7].nan_to_num(-9), part.nan_to_num(-9))


def test_wrong_uses_are_said_in_words():
    with pytest.raises(UsageError, match="has learned nothing yet"):
        Copier(Config(), CLASSES).sample(1, rng=Draws(0))
    with pytest.raises(DataError, match="at least 1; got 0"):
        learned(torch.zeros(0, 2, dtype=torch.int64), CLASSES)


def test_records_left_open_are_copied_open_and_masses_sum_to_one():
    model, _ = learned(torch.tensor([[0, 3, 3], [1, 0, 2], [1, 1, 0]]), WORDS, noise=0.2)
    states = every(WORDS)
    mass = model.log_prob(states).double().exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-6)
    drawn = model.sample(4000, rng=Draws(3))
    WORDS.check(drawn)
    same = (drawn[:, None] == states[None]).all(-1).double().mean(0)
    assert torch.allclose(same, mass, atol=0.03)
