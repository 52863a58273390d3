"""The trial of augmentation: two trainings that differ in nothing else."""

import numpy as np
import pytest

import likewise as lw
from likewise.evaluation.features import FeatureSet
from likewise.train.plan import Plan, to_json
from likewise.workbench import augmentation
from likewise.workbench.augmentation import LEAST_STEPS, PAIRS, SHARE, augments, try_augmentation
from likewise.workbench.data import Prepared
from likewise.workbench.listen import Listener
from likewise.workbench.runs import opened


@pytest.fixture
def work(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1), dtype=np.uint8)
    prepared = Prepared.of(lw.load((pictures, None), augment="flip"))
    facts = {"inputs": {}, "command": "", "device": "cpu", "listener": Listener()}
    with opened(prepared, out=tmp_path / "run", seed=0, **facts) as work:
        plan = Plan(seconds=None, threads=1, n=20, samples=20, features=5, families={})
        work.run.update(plan=to_json(plan))
        yield work


def test_a_trial_trains_with_augmentation_and_without(work, monkeypatch):
    features, trained = work.features(), []

    class Spied(augmentation.Trainer):
        def __init__(self, family, source, job):
            weights = [p.detach().clone() for p in family.parameters()]
            trained.append((source, job, weights))
            super().__init__(family, source, job)

    monkeypatch.setattr(augmentation, "Trainer", Spied)
    assert augments(work)
    budget = LEAST_STEPS * 2 * PAIRS / SHARE
    trial = try_augmentation(work, "vae", features, pace=1.0, budget=budget)
    assert len(trained) == 2 * PAIRS
    for (varied, one, start), (plain, other, again) in zip(
        trained[:PAIRS], trained[PAIRS:], strict=True
    ):
        assert one == other
        assert one.steps == trial.steps == LEAST_STEPS
        assert all(a.equal(b) for a, b in zip(start, again, strict=True))
        assert (list(varied.kinds), list(plain.kinds)) == (["flip"], [])
    assert len({job.seed for _, job, _ in trained}) == PAIRS
    assert len({*trial.augmented, *trial.plain}) == 2 * PAIRS
    assert "Augmentation " in trial.sentence


def test_a_short_budget_allows_no_trial(work):
    features = FeatureSet(work.prepared.space, {})
    assert try_augmentation(work, "vae", features, pace=1.0, budget=LEAST_STEPS) is None
