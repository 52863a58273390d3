"""The audit: it holds what must be held, passes what must pass, and says when it cannot tell."""

from dataclasses import replace

import pytest
import torch

from likewise.auditing.copying import COPYING, closest
from likewise.auditing.labels import DROPPED_CLASSES, LABEL_SHARES
from likewise.auditing.membership import BY_DISTANCE
from likewise.auditing.rule import Effect, Rule
from likewise.auditing.rules import RULES, left_out
from likewise.auditing.variety import COLLAPSE, REPEATS
from likewise.core.results import verdict
from likewise.core.rng import Draws
from tests.auditing.corners import LEVEL, judged, points


def test_an_honest_generator_is_released(material):
    found = judged(material)
    assert {name: finding.outcome for name, finding in found.items()} == {
        **{rule.name: "pass" for rule in RULES},
        "shares of side": "pass",
    }
    assert verdict(found.values()) == "release"
    for finding in found.values():
        assert finding.controls == {"positive": "fail", "negative": "pass"}
        assert finding.low <= finding.effect <= finding.high or finding.effect == 0


def test_a_copier_is_held(material):
    found = judged(material, samples=material.reference.train[:1000] + 0.001)
    assert found["copying"].outcome == "fail"
    assert verdict(found.values()) == "hold"


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_copying_a_part_of_the_samples_is_held(material, share):
    samples = material.samples.clone()
    count = int(share * len(samples))
    samples[:count] = material.reference.train[:count]
    assert judged(material, samples=samples)["copying"].outcome == "fail"


def test_smooth_samples_are_not_called_copies(material):
    """Samples near the middle of the data are near to train and to held-out records alike."""
    corners = material.samples - 0.5 * (material.samples - (material.samples > 3.5) * 7.0)
    assert judged(material, samples=corners)["copying"].outcome == "pass"


def few_values(material, samples):
    """Records that are different points of a grid, as names are different words."""
    grid = torch.cartesian_prod(*[torch.arange(10.0)] * 4)[Draws(3).uniform(10_000).argsort()]
    real = replace(
        material.reference, train=grid[:5000], valid=grid[5000:6000], test=grid[6000:7000]
    )
    return COPYING.judge(replace(material, reference=real, samples=samples(grid)), LEVEL)


def test_meeting_records_by_chance_is_no_copying(material):
    rows = Draws(4).integers(10_000, 2000)
    found = few_values(material, lambda grid: grid[rows])
    assert found.evidence["near_copies"] > 800
    assert found.outcome == "pass"
    assert "times fewer of which there are" in found.sentence


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_meeting_training_records_more_often_than_by_chance_is_copying(material, share):
    rows = Draws(4).integers(10_000, 2000)
    rows[: int(share * 2000)] %= 5000  # of train alone
    assert few_values(material, lambda grid: grid[rows]).outcome == "fail"


