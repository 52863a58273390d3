"""The mixture of Gaussians against scikit-learn, integrals and closed forms."""

import itertools
import math

import numpy as np
import pytest
import torch

from likewise.core.condition import Labels
from likewise.core.contract import Controls
from likewise.core.errors import DataError, UsageError
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.families.gmm import GMM, Config
from likewise.nn.mixture import Mixture, Prior, climb, expect

PLANE = Continuous(shape=(2,))
PICTURE = Continuous(shape=(1, 3, 4), low=-1.0, high=1.0, step=0.125)
LABELS = (Labels(names=("a", "b", "c")),)


class Batches:
    """Rows, a few at a time."""

    def __init__(self, x, y=None, size=100):
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return len(self.x)

    def __iter__(self):
        for i in range(0, len(self.x), self.size):
            part = slice(i, i + self.size)
            yield self.x[part], {} if self.y is None else labelled(self.y[part])


def labelled(y):
    return {"label": (y, torch.ones(len(y), dtype=torch.bool))}


def blobs(n, seed=0, centres=((-4, 0), (4, 0), (0, 5), (0, -5))):
    draws, k = Draws(seed), len(centres)
    which = draws.integers(k, n)
    return torch.tensor(centres).float()[which] + draws.normal(n, 2), which


def learned(x, space=PLANE, y=None, conditions=(), **settings):
    model = GMM(Config(**settings), space, conditions)
    return model, list(model.learn(Batches(x, y), rng=Draws(3)))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
def test_passes_are_those_of_scikit_learn(covariance):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    x = blobs(300)[0].double()
    kind = {"full": "full", "tied": "tied", "diag": "diag"}[covariance]
    mean = x[:3].clone()
    precisions = {
        "full": np.stack([np.eye(2)] * 3),
        "tied": np.eye(2),
        "diag": np.ones((3, 2)),
    }[covariance]
    peer = GaussianMixture(
        3,
        covariance_type=kind,
        reg_covar=1e-6,
        tol=0,
        max_iter=12,
        weights_init=np.full(3, 1 / 3),
        means_init=mean.numpy(),
        precisions_init=precisions,
    )
    with pytest.warns(ConvergenceWarning):
        peer.fit(x.numpy())
    factor = {"full": torch.eye(2).expand(3, 2, 2), "tied": torch.eye(2)[None]}.get(
        covariance, torch.ones(3, 2)
    )
    start = Mixture(
        torch.full((3,), 1 / 3).double().log(), mean, factor.double(), torch.zeros(3).long()
    )
    prior = Prior(torch.zeros(2, 2) if covariance != "diag" else torch.zeros(2), 0.0, 1e-6)
    rows = [(part, torch.zeros(len(part)).long()) for part in x.split(70)]
    *_, (ours, _) = itertools.islice(climb(rows, start, prior), 12)
    assert expect(rows, ours)[1] == pytest.approx(peer.score(x.numpy()), abs=1e-6)
    assert np.allclose(ours.mean.numpy(), peer.means_, atol=1e-6)
    assert np.allclose(ours.log_weight.exp().numpy(), peer.weights_, atol=1e-6)


