"""Shares of the values of columns, read off samples by a classifier."""

from dataclasses import replace

import pytest
import torch

from likewise.auditing.rules import left_out
from likewise.core.condition import Labels
from likewise.evaluation.groups import UNKNOWN
from tests.auditing.corners import judged, points


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
