"""Scorecards: all Spaces, equal n, refusals with a reason, excess and ranking."""

import math
from dataclasses import replace

import pytest
import torch

from likewise.core.condition import Labels
from likewise.core.errors import UsageError
from likewise.core.results import Score
from likewise.core.rng import Draws, generator
from likewise.core.space import Categorical, Column, Continuous, Mixed, Sequence
from likewise.evaluation.features import FeatureSet
from likewise.evaluation.response import Response
from likewise.evaluation.scorecard import (
    Row,
    counted,
    dimensions_of,
    excess,
    rank,
    score_likelihood,
    score_samples,
    ties,
)

LABELS = Labels(names=("low", "high"))
SPACES = {
    "continuous": Continuous(shape=(1, 6, 6), low=-1.0, high=1.0, step=0.125),
    "categorical": Categorical(shape=(5,), categories=3),
    "sequence": Sequence(length=6, tokens=5, end=3, pad=4),
    "mixed": Mixed(columns=(Column(name="a"), Column(name="b", kind="category", categories=3))),
}
NAMES = {
    "fd_classifier",
    "kd_classifier",
    "fd_contrastive",
    "kd_contrastive",
    "fd_random",
    "kd_random",
    "fd_pca",
    "kd_pca",
    "precision",
    "recall",
    "density",
    "coverage",
    "inception_score",
}


def examples(space, n, seed=0, off=0.0):
    """Examples, moved away from the others by `off` in [0, 1], and their classes."""
    draw, y = generator(seed), torch.arange(n) % 2
    if isinstance(space, Continuous):
        noise = 0.3 * torch.randn(n, *space.shape, generator=draw)
        return space.quantise(noise + (y.view(-1, 1, 1, 1) - 0.5) * (1 - off)), y
    if isinstance(space, Mixed):
        b = torch.randint(0, 3, (n,), generator=draw) * (torch.rand(n, generator=draw) >= off)
        return torch.stack([torch.randn(n, generator=draw) + 2 * y + 3 * off, b.float()], dim=1), y
    x = torch.randint(0, 3, (n, *space.shape), generator=draw)
    x = x * (torch.rand(x.shape, generator=draw) >= off)
    if isinstance(space, Sequence):
        x[:, -1] = space.end
    return x, y


class Fixed:
    def __init__(self, space):
        self.space, self.conditions = space, (LABELS,)
        self.x, self.y = examples(space, 300)

    def __len__(self):
        return len(self.x)

    def batch(self, index, rng):
        return self.x[index], {"label": (self.y[index], torch.ones(len(index), dtype=torch.bool))}


def prepare_only(trainable, source, *, steps, batch, seed):
    trainable.prepare(source, rng=Draws(seed))


def made(space, conditions=(LABELS,)):
    source = Fixed(space)
    return FeatureSet.train(source, space, conditions, fit=prepare_only, seed=0, n_eval=80)


@pytest.fixture(params=SPACES, ids=str)
def space(request):
    return SPACES[request.param]


def test_all_scores_for_all_spaces(space):
    features = made(space)
    near, labels = examples(space, 120, seed=1)
    far, _ = examples(space, 120, seed=2, off=0.9)
    reference, _ = examples(space, 100, seed=3)
    good = score_samples(near, reference, features, n=80, labels=labels)
    bad = score_samples(far, reference, features, n=80)
    assert set(good) == NAMES | {"label_accuracy"}
    assert set(bad) == NAMES
    for name, score in good.items():
        assert score.value is not None, f"{name}: {score.why}"
        assert score.n == 80
        assert score.low <= score.value <= score.high
    for name in ("fd_random", "kd_random", "fd_pca", "kd_pca"):
        assert good[name].value < bad[name].value, name
    assert features.hashes["pca"][:12] in good["fd_pca"].how
    assert features.hashes["classifier"][:12] in good["coverage"].how


def test_scores_say_what_their_features_do_not_respond_to():
    space = SPACES["continuous"]
    features = made(space)
    steps = {"strengths": (0.0, 1.0), "distances": (1.0, 0.5)}
    features.responses = (
        Response(net="pca", corruption="blur", **steps),
        Response(net="pca", corruption="noise", **steps),
    )
    x, _ = examples(space, 160, seed=1)
    scores = score_samples(x[:80], x[80:], features, n=80)
    words = "did not rise step by step when real examples were made worse by blur and by noise"
    assert words in scores["fd_pca"].how
    assert "made worse" not in scores["fd_random"].how


def test_without_a_classifier_the_contrastive_net_carries_the_manifold():
    space = SPACES["continuous"]
    features = made(space, ())
    x, y = examples(space, 100, seed=1)
    scores = score_samples(x[:50], x[50:], features, n=50, labels=y[:50])
    assert set(scores) == {n for n in NAMES if "classifier" not in n and n != "inception_score"}
    assert "contrastive features" in scores["precision"].how


def test_same_examples_for_every_row_and_the_same_bits():
    space = SPACES["mixed"]
    features = made(space)
    x, _ = examples(space, 100, seed=1)
    reference, _ = examples(space, 100, seed=2)
    first = score_samples(x, reference, features, n=60)
    assert score_samples(x, reference, features, n=60) == first
    assert score_samples(x, reference, features, n=60, seed=1) != first
    order = torch.randperm(100, generator=generator(0))
    whole = score_samples(x, reference, features, n=100)["fd_pca"].value
    shuffled = score_samples(x[order], reference, features, n=100)["fd_pca"].value
    assert shuffled == pytest.approx(whole, rel=1e-6)