def test_numbers_that_seldom_differ_get_a_higher_floor():
    """As the border of pictures: by nearly all rows nothing can ever be there."""
    space, x = Continuous(shape=(42,)), blobs(600)[0]
    seldom = torch.cat([torch.eye(40), torch.zeros(560, 40)])  # each in one row
    rows = torch.cat([x, seldom], dim=1)[
        torch.randperm(600, generator=torch.Generator().manual_seed(1))
    ]
    least, _ = learned(rows, space, components=1, shrinkage=0.0, floor=1e-6)
    found, _ = learned(rows, space, components=1, shrinkage=0.0)
    held = torch.cat([blobs(40, seed=9)[0], torch.eye(40)], dim=1)
    assert found.log_prob(held).mean() > least.log_prob(held).mean() + 10.0
    plain, _ = learned(x, components=1, shrinkage=0.0)
    exact, _ = learned(x, components=1, shrinkage=0.0, floor=1e-6)
    assert float((plain.log_prob(x) - exact.log_prob(x)).mean().abs()) < 1e-3


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
def test_the_likelihood_never_falls(covariance):
    x, _ = blobs(400, centres=((-1, 0), (1, 0), (0, 1)))
    fixed = {"components": 4, "shrinkage": 0.0, "floor": 1e-6, "tolerance": 0.0}
    _, objective = learned(x, **fixed, covariance=covariance, passes=40)
    assert len(objective) == 40
    assert all(b <= a + 1e-6 for a, b in itertools.pairwise(objective))  # rows are float32
    assert objective[-1] < objective[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_right_count_is_found(seed):
    x, _ = blobs(600, seed)
    model = GMM(Config(), PLANE)
    list(model.learn(Batches(x), rng=Draws(seed)))
    assert len(model.learned["mean"]) == 4
    fresh, _ = blobs(2000, seed + 100)
    centres = torch.tensor([[-4, 0], [4, 0], [0, 5], [0, -5]]).float()
    away = (fresh[:, None] - centres).square().sum(-1)
    truth = (-0.5 * away - math.log(2 * math.pi) - math.log(4)).logsumexp(dim=1)
    assert float((truth - model.log_prob(fresh)).mean()) < 0.03


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
def test_the_density_integrates_to_one(covariance):
    x, y = blobs(300)
    model, _ = learned(x, y=y % 3, conditions=LABELS, components=2, covariance=covariance)
    axis = torch.linspace(-12, 12, 241)
    grid = torch.cartesian_prod(axis, axis)
    for c in (None, labelled(torch.ones(len(grid), dtype=torch.int64))):
        assert float(model.log_prob(grid, c).double().exp().sum() * 0.01) == pytest.approx(
            1, abs=1e-4
        )


def test_without_a_label_the_density_is_the_exact_marginal():
    x, y = blobs(400)
    y = y.clamp(max=2)
    model, _ = learned(x, y=y, conditions=LABELS, components=1)
    each = torch.stack([model.log_prob(x, labelled(torch.full_like(y, k))) for k in range(3)])
    share = torch.bincount(y).double().log() - math.log(len(y))
    assert torch.allclose(
        (each + share[:, None]).logsumexp(0).float(), model.log_prob(x), atol=1e-5
    )


def test_samples_have_the_moments_and_follow_labels():
    x, y = blobs(1200)
    y = y.clamp(max=2)
    model, _ = learned(x, y=y, conditions=LABELS)
    for k in range(3):
        s = model.sample(4000, labelled(torch.full((4000,), k)), rng=Draws(5))
        assert torch.allclose(s.mean(0), x[y == k].mean(0), atol=0.2)
        assert torch.allclose(s.T.cov(), x[y == k].T.cov(), atol=0.6)
    cold = model.sample(500, rng=Draws(5), controls=Controls(temperature=0.01))
    assert float((cold[:, None] - model.learned["mean"]).norm(dim=-1).min(1).values.max()) < 0.2


def test_a_sample_does_not_depend_on_the_batch():
    x, _ = blobs(200)
    model, _ = learned(x, components=3)
    whole = model.sample(10, rng=Draws(1))
    assert torch.allclose(whole[6:], model.sample(4, rng=Draws(1, start=6)))


def test_log_mass_of_cells_is_a_bound_that_tightens():
    space = Continuous(shape=(2,), low=-8.0, high=8.0, step=0.5)
    x = space.quantise(blobs(500)[0])
    model, _ = learned(x, space, components=4)
    one, many = (float(model.log_prob(x, draws=draws).mean()) for draws in (1, 50))
    axis = torch.arange(-8, 8.5, 0.5)
    total = model.log_prob(torch.cartesian_prod(axis, axis), draws=50).double().exp().sum()
    assert one < many
    assert float(total) == pytest.approx(1, abs=0.02)
    x[:] = 0.0
    constant, _ = learned(x, space, components=1)
    deviation = float(constant.learned["factor"][0, 0, 0])
    assert deviation == pytest.approx(0.5 / math.sqrt(12), rel=0.1)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
def test_completion_is_the_exact_conditional(covariance):
    noise = Draws(0).normal(2000, 3)
    x = noise @ torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.6, 0.5], [0.0, 0.0, 1.0]])
    model, _ = learned(x, Continuous(shape=(3,)), components=1, covariance=covariance)
    given = torch.tensor([[1.5, math.nan, math.nan]]).expand(6000, 3)
    known = torch.tensor([[True, False, False]]).expand(6000, 3)
    full = model.complete(given, known, rng=Draws(2)).double()
    mean, factor = model.learned["mean"][0], model.learned["factor"][0]
    cov = factor.diag().square() if factor.dim() == 1 else factor @ factor.T
    expected = mean[1:] + cov[1:, 0] / cov[0, 0] * (1.5 - mean[0])
    within = cov[1:, 1:] - cov[1:, :1] @ cov[:1, 1:] / cov[0, 0]
    assert bool((full[:, 0] == 1.5).all())
    assert torch.allclose(full[:, 1:].mean(0), expected, atol=0.06)
    assert torch.allclose(full[:, 1:].T.cov(), within, atol=0.08)


