"""The audit: it holds what must be held, passes what must pass, and says when it cannot tell."""

import pytest
import torch

from likewise.auditing.copying import COPYING, closest
from likewise.auditing.labels import DROPPED_CLASSES, LABEL_SHARES
from likewise.auditing.rule import Effect, Material, Rule
from likewise.auditing.rules import RULES, audit
from likewise.auditing.variety import COLLAPSE
from likewise.core.condition import Labels
from likewise.core.results import verdict
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.evaluation.features import FeatureSet
from likewise.train.job import Job
from likewise.train.loop import Trainer
from tests.toys import ToySource

SPACE = Continuous(shape=(4,))
NAMES = tuple("abcde")
LEVEL = 0.9875


def points(n, start, shares=None):
    """n points around five corners, and which corner."""
    rng = Draws(11, start)
    logits = torch.zeros(n, 5) if shares is None else torch.tensor(shares).log().expand(n, -1)
    label = rng.categorical(logits)
    corners = 7.0 * torch.nn.functional.one_hot(label, 5)[:, :4].float()
    return corners + rng.normal(n, 4), label


def fit(trainable, source, *, steps, batch, seed):
    Trainer(trainable, source, Job(name="features", steps=steps, batch=batch, seed=seed)).run()


@pytest.fixture(scope="module")
def material():
    train, labels = points(1500, 0)
    c = {"label": (labels, torch.ones(len(labels), dtype=torch.bool))}
    conditions = (Labels(names=NAMES),)
    source = ToySource(train, c, SPACE, conditions)
    features = FeatureSet.train(source, SPACE, conditions, fit=fit, seed=0, n_eval=300, steps=200)
    return Material(
        samples=points(1000, 40_000)[0],
        train=train,
        valid=points(300, 20_000)[0],
        test=points(300, 30_000)[0],
        features=features,
        labels=labels,
        names=NAMES,
    )


def judged(material, **changes):
    from dataclasses import replace

    return {finding.rule: finding for finding in audit(replace(material, **changes))}


def test_an_honest_generator_is_released(material):
    found = judged(material)
    assert {name: finding.outcome for name, finding in found.items()} == {
        rule.name: "pass" for rule in RULES
    }
    assert verdict(found.values()) == "release"
    for finding in found.values():
        assert finding.controls == {"positive": "fail", "negative": "pass"}
        assert finding.low <= finding.effect <= finding.high or finding.effect == 0


def test_a_copier_is_held(material):
    found = judged(material, samples=material.train[:1000] + 0.001)
    assert found["copying"].outcome == "fail"
    assert verdict(found.values()) == "hold"


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_copying_a_part_of_the_samples_is_held(material, share):
    samples = material.samples.clone()
    count = int(share * len(samples))
    samples[:count] = material.train[:count]
    assert judged(material, samples=samples)["copying"].outcome == "fail"


def test_smooth_samples_are_not_called_copies(material):
    """Samples near the middle of the data are near to train and to held-out records alike."""
    corners = material.samples - 0.5 * (material.samples - (material.samples > 3.5) * 7.0)
    assert judged(material, samples=corners)["copying"].outcome == "pass"


def test_the_closest_pairs_are_the_copies(material):
    from dataclasses import replace

    samples = material.samples.clone()
    samples[7] = material.train[42]
    rows, matches = closest(replace(material, samples=samples), 3)
    assert (int(rows[0]), int(matches[0])) == (7, 42)


def test_a_dropped_class_is_held(material):
    samples, _ = points(1000, 50_000, [0.25, 0.25, 0.25, 0.25, 1e-9])
    found = judged(material, samples=samples)
    assert found["dropped classes"].outcome == "fail"
    assert "'e'" in found["dropped classes"].sentence


def test_shifted_shares_are_held_and_slightly_shifted_ones_are_not(material):
    samples, _ = points(1000, 50_000, [0.6, 0.1, 0.1, 0.1, 0.1])
    assert judged(material, samples=samples)["label shares"].outcome == "fail"
    samples, _ = points(1000, 50_000, [0.22, 0.2, 0.2, 0.2, 0.18])
    assert judged(material, samples=samples)["label shares"].outcome != "fail"


def test_a_collapsed_generator_is_held(material):
    few = material.samples[:5]
    assert judged(material, samples=few.repeat(200, 1))["collapse"].outcome == "fail"


def test_few_samples_are_unknown_and_never_a_pass(material):
    found = judged(material, samples=material.samples[:20])
    assert {finding.outcome for finding in found.values()} == {"unknown"}
    assert "at least 50 samples" in found["copying"].sentence
    assert verdict(found.values()) == "unknown"


def test_without_labels_the_label_rules_are_silent(material):
    bare = FeatureSet(
        SPACE, {k: v for k, v in material.features.nets.items() if k != "classifier"}
    )
    assert set(judged(material, features=bare, labels=None, names=())) == {"copying", "collapse"}


def test_a_rule_whose_controls_go_wrong_says_unknown(material):
    def blind(_material, _level):
        return Effect(value=0, low=0, high=0, matters=0.1, sentence="Nothing.", n=9, evidence={})

    rule = Rule(name="blind", effect=blind, positive=lambda m: m, negative=lambda m: m)
    finding = rule.judge(material, LEVEL)
    assert finding.outcome == "unknown"
    assert "data that must fail came out 'pass'" in finding.sentence


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(0, 0.09, "pass"), (0.11, 1, "fail"), (0.05, 0.2, "unknown")]
)
def test_the_interval_decides(low, high, outcome):
    effect = Effect(value=low, low=low, high=high, matters=0.1, sentence="", n=1, evidence={})
    assert effect.outcome == outcome


def test_under_the_null_rules_seldom_fail(material):
    """Never-trained records, over and over: hardly ever a fail."""
    fails = 0
    for start in range(100_000, 180_000, 4000):
        from dataclasses import replace

        fresh = replace(material, samples=points(1000, start)[0])
        effects = [rule.effect(fresh, LEVEL) for rule in (COPYING, COLLAPSE, LABEL_SHARES)]
        fails += sum(effect.outcome == "fail" for effect in [*effects])
        fails += DROPPED_CLASSES.effect(fresh, LEVEL).outcome == "fail"
    assert fails == 0
