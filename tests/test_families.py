"""The family contract: every family of the registry, on every Space that it accepts."""

import itertools
import json

import pytest
import torch

from likewise.core import registry
from likewise.core.condition import Grid, Labels, Tokens, Vector
from likewise.core.config import from_json, override, to_json
from likewise.core.contract import SIZES, Controls, Family, Step
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Column, Continuous, Mixed, Sequence
from likewise.nn.features import RandomNet
from likewise.train.counting import count
from likewise.train.job import Job
from likewise.train.loop import Trainer
from likewise.workbench.fitting import build, steered
from tests.toys import FAMILIES as TOYS
from tests.toys import ToySource

SPACES = {
    "picture": Continuous(shape=(1, 4, 4), low=-1.0, high=1.0, step=0.25),
    "colour": Continuous(shape=(3, 4, 4), low=-1.0, high=1.0, step=2 / 255),
    "odd": Continuous(shape=(1, 5, 3), low=-1.0, high=1.0, step=0.25),
    "vector": Continuous(shape=(2,)),
    "levels": Categorical(shape=(1, 4, 4), categories=9),
    "words": Sequence(length=6, tokens=5, end=3, pad=4),
    "rows": Mixed(
        columns=(
            Column(name="age", missing=True),
            Column(name="kids", low=0.0, high=9.0, step=1.0),
            Column(name="colour", kind="category", categories=3),
        )
    ),
}
LABELS = Labels(names=("a", "b"))
ALL = [LABELS, Grid(shape=(1, 2, 2)), Vector(names=("p", "q")), Tokens(length=3, tokens=5)]
N = 24


def names():
    # The toys are added to the registry while tests run; their names are known before.
    return [*registry.names("families"), *TOYS]


def family_of(name):
    return TOYS[name] if name in TOYS else registry.get("families", name)


CASES = [
    (name, space)
    for name in names()
    for space in SPACES
    if family_of(name).refuses(SPACES[space]) is None
]
GRADIENT = [case for case in CASES if family_of(case[0]).claims.learning == "gradient"]


def examples(space, n=N):
    """Two kinds of examples, so that labels mean something."""
    rng = Draws(7)
    kind = torch.arange(n) % 2
    if isinstance(space, Continuous):
        x = space.quantise(
            (kind * 1.0 - 0.5).reshape(-1, *[1] * len(space.shape))
            + 0.2 * rng.normal(n, *space.shape)
        )
    elif isinstance(space, Categorical):
        x = (rng.integers(3, n, *space.shape) + 4 * kind[:, None, None, None]).clamp(0, 8)
    elif isinstance(space, Sequence):
        x = torch.full((n, space.length), space.pad)
        for row in range(n):
            length = 1 + row % 4
            x[row, :length] = kind[row]
            x[row, length] = space.end
    else:
        x = torch.stack([rng.normal(n), rng.integers(10, n).float(), kind.float()], dim=1)
        x[::5, 0] = torch.nan
    space.check(x)
    return x, kind


def source(space, n=N, conditions=(LABELS,)):
    x, kind = examples(space, n)
    c = {}
    for condition in conditions:
        values = kind if isinstance(condition, Labels) else condition.empty(n)
        c[condition.name] = (values, torch.ones(n, dtype=torch.bool))
    return ToySource(x, c, space, tuple(conditions))


def make(name, space, conditions=(LABELS,), seed=0):
    kind = family_of(name)
    config = kind.preset("xs", space, steered(kind, conditions))
    return build(kind, config, space, steered(kind, conditions), seed=seed, name=name)


_trained: dict = {}


def trained(name, space_name, conditions=(LABELS,)):
    """A family after a few steps; made once for all the tests that only look at it."""
    key = (name, space_name, conditions)
    if key not in _trained:
        space = SPACES[space_name]
        family = make(name, space, conditions)
        job = Job(name=name, steps=4, batch=12, ema=0.5)
        data = source(space, conditions=conditions)
        if family.claims.learning == "counting":
            count(family, data, Job(name=name, steps=2, batch=12))
        else:
            Trainer(family, data, job).run()
        _trained[key] = family.eval()
    return _trained[key]


