"""Feature nets are trained where a measure reads them, and nowhere else."""

import math
import random
from dataclasses import replace

import pytest
import torch

from likewise.core.space import Continuous
from likewise.evaluation.features import FeatureSet
from likewise.evaluation.response import responses
from likewise.measures.frechet import frechet
from likewise.measures.measure import RefusalError
from likewise.nn.features import RandomNet
from likewise.workbench import repeat
from likewise.workbench.data import Prepared, load
from likewise.workbench.fitting import kinds
from likewise.workbench.listen import Listener
from likewise.workbench.repeat import audit_run, train_run
from likewise.workbench.validation import validator
from likewise.workbench.wishes import Wishes

RNG = random.Random(0)
WORDS = ["river", "stone", "cloud", "amber", "violet", "thunder", "meadow", "copper", "orchard"]
TEXTS = [" ".join(RNG.choices(WORDS, k=9)) for _ in range(150)]
SMALL = {"width": "16", "depth": "1", "heads": "2", "groups": "2", "hidden": "16", "batch": "8"}


class Heard(Listener):
    def __init__(self):
        self.phases = []

    def phase(self, name, what):
        self.phases.append((name, what))


def never():
    raise AssertionError("feature nets were asked for")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS))
    return path


def test_a_training_of_texts_needs_no_feature_nets_and_its_audit_makes_them(
    texts, tmp_path, monkeypatch
):
    monkeypatch.setattr(repeat, "FEATURE_STEPS", 5)
    heard = Heard()
    wishes = Wishes(steps=4, settings=SMALL, seed=0)
    out, facts = train_run(
        "transformer", str(texts), wishes, out=tmp_path / "run", options={}, listener=heard
    )
    assert facts["state"] == "done"
    assert ("", "training the feature nets") not in heard.phases
    assert not (out / "features").exists()
    found = audit_run(out, "transformer", listener=heard)
    assert ("", "training the feature nets") in heard.phases
    assert (out / "features" / "features.json").exists()
    assert "collapse" in {finding["rule"] for finding in found["transformer"]["findings"]}


def test_a_validator_of_texts_asks_for_no_features_and_one_of_pictures_does():
    claims = kinds("transformer")[-1].claims
    prepared = Prepared.of(load(TEXTS))
    assert validator(prepared, never, claims, 8, seed=0) is not None
    pictures = Prepared.of(load("digits"))
    assert validator(pictures, never, claims, 0, seed=0) is None
    with pytest.raises(AssertionError, match="were asked for"):
        validator(pictures, never, kinds("vae")[-1].claims, 8, seed=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_a_net_that_blows_up_never_rises_and_stops_nothing(bad, tmp_path):
    space = Continuous(shape=(3,))
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 1, generator=draw) + 0.1 * torch.randn(400, 3, generator=draw)

    def burst(rows):
        return torch.where(rows[:, :1] > 1, bad, rows.double())

    found = responses(x, None, {"good": lambda rows: rows, "burst": burst}, space)
    kept = {one.net: one for one in found}
    assert kept["good"].rises
    assert not kept["burst"].rises
    assert all(math.isnan(one) for one in kept["burst"].distances)
    told = (replace(kept["burst"], net="random"),)
    FeatureSet(space, {"random": RandomNet(space, 2)}, None, told).save(tmp_path)
    again = FeatureSet.open(tmp_path, space, ())
    assert again.unmoved("random") == ("swapped entries",)


def test_a_distance_of_features_that_are_no_numbers_says_how_many():
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double()
    broken = x.clone()
    broken[:3, 1] = math.nan
    with pytest.raises(RefusalError, match="the features of 3 of 20 rows are no numbers"):
        frechet(x, broken)
    with pytest.raises(RefusalError, match="so large that their covariance overflows"):
        frechet(x, x * 1e200)
