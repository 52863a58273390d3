"""PixelCNN: an exact mass, no look ahead, no blind spot, and a fast sampler equal to the slow."""

import itertools
from dataclasses import replace

import pytest
import torch

from likewise.core.condition import Grid, Labels, Vector
from likewise.core.contract import Controls, Step
from likewise.core.errors import DataError
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Continuous
from likewise.families.pixelcnn import PixelCNN

LABELS = (Labels(names=("a", "b", "c")),)
SMALL = PixelCNN.Config(
    width=8, blocks=3, first=2, hidden=12, steering=6, components=3, dropout=0.0
)


def _model(shape, categories=2, conditions=(), seed=0, **changes) -> PixelCNN:
    torch.manual_seed(seed)
    space = Categorical(shape=shape, categories=categories)
    model = PixelCNN(replace(SMALL, **changes), space, conditions)
    with torch.no_grad():  # larger weights than a start's: distributions far from even
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model.eval()


def _labels(values) -> dict:
    return {"label": (torch.tensor(values), torch.ones(len(values), dtype=torch.bool))}


def _all(shape, categories) -> torch.Tensor:
    size = torch.Size(shape).numel()
    return torch.tensor(list(itertools.product(range(categories), repeat=size))).view(-1, *shape)


@pytest.mark.parametrize(
    ("shape", "categories", "head"),
    [
        ((1, 3, 3), 2, "categorical"),
        ((2, 2, 2), 2, "categorical"),
        ((2, 2, 1), 2, "logistic"),
        ((3, 1, 2), 3, "logistic"),
        ((5,), 3, "categorical"),
        ((3, 2), 2, "categorical"),
        ((1, 1, 1), 4, "logistic"),
        ((1, 1, 1), 1, "categorical"),
    ],
)
@torch.no_grad()
def test_probabilities_sum_to_one(shape, categories, head):
    model = _model(shape, categories, LABELS, head=head).double()
    x = _all(shape, categories)
    for c in (None, _labels([1] * len(x)), _labels([2] * len(x))):
        assert float(model.log_prob(x, c).exp().sum()) == pytest.approx(1.0, abs=1e-9)


@torch.no_grad()
def test_logistic_masses_agree_with_its_log_mass():
    model = _model((1, 1, 1), 256, head="logistic").double()
    x = torch.arange(256).view(256, 1, 1, 1)
    e = torch.zeros(256, model.config.steering)
    out = model.channel_heads[0](model._features(model.codes[x], None, e)[:, :, 0, 0])
    torch.testing.assert_close(model.head.masses(out[:1])[0], model.log_prob(x).exp())


@torch.no_grad()
def test_samples_have_the_frequencies_of_log_prob():
    model = _model((1, 2, 2), 3, LABELS)
    x, n = _all((1, 2, 2), 3), 20000
    drawn = model.sample(n, _labels([1] * n), rng=Draws(3)).flatten(1)
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(dim=1)
    observed = torch.bincount(index, minlength=81)
    expected = n * model.log_prob(x, _labels([1] * 81)).exp()
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    assert chi_square < 130.0  # 80 degrees of freedom: beyond is one in 3000


@pytest.mark.parametrize("shape", [(1, 5, 5), (2, 3, 3)])
def test_each_entry_depends_on_all_entries_before_it_and_on_no_other(shape):
    """In the order row, column, channel: no look ahead, no blind spot."""
    model = _model(shape, 5, blocks=4).double()
    channels, height, width = shape
    codes = model.codes[torch.randint(0, 5, (1, *shape))].requires_grad_()
    e = torch.zeros(1, model.config.steering)
    features = model._features(codes, None, e).permute(0, 2, 3, 1)
    order = [(k, i, j) for i in range(height) for j in range(width) for k in range(channels)]
    for at, (k, i, j) in enumerate(order):
        before = codes[:, :k, i, j].flatten(1)
        out = model.channel_heads[k](torch.cat([features[:, i, j], before], dim=1))
        (gradient,) = torch.autograd.grad(out.square().sum(), codes, retain_graph=True)
        seen = [bool(gradient[0][place].any()) for place in order]
        assert seen == [other < at for other in range(len(order))]


@torch.no_grad()
def test_log_prob_reads_every_channel_in_order():
    """A changed entry leaves the masses of earlier entries: the last one's effect is its own."""
    model = _model((2, 2, 2), 3).double()
    x = torch.zeros(3, 2, 2, 2, dtype=torch.int64)
    x[:, 1, 1, 1] = torch.arange(3)
    joint = model.log_prob(x).exp()
    whole = _all((2, 2, 2), 3)
    same = (whole.flatten(1)[:, :7] == 0).all(dim=1)
    torch.testing.assert_close(joint.sum(), model.log_prob(whole[same]).exp().sum())


@pytest.mark.parametrize(
    ("shape", "categories", "head"),
    [
        ((1, 5, 5), 17, "categorical"),
        ((2, 3, 3), 256, "logistic"),
        ((9,), 4, "categorical"),
        ((2, 5, 1), 3, "categorical"),
    ],
)
def test_the_cached_sampler_equals_the_naive_one(shape, categories, head):
    model = _model(shape, categories, LABELS, head=head)
    n = 1000
    c = {"label": (torch.arange(n) % 3, torch.arange(n) % 4 > 0)}
    fast = model.sample(n, c, rng=Draws(1))
    slow = model._sample_naively(n, c, rng=Draws(1))
    model.space.check(fast)
    assert float((fast == slow).flatten(1).all(dim=1).float().mean()) >= 0.999
    assert len(fast.unique(dim=0)) > n // 2


