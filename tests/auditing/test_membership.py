"""Membership inference: by loss and by distance."""

from dataclasses import replace

import pytest
import torch

from likewise.auditing.rules import left_out
from tests.auditing.corners import judged


def test_a_model_that_remembers_its_training_records_is_held(material):
    """Losses of training records a deviation lower: an area of Phi(1 / sqrt 2) = 0.76."""
    losses = material.losses
    spread = float(torch.cat(losses).std())
    finding = judged(material, losses=losses._replace(train=losses.train + spread))
    finding = finding["membership by loss"]
    assert finding.outcome == "fail"
    assert finding.evidence["area"] == pytest.approx(0.76, abs=0.06)
    assert finding.controls == {"positive": "fail", "negative": "pass"}


def test_data_split_by_place_leave_a_difference_of_losses_unknown(material):
    losses = material.losses
    far = losses._replace(train=losses.train + float(torch.cat(losses).std()))
    finding = judged(material, reference={"by_place": True}, losses=far)["membership by loss"]
    assert finding.outcome == "unknown"
    assert finding.evidence["area"] > 0.7
    assert "the data were split by place" in finding.sentence
    same = judged(material, reference={"by_place": True})["membership by loss"]
    assert "split by place" not in same.sentence


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