def with_repeats(material):
    """As answers are: many are one of twenty, and some held-out ones equal one of train alone."""
    real, common = material.reference, points(20, 900_000)[0]

    def mixed(records):
        records = records.clone()
        rows = torch.arange(0, len(records), 10)
        records[rows] = common[rows // 10 % 20]
        return records

    half = {"train": mixed(real.train), "valid": mixed(real.valid), "test": mixed(real.test)}
    half["valid"][1:5], half["test"][1:5] = half["train"][1:5], half["train"][5:9]
    return replace(material, reference=replace(real, **half), samples=mixed(material.samples))


def test_where_records_are_often_equal_equal_samples_are_counted(material):
    """A hundredth of never-trained records is at no distance from train: nothing is nearer."""
    honest = with_repeats(material)
    found = COPYING.judge(honest, LEVEL)
    assert found.evidence["ratio_below"] == 0.0
    assert found.controls["positive"] == "fail"
    assert found.outcome == "pass"
    assert "samples equal a training record" in found.sentence
    copier = replace(honest, samples=honest.reference.train[:1000])
    assert COPYING.judge(copier, LEVEL).outcome == "fail"


def test_the_closest_pairs_are_the_copies(material):
    samples = material.samples.clone()
    samples[7] = material.reference.train[42]
    pairs = closest(replace(material, samples=samples), 3)
    assert (int(pairs.samples[0]), int(pairs.train[0])) == (7, 42)
    assert float(pairs.to_train[0]) == float(pairs.ratio[0]) == 0.0
    assert bool((pairs.ratio.diff() >= 0).all())
    apart = samples[pairs.samples] - material.reference.train[pairs.train]
    assert torch.allclose(pairs.to_train, apart.norm(dim=1).double(), atol=1e-5)


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
    found = judged(material, samples=few.repeat(200, 1))
    assert found["collapse"].outcome == "fail"
    assert found["repeats"].outcome == "fail"


def test_few_samples_are_unknown_and_never_a_pass(material):
    found = judged(material, samples=material.samples[:20])
    assert {finding.outcome for finding in found.values()} == {"unknown"}
    assert "at least 50 samples" in found["copying"].sentence
    assert verdict(found.values()) == "unknown"


def test_without_labels_the_label_rules_are_silent(material):
    bare = replace(material, reference=replace(material.reference, label=None, groups=()))
    assert left_out(bare) == {
        "dropped classes": "the data has no labels",
        "label shares": "the data has no labels",
    }
    assert not {"dropped classes", "label shares"} & set(judged(bare))


def test_a_rule_whose_controls_go_wrong_says_unknown(material):
    def blind(_material, _level):
        return Effect(value=0, low=0, high=0, matters=0.1, sentence="Nothing.", n=9, evidence={})

    rule = Rule(name="blind", effect=blind, positive=lambda m: m, negative=lambda m: m)
    finding = rule.judge(material, LEVEL)
    assert finding.outcome == "unknown"
    assert "data that must fail came out 'pass'" in finding.sentence


def ruled(material, found, negative, **more):
    """What a rule says whose effect and whose negative control have these intervals."""

    def effect(ends, _level):
        low, high = ends if isinstance(ends, tuple) else found
        return Effect(value=low, low=low, high=high, matters=0.1, sentence="S.", n=9, evidence={})

    rule = Rule(
        name="told",
        effect=effect,
        positive=lambda m: (0.9, 1.0),
        negative=lambda m: negative,
        shared=False,
        **more,
    )
    return rule.judge(material, LEVEL)


@pytest.mark.parametrize(
    ("found", "negative", "outcome", "words"),
    [
        ((0.5, 0.9), (0.0, 0.05), "fail", ""),
        ((0.5, 0.9), (0.0, 0.6), "fail", "to show that the rule passes where nothing was learned"),
        ((0.0, 0.05), (0.0, 0.6), "unknown", "Too few records were held out to show that"),
        ((0.0, 0.2), (0.0, 0.6), "unknown", "Too few records were held out to show that"),
        ((0.5, 0.9), (0.2, 0.4), "fail", "Records that were never trained on fail too, with 0.4"),
        ((0.5, 0.9), (0.2, 0.6), "unknown", "data that must pass came out 'fail'"),
        ((0.0, 0.05), (0.2, 0.4), "unknown", "data that must pass came out 'fail'"),
    ],
)
def test_a_control_that_is_unsure_stands_in_the_way_of_a_pass_only(
    material, found, negative, outcome, words
):
    finding = ruled(material, found, negative)
    assert finding.outcome == outcome
    assert finding.sentence.startswith("S.")
    assert words in finding.sentence
    assert bool(words) == (finding.sentence != "S.")


def test_a_doubt_takes_a_fail_and_a_bar_takes_a_pass(material):
    sure, far = (0.0, 0.05), (0.5, 0.9)
    more = {"doubt": lambda m: "Doubt.", "bar": lambda m: "Bar."}
    for found, words in ((sure, "S. Bar."), (far, "S. Doubt.")):
        finding = ruled(material, found, sure, **more)
        assert (finding.outcome, finding.sentence) == ("unknown", words)


def test_few_held_out_records_take_no_copier_its_fail(material):
    few = {name: getattr(material.reference, name)[:60] for name in ("valid", "test")}
    real = replace(material.reference, **few)
    finding = COPYING.judge(replace(material, reference=real, samples=real.train[:1000]), LEVEL)
    assert finding.outcome == "fail"
    assert finding.controls == {"positive": "fail", "negative": "unknown"}


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(0, 0.09, "pass"), (0.11, 1, "fail"), (0.05, 0.2, "unknown")]
)
def test_the_interval_decides(low, high, outcome):
    effect = Effect(value=low, low=low, high=high, matters=0.1, sentence="", n=1, evidence={})
    assert effect.outcome == outcome