def test_completion_weighs_components_and_keeps_what_is_known():
    x, _ = blobs(800, centres=((-5, -5), (5, 5)))
    model, _ = learned(x, components=2)
    given = torch.tensor([[-5.0, 0.0], [5.0, 0.0], [0.3, 0.7], [0.0, 0.0]])
    known = torch.tensor([[True, False], [True, False], [True, True], [False, False]])
    full = model.complete(given, known, rng=Draws(0))
    assert float(full[0, 1]) < -1
    assert float(full[1, 1]) > 1
    assert torch.equal(full[2], given[2])
    part = model.complete(given[1:], known[1:], rng=Draws(0, start=1))
    assert torch.allclose(full[1:], part, atol=1e-5)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 2),
        torch.zeros(30, 2),
        torch.ones(40, 2) * torch.arange(40)[:, None],
        torch.tensor([[0.0, 7.0], [1.0, 7.0]]).repeat(20, 1),
    ],
    ids=["one row", "duplicates", "singular", "constant column"],
)
def test_poor_data_give_a_finite_model(x, covariance):
    for settings in ({}, {"components": 5, "shrinkage": 0.0}):
        model, objective = learned(x, covariance=covariance, **settings)
        assert all(math.isfinite(value) for value in objective)
        assert torch.isfinite(model.log_prob(x)).all()
        assert torch.isfinite(model.sample(20, rng=Draws(0))).all()


def test_it_is_usable_after_every_pass_and_loads_what_it_saved():
    x, y = blobs(300)
    x = PICTURE.quantise(torch.cat([x] * 6, dim=1).reshape(-1, 1, 3, 4) / 4)
    y = y.clamp(max=2)
    model = GMM(Config(), PICTURE, LABELS)
    for _ in model.learn(Batches(x, y), rng=Draws(0)):
        PICTURE.check(model.sample(2, labelled(torch.tensor([0, 2])), rng=Draws(0)))
    again = GMM(Config(), PICTURE, LABELS)
    again.load_state_dict(model.state_dict())
    assert torch.equal(model.sample(5, rng=Draws(1)), again.sample(5, rng=Draws(1)))
    assert torch.equal(model.log_prob(x[:5]), again.log_prob(x[:5]))
    twin = GMM(Config(), PICTURE, LABELS)
    list(twin.learn(Batches(x, y), rng=Draws(0)))
    assert torch.equal(twin.learned["mean"], model.learned["mean"])


def test_a_label_of_one_row_and_one_never_met_do_no_harm():
    x, y = blobs(200)
    y = torch.zeros_like(y)
    y[7] = 1
    model, _ = learned(x, y=y, conditions=LABELS)
    for k in range(3):
        c = labelled(torch.full((5,), k))
        assert torch.isfinite(model.log_prob(x[:5], c)).all()
        assert torch.isfinite(model.sample(5, c, rng=Draws(0))).all()
    unseen = labelled(torch.full((5,), 2))
    assert torch.equal(model.log_prob(x[:5], unseen), model.log_prob(x[:5]))


def test_wrong_uses_are_said_in_words():
    with pytest.raises(UsageError, match="has learned nothing yet"):
        GMM(Config(), PLANE).sample(1, rng=Draws(0))
    large = Continuous(shape=(3, 64, 64), low=-1.0, high=1.0, step=2 / 255)
    with pytest.raises(UsageError, match="12288 numbers must be 'diag'; got 'full'"):
        GMM(Config(), large)
    assert GMM.preset("xs", large, ()).covariance == "diag"
    with pytest.raises(DataError, match="at least 1; got 0"):
        learned(torch.zeros(0, 2))
