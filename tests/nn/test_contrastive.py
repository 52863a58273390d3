"""The self-taught net: its views, its loss, and what its features are worth."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from likewise.core.contract import Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.nn.contrastive import TEMPERATURE, Contrastive, swap, view, warp
from likewise.nn.features import Pca, RandomNet
from likewise.train.job import Job
from likewise.train.loop import Trainer
from tests.nn.test_features import SPACES, Fixed, examples, train


@pytest.fixture(params=SPACES, ids=str)
def space(request):
    return SPACES[request.param]


def test_views_keep_shape_and_differ_and_are_their_seed(space):
    x, _ = examples(space, 40)
    rng = Draws(1)
    first, second = view(x, space, rng), view(x, space, rng)
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert not torch.equal(first.nan_to_num(), second.nan_to_num())
    assert torch.equal(first.nan_to_num(), view(x, space, Draws(1)).nan_to_num())


def test_a_row_of_pictures_changes_by_its_own_draws_alone():
    space = SPACES["odd picture"]
    x, _ = examples(space, 8)
    whole, part = view(x, space, Draws(3)), view(x[5:], space, Draws(3, start=5))
    assert torch.allclose(whole[5:], part, atol=1e-6)


def test_a_warp_in_the_middle_of_its_range_changes_nothing():
    x, _ = examples(SPACES["picture"], 6)
    assert torch.allclose(warp(x, torch.full((6, 3), 0.5)), x, atol=1e-6)
    turned = warp(x, torch.tensor([[1.0, 0.5, 0.5]]).expand(6, 3), turn=90.0)
    assert torch.allclose(turned, x.rot90(1, (2, 3)), atol=1e-5)


def test_swapped_entries_come_from_the_same_place_of_another_example(space):
    if isinstance(space, Continuous) and len(space.shape) == 3:
        pytest.skip("pictures are not swapped")
    x, _ = examples(space, 60)
    y = swap(x, space, 0.3, Draws(0))
    space.check(y)
    assert torch.equal(swap(x, space, 0.0, Draws(0)).nan_to_num(), x.nan_to_num())
    for old, new in zip(x.flatten(1).T, y.flatten(1).T, strict=True):
        assert set(new.nan_to_num(-1).tolist()) <= set(old.nan_to_num(-1).tolist())
    changed = (x.nan_to_num(-1) != y.nan_to_num(-1)).float().mean()
    assert 0 < float(changed) <= 0.4


def test_a_swap_leaves_lengths_alone():
    space = SPACES["sequence"]
    x, _ = examples(space, 60)
    assert torch.equal(space.mask(swap(x, space, 0.8, Draws(0))), space.mask(x))


def test_the_loss_is_what_the_paper_writes():
    torch.manual_seed(0)
    space = SPACES["picture"]
    net, source = Contrastive(space, 4), Fixed(space)
    net.train()
    x, c = source.batch(torch.arange(6), Draws(0))
    (loss,) = net.losses(x, c, step=Step(Draws(7), 0.0))
    rng = Draws(7)
    with torch.no_grad():
        z = net.head(net.raw(torch.cat([view(x, space, rng), view(x, space, rng)])))
    z = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(12):
        twin = (i + 6) % 12
        others = [math.exp(float(z[i] @ z[k]) / TEMPERATURE) for k in range(12) if k != i]
        total -= math.log(math.exp(float(z[i] @ z[twin]) / TEMPERATURE) / sum(others))
    assert loss.value.item() == pytest.approx(total / 12, rel=1e-4)


def test_it_learns_to_find_the_twin_and_every_parameter_learns(space):
    torch.manual_seed(0)
    net, source = Contrastive(space, 5), Fixed(space)
    net.prepare(source, rng=Draws(0))
    x, c = source.batch(torch.arange(48), Draws(0))
    (before,) = net.losses(x, c, step=Step(Draws(9), 0.0))
    assert (before.part, before.value.shape) == ("contrastive", ())
    assert set(net.parts()) == set(net.optimizers()) == {"contrastive"}
    before.value.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
    if space.dimensions == 1:
        return  # one pixel is not told from another
    train(net, source, steps=40)
    (after,) = net.losses(x, c, step=Step(Draws(9), 0.0))
    assert after.value < before.value
    assert after.notes["found"] > 2 / 96


def test_from_200_labels_its_features_tell_more_than_random_and_linear_ones():
    data = load_digits()
    x = torch.from_numpy(data.images).float()[:, None] / 8 - 1
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], data.target[order.numpy()]
    space = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125)
    source = Fixed(space)
    source.x, source.y = x[:1300], torch.from_numpy(y[:1300])
    torch.manual_seed(0)
    net = Contrastive(space, 32)
    Trainer(net, source, Job(name="features", steps=200, batch=64)).run()
    shares = []
    for each in (net, RandomNet(space, 32), Pca(space, 32)):
        each.prepare(source, rng=Draws(0))
        each.calibrate(source, rng=Draws(0))
        f = each.features(x).numpy()
        probe = LogisticRegression(max_iter=300).fit(f[:200], y[:200])
        shares.append(probe.score(f[1300:], y[1300:]))
    contrastive, random, linear = shares
    assert contrastive > 0.93
    assert contrastive > max(linear, random) + 0.015