def test_under_the_null_rules_seldom_fail(material):
    """Never-trained records, over and over: hardly ever a fail."""
    rules = (COPYING, COLLAPSE, LABEL_SHARES, DROPPED_CLASSES, BY_DISTANCE, REPEATS)
    fails = 0
    for start in range(100_000, 180_000, 4000):
        fresh = replace(material, samples=points(1000, start)[0])
        fails += sum(rule.effect(fresh, LEVEL).outcome == "fail" for rule in rules)
    assert fails == 0


# -- repeats ------------------------------------------------------------------------------


@pytest.mark.parametrize(("different", "outcome"), [(200, "fail"), (40_000, "pass")])
def test_a_generator_of_few_examples_is_held(material, different, outcome):
    pool = points(different, 700_000)[0]
    rows = torch.randint(different, (1000,), generator=torch.Generator().manual_seed(1))
    finding = judged(material, samples=pool[rows])["repeats"]
    assert finding.outcome == outcome
    at_most = finding.evidence["at_most"] or 10**9
    assert finding.evidence["at_least"] <= different <= at_most


def test_repeats_say_how_many_there_are(material):
    samples = material.samples.clone()
    samples[:2] = samples[2:4]
    found = judged(material, samples=samples)["repeats"]
    assert found.evidence["near_duplicate_pairs"] >= 2
    assert "pairs are near-duplicates, as if about" in found.sentence
    apart = 100.0 * torch.arange(1000.0)[:, None].expand(-1, 4)
    found = judged(material, samples=apart)["repeats"]
    assert found.sentence.startswith("No two of 1000 samples are near-duplicates: at least")


def test_records_that_repeat_themselves_allow_samples_to(material):
    """Counted data: never-trained records have as many doubles as honest samples do."""

    def coarse(x):
        return (x / 2).round() * 2

    names = ("train", "valid", "test")
    real = {name: coarse(getattr(material.reference, name)) for name in names}
    finding = judged(material, reference=real, samples=coarse(material.samples))["repeats"]
    assert finding.evidence["near_duplicate_pairs"] > 500
    assert finding.outcome != "fail"
    assert finding.low < finding.effect < 0.5


# -- what depends on real records alone ---------------------------------------------------


def test_controls_of_real_records_run_once_for_all_families(material):
    calls = []

    def effect(material, _level):
        calls.append(len(material.samples))
        fails = len(material.samples) == 7
        low, high = (0.9, 1.0) if fails else (0.0, 0.0)
        return Effect(value=low, low=low, high=high, matters=0.5, sentence="", n=1, evidence={})

    rule = Rule(
        name="counted",
        effect=effect,
        positive=lambda m: replace(m, samples=m.samples[:7]),
        negative=lambda m: replace(m, samples=m.samples[:8]),
    )
    for _ in range(3):
        assert rule.judge(replace(material), LEVEL).outcome == "pass"
    assert calls == [1000, 7, 8, 1000, 1000]
    assert replace(rule, shared=False, name="alone").judge(material, LEVEL).outcome == "pass"
    assert calls[5:] == [1000, 7, 8]


def test_a_changed_reference_keeps_nothing_of_the_old_one(material):
    real = material.reference
    real.once("a", lambda: 1)
    half = replace(real, test=real.test[:0])
    assert half.once("a", lambda: 2) == 2
    assert len(half.held_out_to_train) == len(real.valid)
    assert torch.equal(half.held_out_to_train, real.held_out_to_train[: len(real.valid)])
