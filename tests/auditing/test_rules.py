"""The audit: it holds what must be held, passes what must pass, and says when it cannot tell."""

from dataclasses import replace

import pytest
import torch

from likewise.auditing.copying import COPYING, closest
from likewise.auditing.labels import DROPPED_CLASSES, LABEL_SHARES
from likewise.auditing.material import Losses, Material, Reference
from likewise.auditing.membership import BY_DISTANCE
from likewise.auditing.rule import Effect, Rule
from likewise.auditing.rules import RULES, audit, left_out
from likewise.auditing.variety import COLLAPSE, REPEATS
from likewise.core.condition import Labels
from likewise.core.results import verdict
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.evaluation.features import FeatureSet
from likewise.evaluation.groups import UNKNOWN, Group, train_classifier
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


def log_density(x):
    """Of `points`, up to a constant."""
    corners = 7.0 * torch.eye(5)[:, :4]
    return (-torch.cdist(x, corners).square() / 2).logsumexp(dim=1)


def fit(trainable, source, *, steps, batch, seed):
    Trainer(trainable, source, Job(name="features", steps=steps, batch=batch, seed=seed)).run()


@pytest.fixture(scope="module")
def material():
    train, labels = points(1500, 0)
    c = {"label": (labels, torch.ones(len(labels), dtype=torch.bool))}
    conditions = (Labels(names=NAMES),)
    source = ToySource(train, c, SPACE, conditions)
    features = FeatureSet.train(source, SPACE, conditions, fit=fit, seed=0, n_eval=300, steps=200)
    valid, test = points(300, 20_000), points(300, 30_000)
    held_out = torch.cat([valid[1], test[1]])
    label = Group(classifier=features.classifier, train=labels, held_out=held_out)
    sides = [label.train < 2, held_out < 2]  # a column: at one of the first two corners?
    group = Group(
        classifier=train_classifier(
            Labels(name="side", names=("no", "yes")),
            sides[0].long(),
            source,
            fit=fit,
            seed=0,
            steps=100,
        ),
        train=sides[0].long(),
        held_out=sides[1].long(),
    )
    reference = Reference(
        train=train,
        valid=valid[0],
        test=test[0],
        features=features,
        label=label,
        groups=(group,),
    )
    losses = Losses(*(log_density(x) for x in (train[:500], valid[0], test[0])))
    return Material(samples=points(1000, 40_000)[0], reference=reference, losses=losses)


def judged(material, reference=None, **changes):
    if reference:
        changes["reference"] = replace(material.reference, **reference)
    return {finding.rule: finding for finding in audit(replace(material, **changes))}


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


# -- membership ---------------------------------------------------------------------------


def test_a_model_that_remembers_its_training_records_is_held(material):
    """Losses of training records a deviation lower: an area of Phi(1 / sqrt 2) = 0.76."""
    losses = material.losses
    spread = float(torch.cat(losses).std())
    finding = judged(material, losses=losses._replace(train=losses.train + spread))
    finding = finding["membership by loss"]
    assert finding.outcome == "fail"
    assert finding.evidence["area"] == pytest.approx(0.76, abs=0.06)
    assert finding.controls == {"positive": "fail", "negative": "pass"}


def test_a_slight_difference_of_losses_is_not_held(material):
    losses = material.losses
    spread = float(torch.cat(losses).std())
    found = judged(material, losses=losses._replace(train=losses.train + 0.05 * spread))
    assert found["membership by loss"].outcome != "fail"


def test_held_out_records_of_another_kind_make_the_loss_unreliable(material):
    """Test records that differ from valid ones: what looks like leaking may be the shift."""
    losses = material.losses
    shifted = losses._replace(test=losses.test - 4.0)
    finding = judged(material, losses=shifted)["membership by loss"]
    assert finding.outcome == "unknown"
    assert "data that must pass came out" in finding.sentence


def test_losses_that_are_no_numbers_are_unknown(material):
    broken = material.losses.train.clone()
    broken[3] = torch.nan
    finding = judged(material, losses=material.losses._replace(train=broken))
    finding = finding["membership by loss"]
    assert finding.outcome == "unknown"
    assert finding.sentence == "1 of 1100 log masses of real records are no numbers."


def test_impossible_records_count_as_least_likely(material):
    train = material.losses.train.clone()
    train[:50] = -torch.inf
    losses = material.losses._replace(train=train)
    assert judged(material, losses=losses)["membership by loss"].outcome == "pass"