def test_rows_do_not_depend_on_the_batch():
    model = _model((1, 4, 4), 17, LABELS)
    whole = model.sample(9, _labels([0, 1, 2] * 3), rng=Draws(2))
    part = model.sample(2, _labels([1, 2]), rng=Draws(2, start=4))
    assert torch.equal(whole[4:6], part)
    assert torch.equal(whole, model.sample(9, _labels([0, 1, 2] * 3), rng=Draws(2)))


def test_a_saved_model_gives_equal_samples():
    model, other = _model((1, 3, 4), 5, LABELS), _model((1, 3, 4), 5, LABELS, seed=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.sample(8, rng=Draws(0)), other.sample(8, rng=Draws(0)))


def test_completion_keeps_what_is_known_and_informs_what_follows():
    model = _model((1, 4, 4), 3, LABELS)
    x = torch.randint(0, 3, (50, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, :, :2] = True
    done = model.complete(x, known, rng=Draws(0))
    assert torch.equal(done[known], x[known])
    other = model.complete((x + 1) % 3, known, rng=Draws(0))
    assert not torch.equal(done[~known], other[~known])
    nothing, everything = torch.zeros_like(known), torch.ones_like(known)
    assert torch.equal(model.complete(x, nothing, rng=Draws(5)), model.sample(50, rng=Draws(5)))
    assert torch.equal(model.complete(x, everything, rng=Draws(0)), x)
    with pytest.raises(DataError, match="known must be of x's shape"):
        model.complete(x, known[:, 0], rng=Draws(0))


@torch.no_grad()
def test_temperature_and_guidance_do_what_they_say():
    model = _model((1, 1, 1), 4, LABELS).double()
    x, n = torch.arange(4).view(4, 1, 1, 1), 20000
    given, free = model.log_prob(x, _labels([2] * 4)), model.log_prob(x)
    for controls, logits in [
        (Controls(temperature=0.5), 2 * given),
        (Controls(guidance=3.0), 3 * given - 2 * free),
    ]:
        drawn = model.sample(n, _labels([2] * n), rng=Draws(0), controls=controls).flatten()
        observed = torch.bincount(drawn, minlength=4) / n
        torch.testing.assert_close(observed.double(), logits.softmax(dim=0), rtol=0, atol=0.015)


@pytest.mark.parametrize("head", ["categorical", "logistic"])
def test_it_learns(head):
    """Two patterns with labels: the loss falls from even to almost nothing."""
    torch.manual_seed(0)
    model = _model((1, 4, 4), 9, LABELS, head=head)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    patterns = torch.stack([torch.eye(4) * 8, 4 + torch.eye(4).flip(0) * 2]).long()[:, None]
    rows = torch.arange(32) % 2
    first = last = 0.0
    for index in range(100):
        (loss,) = model.losses(patterns[rows], _labels(rows.tolist()), step=_step(index))
        assert loss.value.shape == (32,)
        last = float(loss.value.detach().mean())
        first = first or last
        optimizer.zero_grad()
        loss.value.mean().backward()
        optimizer.step()
    assert first > 1.0
    assert last < 0.15
    drawn = model.sample(20, _labels([1] * 20), rng=Draws(0))
    assert float((drawn == patterns[1]).float().mean()) > 0.9


def _step(index: int = 0) -> Step:
    return Step(rng=Draws(index), progress=0.0, index=index)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 4), (6,)])
@pytest.mark.parametrize("categories", [17, 256])
def test_a_preset_starts_well(shape, categories):
    conditions = (*LABELS, Vector(names=("p", "q")), Grid(shape=(2, 3, 3)))
    space = Categorical(shape=shape, categories=categories)
    torch.manual_seed(0)
    model = PixelCNN(PixelCNN.preset("xs", space, conditions), space, conditions)
    x = torch.randint(0, categories, (8, *shape))
    c = {**_labels([0, 1, 2, 0] * 2), "map": (torch.randn(8, 2, 3, 3), torch.ones(8).bool())}
    sizes = []
    for module in model.stack.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda m, a, out: sizes.append(float(out.detach().std())))
    (loss,) = model.losses(x, c, step=_step())
    loss.value.mean().backward()
    assert min(sizes) > 0.01
    assert max(sizes) < 100
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert {name for name in idle if not name.startswith("embed.")} == set()


def test_a_map_steers_each_place():
    model = _model((1, 3, 3), 4, (Grid(shape=(1, 3, 3)),))
    x, present = torch.zeros(2, 1, 3, 3, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
    values = torch.zeros(2, 1, 3, 3)
    values[1, 0, 2, 2] = 3.0
    masses = model.log_prob(x, {"map": (values, present)})
    assert float((masses[0] - masses[1]).detach().abs()) > 1e-4


def test_what_it_refuses_and_what_its_presets_choose():
    assert PixelCNN.refuses(Categorical(shape=(3, 8, 8), categories=4)) is None
    assert "(1, 2, 3, 4)" in PixelCNN.refuses(Categorical(shape=(1, 2, 3, 4), categories=4))
    assert "not continuous" in PixelCNN.refuses(Continuous(shape=(4,)))
    photo = Categorical(shape=(3, 32, 32), categories=256)
    assert PixelCNN.preset("s", photo, ()).head == "logistic"
    row = Categorical(shape=(64,), categories=4)
    config = PixelCNN.preset("s", row, ())
    assert config.head == "categorical"
    assert config.first + config.blocks * config.reach >= 59  # almost the whole row
