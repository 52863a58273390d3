"""Precision, recall, density and coverage against plain definitions; nearest neighbours."""

import numpy as np
import pytest
import torch

from likewise.core.errors import UsageError
from likewise.core.rng import generator
from likewise.measures import nearest as room
from likewise.measures.manifold import Balls, coverage, density, precision, recall
from likewise.measures.measure import RefusalError
from likewise.measures.nearest import inside, nearest, radii


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def definition(fake, real, k=5):
    """Naeem et al. 2020, equations 1 to 4, written out."""

    def distances(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radius(x):
        return np.sort(distances(x, x), axis=1)[:, k]

    cross = distances(fake, real)
    inside_real = cross < radius(real)[None, :]
    inside_fake = cross < radius(fake)[:, None]
    return {
        "precision": inside_real.any(axis=1).mean(),
        "recall": inside_fake.any(axis=0).mean(),
        "density": inside_real.sum(axis=1).mean() / k,
        "coverage": (cross.min(axis=0) < radius(real)).mean(),
    }


@pytest.mark.parametrize("shift", [0.0, 0.7])
@pytest.mark.parametrize("entries", [1 << 22, 700])
def test_equal_their_definitions_in_any_chunks(shift, entries, monkeypatch):
    monkeypatch.setattr(room, "_ENTRIES", entries)
    monkeypatch.setattr(room, "_FEWEST", 1)
    fake, real = 0.8 * normal(90, 4) + shift, normal(90, 4, 1)
    expected, balls = definition(fake.numpy(), real.numpy()), Balls(fake, real)
    for measure in (precision, recall, density, coverage):
        score = measure(fake, real)
        assert measure(fake, real, balls=balls) == score
        assert score.value == pytest.approx(expected[measure.name], abs=1e-12)
        assert score.low <= score.value <= score.high


def test_nulls():
    """Real against real: coverage 1 - 2^-k, density 1."""
    pairs = [(normal(400, 6, 2 * i), normal(400, 6, 2 * i + 1)) for i in range(10)]
    assert np.mean([coverage(a, b).value for a, b in pairs]) == pytest.approx(1 - 2**-5, abs=0.01)
    assert np.mean([density(a, b).value for a, b in pairs]) == pytest.approx(1.0, abs=0.05)


def test_a_lost_mode_costs_recall_and_coverage_alone():
    real = torch.cat([normal(200, 3), normal(200, 3, 1) + 20.0])
    fake = normal(400, 3, 2)
    assert precision(fake, real).value > 0.85
    assert recall(fake, real).value < 0.55
    assert coverage(fake, real).value < 0.55


def test_a_point_at_the_very_radius_is_outside():
    line = torch.arange(40.0)[:, None]
    radius = torch.full((40,), 3.0)  # of inner points; those at the ends must look further
    radius[[0, 39]], radius[[1, 38]] = 5.0, 4.0
    assert torch.equal(radii(line, 5), radius.double())
    inside = (line - line.T).abs() < radius
    assert density(line, line).value == pytest.approx(float(inside.sum()) / 40 / 5)
    apart = torch.full((40, 1), 39.0 + 5.0)  # as far from the last point as its radius
    assert precision(apart, line).value == 0.0
    assert coverage(apart, line).value == 0.0
    assert precision(apart - 0.01, line).value == 1.0


def test_copies_are_not_seen():
    x = normal(100, 4)
    assert precision(x, x).value == recall(x, x).value == coverage(x, x).value == 1.0


def test_nearest_against_all_distances():
    a, b = normal(50, 7), normal(80, 7, 1)
    every = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    distances, rows = nearest(a, b, k=3)
    assert torch.allclose(distances, every.sort(dim=1).values[:, :3], atol=1e-12)
    assert torch.equal(rows, every.argsort(dim=1)[:, :3])


@pytest.mark.parametrize("entries", [1 << 22, 300])
def test_nearest_leaves_out_the_row_itself_but_not_its_copy(entries, monkeypatch):
    monkeypatch.setattr(room, "_ENTRIES", entries)
    monkeypatch.setattr(room, "_FEWEST", 1)
    x = 1000.0 + normal(60, 5)
    x[7] = x[41]
    distances, rows = nearest(x, x, exclude_self=True)
    assert distances[7, 0] == distances[41, 0] == 0.0
    assert (rows[7, 0], rows[41, 0]) == (41, 7)
    assert bool((rows[:, 0] != torch.arange(60)).all())
    assert torch.allclose(distances[:, 0], radii(x, 1), atol=1e-9)
    copies, _ = nearest(x, x)
    assert bool((copies == 0).all())


def test_nearest_teaches():
    x = normal(3, 2)
    with pytest.raises(UsageError, match="enough for 3 neighbours each; got 3"):
        nearest(x, x, k=3, exclude_self=True)
    with pytest.raises(UsageError, match="of one width"):
        nearest(x, normal(3, 4))
    with pytest.raises(UsageError, match="the same rows"):
        nearest(x, normal(4, 2), exclude_self=True)


def every(a, b):
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def grid(n, seed):
    """Whole numbers, so that many distances are equal and many lie on a radius."""
    return torch.randint(0, 4, (n, 3), generator=generator(seed)).double()


def islands(n, seed):
    """Close together on islands so far apart that float32 cannot tell their rows apart."""
    where = torch.randint(0, 40, (n,), generator=generator(seed))
    return 1e5 * normal(40, 6, 99)[where] + normal(n, 6, seed)


CASES = {
    "normal": lambda n, seed: normal(n, 8, seed),
    "single": lambda n, seed: normal(n, 8, seed).float(),
    "shifted": lambda n, seed: 1e6 + normal(n, 8, seed),
    "large": lambda n, seed: 1e30 * normal(n, 8, seed),
    "tiny": lambda n, seed: 1e-30 * normal(n, 8, seed),
    "grid": grid,
    "islands": islands,
    "collapsed": lambda n, seed: torch.ones(n, 3),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [60, 700])
@pytest.mark.parametrize("entries", [1 << 22, 30_000])
def test_the_screened_numbers_are_those_of_all_differences(case, n, entries, monkeypatch):
    monkeypatch.setattr(room, "_ENTRIES", entries)
    monkeypatch.setattr(room, "_FEWEST", 1)
    a, b = CASES[case](n, 1), CASES[case](n, 2)
    own, cross = every(b, b), every(a, b)
    radius = radii(b, 5)
    assert torch.equal(radius, own.sort(dim=1).values[:, 5])
    distances, rows = nearest(a, b, k=4)
    assert torch.equal(distances, cross.sort(dim=1).values[:, :4])
    assert torch.equal(cross.gather(1, rows), distances)
    assert bool((rows.sort(dim=1).values.diff(dim=1) > 0).all())
    held, holds = inside(a, b, radius)
    assert torch.equal(held, (cross < radius).sum(dim=1))
    assert torch.equal(holds, (cross < radius).sum(dim=0))


def test_screening_leaves_little_open(monkeypatch):
    """It is fast because few pairs need their differences."""
    asked = []
    monkeypatch.setattr(room, "_cdist", lambda a, b: asked.append(len(a)) or every(a, b))
    x = normal(2000, 16)
    inside(x, x, radii(x, 5))
    assert sum(asked) < 2000 * 20


def test_distances_that_are_no_numbers_are_refused():
    x = normal(30, 2)
    x[3, 1] = torch.nan
    for bad in (x, 1e200 * normal(30, 2)):
        with pytest.raises(RefusalError, match="so large that their distances overflow"):
            nearest(bad, normal(30, 2))
    assert "overflow" in precision(1e200 * normal(30, 2), normal(30, 2)).why