def test_without_a_density_there_is_no_attack_by_loss(material):
    bare = replace(material, losses=None)
    assert left_out(bare) == {"membership by loss": "there is no density to ask for a loss"}
    assert "membership by loss" not in judged(bare)


def test_samples_near_training_records_give_them_away(material):
    rows = material.reference.asked[:600]
    samples = material.reference.train[rows] + 0.01
    finding = judged(material, samples=samples)["membership by distance"]
    assert finding.outcome == "fail"
    assert finding.evidence["area"] == pytest.approx(0.5 + 0.6 / 2, abs=0.05)
    assert finding.evidence["found_low"] > 0.3
    assert finding.controls == {"positive": "fail", "negative": "pass"}


def test_smooth_samples_give_nobody_away(material):
    corners = (material.samples > 3.5) * 7.0
    samples = corners + 0.5 * (material.samples - corners)
    assert judged(material, samples=samples)["membership by distance"].outcome == "pass"


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


# -- groups -------------------------------------------------------------------------------


def test_a_shifted_group_is_held_although_no_label_names_it(material):
    samples, _ = points(1000, 50_000, [0.35, 0.35, 0.1, 0.1, 0.1])
    finding = judged(material, samples=samples)["shares of side"]
    assert finding.outcome == "fail"
    assert "share of 'side' that moved most" in finding.sentence
    assert finding.controls == {"positive": "fail", "negative": "pass"}


class Blurred:
    """A classifier of two classes that takes so many of the first for the second."""

    def __init__(self, wrong):
        self.wrong, self.labels = wrong, Labels(name="side", names=("no", "yes"))

    def probabilities(self, x):
        true = (x[:, :2] > 3.5).any(dim=1).long()
        flip = (x[:, 3] - x[:, 3].floor() < self.wrong) & (true == 0)
        return torch.nn.functional.one_hot(true | flip.long(), 2).float()


def blurred(material, wrong):
    group = replace(material.reference.groups[0], classifier=Blurred(wrong))
    return replace(material, reference=replace(material.reference, groups=(group,)))


def test_the_confusion_of_a_classifier_is_taken_into_account(material):
    """Three in ten of one side are read as the other: uncorrected, 18 points would be missing."""
    unsure = blurred(material, 0.3)
    read = Blurred(0.3).probabilities(material.samples)[:, 0].mean()
    assert float(read) < 0.5  # of 0.6
    finding = judged(unsure)["shares of side"]
    assert finding.effect < 0.05
    assert finding.outcome != "fail"
    assert finding.evidence["classifier_right"] == pytest.approx(0.85, abs=0.03)
    wide, narrow = finding.high, judged(material)["shares of side"].high
    assert wide > narrow + 0.01


def test_a_column_that_cannot_be_read_off_is_left_out_and_says_why(material):
    unsure = blurred(material, 0.95)
    assert "shares of side" not in judged(unsure)
    why = left_out(unsure)["shares of side"]
    assert why.startswith("Nothing can be said of 'side': the classifier")


def test_corrected_shares_cover_the_truth():
    """Two readings with known errors: the interval holds the true share 95 % of the time."""
    from likewise.auditing.labels import _corrected

    draw, hits = torch.Generator().manual_seed(0), 0
    right = torch.tensor([0.8, 0.9], dtype=torch.float64)
    for _ in range(400):
        checked = torch.binomial(torch.tensor([80.0, 120.0]).double(), right, generator=draw)
        confusion = torch.stack([
            torch.stack([checked[0], 80 - checked[0]]),
            torch.stack([120 - checked[1], checked[1]]),
        ])  # fmt: skip
        read = torch.binomial(
            torch.tensor(500.0).double(), 0.7 * right[0] + 0.3 * (1 - right[1]), generator=draw
        )
        shares, errors = _corrected(torch.stack([read, 500 - read]), confusion)
        hits += abs(float(shares[0]) - 0.7) <= 1.96 * float(errors[0])
    assert 0.92 <= hits / 400 <= 0.98


def test_records_without_a_value_are_left_out_of_a_group(material):
    group = material.reference.groups[0]
    train, held_out = group.train.clone(), group.held_out.clone()
    train[::3], held_out[::3] = UNKNOWN, UNKNOWN
    some = replace(group, train=train, held_out=held_out)
    assert judged(material, reference={"groups": (some,)})["shares of side"].outcome == "pass"


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