def test_what_cannot_be_measured_says_why(space):
    features = made(space)
    x, _ = examples(space, 100, seed=1)
    few = score_samples(x[:30], x, features, n=50)
    assert set(few) == NAMES
    for score in few.values():
        assert score.value is None
        assert "50 generated examples at once, and there are only 30" in score.why
    small = score_samples(x, x, features, n=12)
    assert "at least 20 examples over 10 features; got 12" in small["fd_pca"].why
    assert all(score.value is None for score in small.values())


def test_broken_samples_are_refused_never_measured():
    space = SPACES["continuous"]
    features = made(space)
    reference, _ = examples(space, 80)
    broken = reference.clone()
    broken[3, 0, 2, 2] = math.nan
    for score in score_samples(broken, reference, features, n=80).values():
        assert score.value is None
        assert "must be finite" in score.why
    codes = SPACES["categorical"]
    x, _ = examples(codes, 80)
    scores = score_samples(x + 5, x, made(codes), n=80)
    assert all("must be in 0..2" in score.why for score in scores.values())


def test_wrong_calls_are_named():
    space = SPACES["categorical"]
    features, (x, y) = made(space), examples(space, 80)
    with pytest.raises(UsageError, match=r"one per sample \(80\); got 3"):
        score_samples(x, x, features, n=80, labels=y[:3])
    with pytest.raises(UsageError, match="n must be at least 1; got 0"):
        score_samples(x, x, features, n=0)


def test_likelihood_units():
    values = torch.full((40,), -36 * math.log(17.0))
    mass = score_likelihood(values, 36)
    assert (mass.value, mass.unit) == (pytest.approx(math.log2(17.0)), "bits/dim")
    density = score_likelihood(values, 36, comparable=False)
    assert (density.value, density.unit) == (pytest.approx(math.log(17.0)), "nats/dim")
    assert "not a code length" in density.how
    assert "upper bound" in score_likelihood(values, 36, bound=True).how
    values[0] = math.nan
    assert "1 of 40" in score_likelihood(values, 36).why


def test_which_spaces_count_and_in_how_many_dimensions(space):
    x, _ = examples(space, 3)
    assert counted(space) == (not isinstance(space, Mixed))
    expected = 36 if isinstance(space, Continuous) else space.dimensions
    assert torch.as_tensor(dimensions_of(space, x)).expand(3).tolist() == [expected] * 3


def test_sequences_are_as_long_as_their_end():
    space = SPACES["sequence"]
    x = torch.tensor([[3, 4, 4, 4, 4, 4], [0, 1, 3, 4, 4, 4]])
    assert dimensions_of(space, x).tolist() == [1, 3]


def test_mixed_counts_when_every_number_has_a_step():
    cents = Column(name="a", step=0.01)
    assert counted(Mixed(columns=(cents, SPACES["mixed"].columns[1])))


def scored(value, half=0.0, **changes):
    low, high = (value - half, value + half) if value is not None else (None, None)
    score = Score(value=value, low=low, high=high, unit="1", better="lower", n=9)
    return replace(score, **changes)


def test_excess():
    floor, independent = scored(0.2, 0.03), scored(2.2, 0.2)
    assert excess(floor, floor, independent).value == pytest.approx(0.0)
    assert excess(independent, floor, independent).value == pytest.approx(1.0)
    half_way = excess(scored(1.2, 0.1), floor, independent)
    assert half_way.value == pytest.approx(0.5)
    half = math.hypot(0.1, 0.5 * 0.03, 0.5 * 0.2) / 2.0
    assert (half_way.low, half_way.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert half_way.better == "lower"


def test_excess_interval_covers():
    draw, hits = generator(0), 0
    for _ in range(400):
        z = torch.randn(3, generator=draw).tolist()
        three = [
            scored(middle + error * noise, 1.96 * error)
            for middle, error, noise in zip((1.0, 0.2, 2.2), (0.1, 0.05, 0.2), z, strict=True)
        ]
        score = excess(*three)
        hits += score.low <= 0.4 <= score.high
    assert 0.91 < hits / 400 < 0.985


def test_excess_without_a_span_or_a_distance_says_why():
    assert "not measurably further" in excess(scored(1.0), scored(2.0), scored(1.0)).why
    assert "not measurably" in excess(scored(1.0), scored(1.0, 0.6), scored(1.5, 0.3)).why
    blank = scored(None, why="too few")
    assert "too few" in excess(scored(1.0), blank, scored(2.0)).why


def row(name, value, role="model", half=0.1, **changes):
    return Row(name=name, role=role, scores={"fd": scored(value, half, **changes)})


def test_rank_puts_models_first_and_controls_last():
    rows = [
        row("copier", 0.1, "control"),
        row("independent", 0.2, "baseline"),
        row("gan", 0.9),
        row("failed", None),
        row("flow", 0.3),
        Row(name="silent", role="model", scores={}),
    ]
    expected = ["flow", "gan", "failed", "silent", "independent", "copier"]
    assert rank(rows, "fd") == expected
    assert rank(reversed(rows), "fd") == expected


def test_rank_honours_the_direction():
    rows = [row("a", 1.0, better="higher"), row("b", 2.0, better="higher")]
    assert rank(rows, "fd") == ["b", "a"]


def test_overlapping_intervals_tie():
    rows = [row("a", 1.0), row("b", 1.15), row("c", 2.0), row("d", None)]
    assert ties(rows, "fd") == {"a": ("b",), "b": ("a",), "c": (), "d": ()}


def test_units_are_not_mixed():
    rows = [row("a", 1.0), row("b", 2.0, unit="nats/dim")]
    with pytest.raises(UsageError, match="must be of one unit in all rows"):
        rank(rows, "fd")