def state(family):
    return {name: tensor.clone() for name, tensor in family.state_dict().items()}


@pytest.mark.parametrize("name", names())
def test_a_family_is_final_and_says_what_it_can(name):
    kind = family_of(name)
    assert kind.__bases__[0] is Family
    assert kind.__doc__
    assert kind.claims.density
    assert kind.claims.controls <= set(vars(Controls()))
    if kind.claims.role == "control":
        assert name == "copier"


@pytest.mark.parametrize(("name", "space"), CASES)
def test_presets_are_configs_that_survive_json_and_refuse_strangers(name, space):
    kind = family_of(name)
    for size in SIZES:
        config = kind.preset(size, SPACES[space], steered(kind, (LABELS,)))
        assert isinstance(config, kind.Config)
        assert from_json(kind.Config, json.loads(json.dumps(to_json(config)))) == config
    with pytest.raises(UsageError, match="setting 'no_such' is unknown"):
        override(config, {"no_such": "1"})


@pytest.mark.parametrize(("name", "space"), GRADIENT)
def test_parts_own_each_parameter_once_and_each_gets_a_gradient(name, space):
    family = make(name, SPACES[space])
    data = source(SPACES[space])
    family.prepare(data, rng=Draws(0))
    # Silent branches start at zero, so a first step opens the way for all gradients.
    for step in range(3):
        x, c = data.batch(torch.arange(N), Draws(1))
        got = set()
        owned = {n: list(p.parameters()) for n, p in family.parts().items()}
        for loss in family.losses(x, c, step=Step(Draws(step), step / 3, step)):
            assert torch.isfinite(loss.value).all()
            if family.claims.per_example:
                assert loss.value.shape == (N,)
            grads = torch.autograd.grad(
                loss.value.mean(), owned[loss.part], allow_unused=True, retain_graph=False
            )
            with torch.no_grad():
                for parameter, gradient in zip(owned[loss.part], grads, strict=True):
                    if gradient is not None:
                        parameter -= 1e-3 * gradient.sign()
                        got.add(id(parameter))
    everything = [id(p) for parts in owned.values() for p in parts]
    assert len(everything) == len(set(everything))
    assert set(everything) == {id(p) for p in family.parameters() if p.requires_grad}
    missing = [n for n, p in family.named_parameters() if p.requires_grad and id(p) not in got]
    assert not missing
    assert set(family.optimizers()) == set(family.parts())


@pytest.mark.parametrize(("name", "space"), CASES)
def test_equal_seeds_give_equal_samples_that_fit_the_space(name, space):
    family = trained(name, space)
    shape = SPACES[space]
    c = {"label": (torch.arange(8) % 2, torch.ones(8, dtype=torch.bool))}
    first = family.sample(8, c, rng=Draws(5))
    shape.check(first)
    torch.testing.assert_close(
        family.sample(8, c, rng=Draws(5)), first, equal_nan=True, rtol=0, atol=0
    )
    if space in ("vector", "picture", "colour"):
        assert not torch.equal(family.sample(8, c, rng=Draws(6)), first)
    shape.check(family.sample(8, None, rng=Draws(5)))


@pytest.mark.parametrize(("name", "space"), CASES)
def test_a_sample_is_the_same_at_any_batch_size(name, space):
    family = trained(name, space)
    c = {"label": (torch.arange(6) % 2, torch.ones(6, dtype=torch.bool))}
    whole = family.sample(6, c, rng=Draws(5))
    parts = [
        family.sample(2, {"label": (c["label"][0][i : i + 2], c["label"][1][i : i + 2])},
                      rng=Draws(5, i))
        for i in (0, 2, 4)
    ]  # fmt: skip
    both = torch.cat(parts)
    step = getattr(SPACES[space], "step", None) or 0
    if whole.dtype == torch.float32:
        torch.testing.assert_close(both, whole, rtol=1e-3, atol=1e-3 + 1.01 * step, equal_nan=True)
        assert float(((both - whole).abs() > 1e-3).float().mean()) < 0.02
    else:
        assert float((both != whole).float().mean()) < 0.02


