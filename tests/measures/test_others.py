"""Inception score, label accuracy, likelihood, and what every measure promises."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from likewise.core.rng import generator
from likewise.measures.inception import inception_score
from likewise.measures.labels import label_accuracy
from likewise.measures.likelihood import (
    bits_per_byte,
    bits_per_character,
    bits_per_dim,
    log_mean_exp,
    nats_per_dim,
    perplexity,
)
from likewise.measures.measure import catalogue


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_inception_score_of_sure_and_even_classes_is_their_number():
    assert inception_score(F.one_hot(torch.arange(80) % 8).double()).value == pytest.approx(8.0)
    assert inception_score(torch.full((80, 8), 1 / 8)).value == pytest.approx(1.0)
    one = F.one_hot(torch.zeros(80, dtype=torch.int64), 8).double()
    assert inception_score(one).value == pytest.approx(1.0)


def test_inception_score_against_its_definition():
    p = normal(200, 5).softmax(dim=1)
    q = p.mean(dim=0)
    expected = float((p * (p / q).log()).sum(dim=1).mean().exp())
    score = inception_score(p)
    assert score.value == pytest.approx(expected)
    assert 1.0 <= score.low < score.value < score.high <= 5.0


def test_label_accuracy():
    p = F.one_hot(torch.arange(40) % 4).double()
    asked = torch.arange(40) % 4
    assert label_accuracy(p, labels=asked).value == 1.0
    assert label_accuracy(p, labels=(asked + (asked == 0).long())).value == 0.75
    assert "3 labels for 40 samples" in label_accuracy(p, labels=asked[:3]).why


def test_bits_of_a_uniform_over_256_levels_are_8():
    values = torch.full((50,), -12 * math.log(256))
    score = bits_per_dim(values, dimensions=12)
    assert score.value == pytest.approx(8.0)
    assert (score.low, score.high) == pytest.approx((8.0, 8.0))
    assert nats_per_dim(values, dimensions=12).value == pytest.approx(math.log(256))


def test_bits_interval_is_students():
    from likewise.measures.intervals import mean_interval

    values = normal(80) - 20
    score = bits_per_dim(values, dimensions=10)
    expected = mean_interval(-values / 10 / math.log(2))
    assert (score.low, score.high) == pytest.approx(expected)


def test_lengths_are_summed_not_averaged_and_the_interval_covers():
    """Sequences of length m with m + noise nats: 1 nat a token however long they are."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        lengths = torch.from_numpy(rng.integers(1, 40, size=60))
        nats = lengths + torch.from_numpy(rng.normal(size=60))
        score = nats_per_dim(-nats, dimensions=lengths)
        assert score.value == pytest.approx(float(nats.sum() / lengths.sum()))
        hits += score.low <= 1.0 <= score.high
    assert 0.91 < hits / 300 < 0.985


def test_probability_zero_is_said_not_counted():
    values = torch.tensor([-1.0, -math.inf, -2.0])
    assert "1 of 3 held-out examples have probability 0" in bits_per_dim(values, dimensions=2).why


def test_log_mean_exp():
    values = normal(7, 5)
    expected = values.exp().mean(dim=1).log()
    assert torch.allclose(log_mean_exp(values, dim=1), expected)
    assert float(log_mean_exp(torch.full((3,), -5000.0))) == pytest.approx(-5000.0)


INPUTS = {
    "features": lambda: (normal(200, 4), normal(200, 4, seed=1)),
    "probabilities": lambda: (normal(200, 4).softmax(dim=1),),
    "log_probs": lambda: (normal(200) - 9,),
}
OPTIONS = {
    **{
        name: {"dimensions": 3}
        for name in ("bits_per_byte", "bits_per_character", "bits_per_dim", "nats_per_dim")
    },
    "perplexity": {"dimensions": 3},
    "label_accuracy": {"labels": torch.arange(200) % 4},
}
MEASURES = sorted(catalogue().values(), key=lambda measure: measure.name)


@pytest.fixture(params=MEASURES, ids=lambda measure: measure.name)
def measure(request):
    return request.param


def test_catalogue_knows_all():
    assert {m.name for m in MEASURES} == {
        "bits_per_byte",
        "bits_per_character",
        "bits_per_dim",
        "coverage",
        "density",
        "frechet_distance",
        "inception_score",
        "kernel_distance",
        "label_accuracy",
        "nats_per_dim",
        "perplexity",
        "precision",
        "recall",
    }


def test_every_measure_says_what_it_is(measure):
    score = measure(*INPUTS[measure.kind](), **OPTIONS.get(measure.name, {}))
    assert score.value is not None, score.why
    assert score.low <= score.value <= score.high
    assert (score.unit, score.better, score.n) == (measure.unit, measure.better, 200)
    assert score.how
    assert "Rewards" in measure.__doc__ or "Comparable" in measure.__doc__
    assert measure.minimum(4) >= 2


def test_every_measure_refuses_nan(measure):
    for place in range(len(INPUTS[measure.kind]())):
        inputs = INPUTS[measure.kind]()
        inputs[place].view(-1)[5] = math.nan
        score = measure(*inputs, **OPTIONS.get(measure.name, {}))
        assert score.value is None
        assert score.low is None
        assert score.why


def test_every_measure_refuses_too_few(measure):
    few = measure.minimum(4 if measure.kind != "log_probs" else 1) - 1
    inputs = [x[:few] for x in INPUTS[measure.kind]()]
    score = measure(*inputs, **OPTIONS.get(measure.name, {}))
    assert score.value is None
    assert f"got {few}." in score.why


def test_wrong_shapes_are_refused(measure):
    inputs = [x[:, None, None] for x in INPUTS[measure.kind]()]
    assert "must be (n" in measure(*inputs, **OPTIONS.get(measure.name, {})).why


def test_unequal_widths_and_bad_probabilities_are_refused():
    widths = catalogue()["precision"](normal(50, 3), normal(50, 4))
    assert "equally many features; got [3, 4]" in widths.why
    assert "sum to 1" in inception_score(torch.full((80, 8), 0.5)).why


def test_bits_per_byte_and_perplexity_are_what_their_formulas_say():
    nats, sizes = torch.tensor([-3.0, -9.0, -1.0]), torch.tensor([2.0, 5.0, 1.0])
    assert bits_per_byte(nats, dimensions=sizes).value == pytest.approx(13 / 8 / math.log(2))
    assert bits_per_character(nats, dimensions=sizes).value == pytest.approx(13 / 8 / math.log(2))
    score = perplexity(nats, dimensions=sizes)
    assert score.value == pytest.approx(math.exp(13 / 8))
    assert score.low < score.value < score.high


def test_a_uniform_model_of_k_tokens_has_perplexity_k_and_8_bits_a_byte():
    tokens = torch.tensor([4.0, 7.0, 2.0])
    score = perplexity(-tokens * math.log(256), dimensions=tokens)
    assert score.value == pytest.approx(256)
    assert bits_per_byte(-tokens * math.log(256), dimensions=tokens).value == pytest.approx(8)
