"""The product of the marginals: it sums to one, on every Space."""

import itertools
import math

import pytest
import torch

from likewise.core.errors import DataError
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Column, Continuous, Mixed, Sequence
from likewise.families.independent import Config, Independent

LEVELS = Continuous(shape=(1, 1, 2), low=-1.0, high=1.0, step=0.5)
CLASSES = Categorical(shape=(2,), categories=3)
WORDS = Sequence(length=3, tokens=4, end=2, pad=3)
WORDS_ENDING_IN_PAD = Sequence(length=3, tokens=3, end=2, pad=2)
ROWS = Mixed(
    columns=(
        Column(name="age", low=0.0, high=9.0, step=1.0, missing=True),
        Column(name="colour", kind="category", categories=3, missing=True),
        Column(name="pay", atoms=(0.0,), missing=True),
        Column(name="height", low=1.0, high=2.0),
        Column(name="day", kind="date"),
        Column(name="count", low=0.0, step=1.0),
    )
)


def learned(x, space, **settings):
    model = Independent(Config(**settings), space)
    objective = list(model.learn(Once([(part, {}) for part in x.split(7)], len(x)), rng=Draws(0)))
    return model, objective


class Once(list):
    def __init__(self, parts, n):
        super().__init__(parts)
        self.n = n

    def __len__(self):
        return self.n


def rows(n=60):
    draws = Draws(1)
    age = draws.integers(10, n).float()
    colour = draws.integers(3, n).float()
    age[::5], colour[::7] = math.nan, math.nan
    pay = draws.normal(n).exp()
    pay[::3], pay[::11] = 0.0, math.nan
    height = 1 + draws.uniform(n)
    day, count = draws.normal(n), draws.integers(4, n).float()
    return torch.stack([age, colour, pay, height, day, count], dim=1)


def every(space):
    """All states of a small Space."""
    if isinstance(space, Continuous):
        axis = torch.arange(-1, 1.1, 0.5)
        return torch.cartesian_prod(axis, axis).reshape(-1, 1, 1, 2)
    if isinstance(space, Categorical):
        return torch.tensor(list(itertools.product(range(3), repeat=2)))
    x = torch.tensor(list(itertools.product(range(space.tokens), repeat=3)))
    return x[((x == space.pad) | space.mask(x)).all(dim=1)]


@pytest.mark.parametrize("space", [LEVELS, CLASSES, WORDS, WORDS_ENDING_IN_PAD], ids=str)
@pytest.mark.parametrize("pseudo", [None, 0.5])
def test_masses_sum_to_one_and_samples_have_them(space, pseudo):
    states = every(space)
    if space is WORDS:
        states = states[(states == 2).any(dim=1) | (states != 3).all(dim=1)]  # none left open
    x = states[Draws(4).integers(len(states), 30)]
    model, (objective,) = learned(x, space, pseudo=pseudo)
    mass = model.log_prob(states).double().exp()
    valid = states if space is not WORDS_ENDING_IN_PAD else states.unique(dim=0)
    assert float(model.log_prob(valid).double().exp().sum()) == pytest.approx(1, abs=1e-6)
    assert objective == pytest.approx(-float(model.log_prob(x).mean()), abs=1e-5)
    drawn = model.sample(4000, rng=Draws(9))
    space.check(drawn)
    same = (drawn.flatten(1)[:, None] == states.flatten(1)[None]).all(-1).double().mean(0)
    assert float(same.sum()) == pytest.approx(1)
    assert torch.allclose(same, mass, atol=0.03)


def test_a_row_left_open_is_the_beginning_of_all_that_go_on():
    model, _ = learned(torch.tensor([[0, 2, 3], [1, 1, 2], [0, 3, 3]]), WORDS)
    states = every(WORDS)
    whole = states[(states == 2).any(dim=1) | (states != 3).all(dim=1)]
    begun = whole[whole[:, 0] == 0]
    mass = float(model.log_prob(torch.tensor([[0, 3, 3]])).exp())
    assert mass == pytest.approx(float(model.log_prob(begun).double().exp().sum()), abs=1e-6)