@pytest.mark.parametrize(("name", "space"), CASES)
def test_a_saved_family_samples_the_same(name, space):
    family = trained(name, space)
    again = make(name, SPACES[space], seed=99)
    again.load_state_dict(state(family))
    again.eval()
    c = {"label": (torch.arange(4) % 2, torch.ones(4, dtype=torch.bool))}
    torch.testing.assert_close(
        again.sample(4, c, rng=Draws(1)), family.sample(4, c, rng=Draws(1)), equal_nan=True
    )


@pytest.mark.parametrize(("name", "space"), CASES)
def test_density_is_what_is_claimed(name, space):
    family, shape = trained(name, space), SPACES[space]
    x, kind = examples(shape, 6)
    c = {"label": (kind, torch.ones(6, dtype=torch.bool))}
    if family.claims.density[type(shape)] is None:
        with pytest.raises(UsageError, match="has no density"):
            family.log_prob(x, c)
        return
    value = family.log_prob(x, c, rng=Draws(2), draws=2)
    assert value.shape == (6,)
    assert torch.isfinite(value).all()
    torch.testing.assert_close(family.log_prob(x, c, rng=Draws(2), draws=2), value)
    if not isinstance(shape, Continuous | Mixed) or getattr(shape, "step", None):
        assert (value <= 1e-4).all(), "a log mass is never above 0"


@pytest.mark.parametrize(("name", "space"), CASES)
def test_codes_and_completion_are_what_is_claimed(name, space):
    family, shape = trained(name, space), SPACES[space]
    x, kind = examples(shape, 4)
    c = {"label": (kind, torch.ones(4, dtype=torch.bool))}
    if family.claims.latent:
        codes = family.encode(x, c)
        family.code_space.check(codes.detach())
        torch.testing.assert_close(family.encode(x, c), codes)
        shape.check(shape.quantise(family.decode(codes, c).detach()))
    else:
        with pytest.raises(UsageError, match="has no codes"):
            family.encode(x, c)
    if family.claims.completion:
        known = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
        whole = family.complete(x, known, c, rng=Draws(0))
        shape.check(whole)
        torch.testing.assert_close(whole[known], x[known])
    else:
        with pytest.raises(UsageError, match="cannot complete"):
            family.complete(x, torch.ones_like(x).bool(), c, rng=Draws(0))


@pytest.mark.parametrize(("name", "space"), CASES)
def test_controls_that_are_claimed_change_samples(name, space):
    family = trained(name, space)
    c = {"label": (torch.arange(8) % 2, torch.ones(8, dtype=torch.bool))}
    changed = {
        "temperature": Controls(temperature=0.2),
        "truncation": Controls(truncation=0.1),
        "guidance": Controls(guidance=8.0),
        "steps": Controls(steps=3),
        "stochastic": Controls(stochastic=True),
        "top_k": Controls(top_k=1),
        "top_p": Controls(top_p=0.1),
        "min_p": Controls(min_p=0.9),
        "repetition": Controls(repetition=9.0),
    }
    for control in family.claims.controls:
        other = family.sample(8, c, rng=Draws(5), controls=changed[control])
        SPACES[space].check(other)
        if space in ("vector", "colour") and control != "guidance":
            assert not torch.equal(other, family.sample(8, c, rng=Draws(5)))


@pytest.mark.parametrize(("name", "space"), GRADIENT)
def test_every_kind_of_condition_that_is_claimed_trains(name, space):
    kind = family_of(name)
    conditions = tuple(c for c in ALL if isinstance(c, kind.claims.conditions))
    for some in {(), conditions}:
        family = make(name, SPACES[space], some)
        data = source(SPACES[space], 8, some)
        family.prepare(data, rng=Draws(0))
        x, c = data.batch(torch.arange(8), Draws(1))
        for loss in family.losses(x, c, step=Step(Draws(0), 0.5, 1)):
            assert torch.isfinite(loss.value).all()
        family.eval()
        SPACES[space].check(family.sample(2, None, rng=Draws(0)))


@pytest.mark.parametrize(("name", "space"), GRADIENT)
def test_evaluation_is_deterministic_and_activations_start_sane(name, space):
    family = make(name, SPACES[space])
    data = source(SPACES[space])
    family.prepare(data, rng=Draws(0))
    sizes = {}
    hooks = [
        module.register_forward_hook(
            lambda m, i, out, n=n: (
                sizes.__setitem__(n, float(out.detach().abs().mean()))
                if isinstance(out, torch.Tensor)
                else None
            )
        )
        for n, module in family.named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
    ]
    x, c = data.batch(torch.arange(N), Draws(1))
    for _ in family.losses(x, c, step=Step(Draws(0), 0.5, 1)):
        pass
    for hook in hooks:
        hook.remove()
    assert all(size < 100 for size in sizes.values())
    assert not sizes or max(sizes.values()) > 0.01


TINY = {
    "picture": Continuous(shape=(1, 1, 2), low=-1.0, high=1.0, step=1.0),
    "levels": Categorical(shape=(1, 1, 2), categories=3),
}


def with_masses(name, space):
    kind = family_of(name)
    if space not in TINY or kind.refuses(TINY[space]):
        return False
    return kind.claims.density[type(TINY[space])] is not None


@pytest.mark.parametrize(("name", "space"), [case for case in CASES if with_masses(*case)])
def test_the_masses_of_all_cells_sum_to_one_or_less(name, space):
    tiny = TINY[space]
    family = make(name, tiny)
    data = tiny_source(tiny)
    if family.claims.learning == "counting":
        count(family, data, Job(name=name, steps=20, batch=30))
    else:
        Trainer(family, data, Job(name=name, steps=10, batch=15)).run()
    cells = data.x.new_tensor(list(itertools.product([0, 1, 2], repeat=2))).reshape(9, 1, 1, 2)
    cells = cells - 1 if isinstance(tiny, Continuous) else cells
    mass = family.log_prob(cells, rng=Draws(0), draws=256).detach().double().exp()
    if family.claims.density[type(tiny)] == "bound":
        assert float(mass.sum()) < 1.05  # the noise of the draws
        return
    assert abs(float(mass.sum()) - 1) < 1e-4
    drawn = family.sample(4000, None, rng=Draws(1))
    shares = (drawn[:, None] == cells[None]).flatten(2).all(dim=2).double().mean(dim=0)
    torch.testing.assert_close(shares, mass, atol=0.04, rtol=0)


def tiny_source(space):
    rows = Draws(3).integers(3, 30, 1, 1, 2)
    x = rows.float() - 1 if isinstance(space, Continuous) else rows
    c = {"label": (torch.arange(30) % 2, torch.ones(30, dtype=torch.bool))}
    return ToySource(x, c, space, (LABELS,))


@pytest.mark.parametrize(("name", "space"), [c for c in CASES if c[1] == "words"])
def test_sequences_sum_to_one(name, space):
    family = trained(name, space)
    small = Sequence(length=2, tokens=5, end=3, pad=4)
    family = make(name, small)
    if family.claims.learning == "counting":
        rows = torch.tensor([[0, 3], [3, 4], [1, 2]])
        data = ToySource(
            rows, {"label": (torch.zeros(3).long(), torch.ones(3).bool())}, small, (LABELS,)
        )
        count(family, data, Job(name=name, steps=1, batch=3))
    every = [
        pair for pair in itertools.product(range(5), repeat=2)
        if pair[0] != 4 and ((pair[0] == 3) == (pair[1] == 4))
    ]  # fmt: skip
    mass = family.log_prob(torch.tensor(every)).detach().double().exp().sum()
    assert abs(float(mass) - 1) < 1e-4


def test_random_features_exist_for_every_space():
    for space in SPACES.values():
        x, _ = examples(space, 4)
        assert RandomNet(space, 8, 0).features(x).shape == (4, 8)