def test_the_pseudo_count_is_the_best_by_leaving_one_out():
    x = torch.tensor([[0]] * 5 + [[1]] * 2)
    space = Categorical(shape=(1,), categories=4)

    def left_out(pseudo):
        total = 0.0
        for i in range(len(x)):
            model, _ = learned(torch.cat([x[:i], x[i + 1 :]]), space, pseudo=pseudo)
            total += float(model.log_prob(x[i : i + 1]))
        return total

    best = max((1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0), key=left_out)
    assert float(learned(x, space)[0].pseudo) == best


def test_a_vector_without_levels_is_gaussian():
    from scipy.stats import norm

    x = Draws(0).normal(500, 2) * torch.tensor([2.0, 0.1]) + torch.tensor([100.0, 0.0])
    model, _ = learned(x, Continuous(shape=(2,)))
    expected = norm.logpdf(x.double(), x.double().mean(0), x.double().std(0, correction=0)).sum(1)
    assert torch.allclose(model.log_prob(x).double(), torch.tensor(expected), atol=1e-4)


@pytest.mark.parametrize("step", [None, 0.25])
def test_a_range_or_a_step_alone_is_kept_to(step):
    space = Continuous(shape=(1,), low=0.0, high=None if step else 3.0, step=step)
    x = space.quantise(Draws(0).normal(200, 1))
    model, _ = learned(x, space)
    axis = torch.arange(0, 20, 0.25) if step else (torch.arange(3000) + 0.5) / 1000
    width = 1.0 if step else 0.001
    total = float(model.log_prob(axis[:, None]).double().exp().sum() * width)
    assert total == pytest.approx(1, abs=1e-4)
    space.check(model.sample(500, rng=Draws(1)))


FINE = torch.linspace(-60, 60, 400_001)


@pytest.mark.parametrize(
    ("name", "values", "width"),
    [
        ("age", torch.arange(10.0), 1.0),
        ("colour", torch.arange(3.0), 1.0),
        ("pay", FINE[FINE != 0], 120 / 400_000),
        ("height", (torch.arange(100_000) + 0.5) / 1e5 + 1, 1e-5),
        ("day", FINE, 120 / 400_000),
        ("count", torch.arange(200.0), 1.0),
    ],
)
def test_each_column_of_a_table_sums_to_one(name, values, width):
    j = [column.name for column in ROWS.columns].index(name)
    column = ROWS.columns[j]
    model, _ = learned(rows()[:, j : j + 1], Mixed(columns=(column,)))
    total = float(model.log_prob(values[:, None]).double().exp().sum()) * width
    for point in [*([math.nan] if column.missing else []), *column.atoms]:
        total += float(model.log_prob(torch.tensor([[point]])).exp())
    assert total == pytest.approx(1, abs=2e-3)


def test_samples_of_a_table_have_its_marginals():
    x = rows(400)
    model, _ = learned(x, ROWS)
    s = model.sample(4000, rng=Draws(3))
    ROWS.check(s)
    assert torch.allclose(s.isnan().float().mean(0), x.isnan().float().mean(0), atol=0.03)
    assert torch.allclose(s.nanmean(0), x.nanmean(0), atol=0.25)
    assert float((s[:, 2] == 0).float().mean()) == pytest.approx(
        float((x[:, 2] == 0).float().mean()), abs=0.03
    )
    assert float(torch.nanmedian(s[:, 0])) == float(torch.nanmedian(x[:, 0]))
    assert torch.equal(s[:, 5], s[:, 5].round())
    part = model.sample(3, rng=Draws(3, start=5))
    assert torch.equal(part.nan_to_num(-9), s[5:8].nan_to_num(-9))


def test_poor_tables_are_finite():
    for x in (rows(1), rows(1).repeat(20, 1), torch.tensor([[math.nan] * 3 + [2.0, 5.0, 0.0]])):
        model, (objective,) = learned(x, ROWS)
        assert math.isfinite(objective)
        ROWS.check(model.sample(30, rng=Draws(0)))
        assert torch.isfinite(model.log_prob(rows())).all()


def test_it_loads_what_it_saved_and_needs_a_row():
    model, _ = learned(rows(), ROWS)
    again = Independent(Config(), ROWS)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.log_prob(rows()), model.log_prob(rows()))
    with pytest.raises(DataError, match="at least 1; got 0"):
        list(Independent(Config(), CLASSES).learn(Once([], 0), rng=Draws(0)))
