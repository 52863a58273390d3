"""What the audit reads: records at random, losses asked alike, columns of the data."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import likewise as lw
from likewise.core.records import Records
from likewise.store.files import read_json
from likewise.workbench import material
from likewise.workbench.data import Prepared
from likewise.workbench.job import Work
from likewise.workbench.main_job import counted_plan
from likewise.workbench.verbs import _bench
from tests.toys import N


def with_columns(records: Records) -> Records:
    """Points with a column that they show, one that they do not, and a number of each."""
    side = tuple("left" if x < 0 else "right" for x in records.items[:, 0].tolist())
    coin = tuple(bool(i % 2) for i in range(len(records)))
    serial = tuple(range(len(records)))
    more = {"side": side, "coin": coin, "serial": serial}
    return replace(records, conditions={**records.conditions, **more})


@pytest.fixture(scope="module")
def audits():
    """{name: what an audit wrote} of a model, a model without a density, and the copier."""
    data = with_columns(lw.load("toy_points", domain="toy_points"))
    models = [lw.fit(data, name, steps=60) for name in ("toy_affine", "toy_gan")]
    with pytest.MonkeyPatch.context() as patch, _bench(models[0], data, 0, {}) as work:
        plan = work.run.data["plan"]
        patch.setitem(plan, "features", 60)  # steps: enough to read a side off
        models[1].write(work.run.folder("toy_gan"))
        work.train("copier", counted_plan(work, "copier", None), None)
        features = work.features()
        found = {name: work.audit(name, features) for name in ("toy_affine", "toy_gan", "copier")}
        place = work.run.path
        found["nearest"] = read_json(place / "private" / "toy_affine-nearest.json")
        found["files"] = sorted(path.name for path in (place / "features").glob("group-*"))
        before = [path.stat().st_mtime_ns for path in (place / "features").glob("group-*")]
        again = Work(work.run, work.prepared, listener=work.listener)
        assert len(again._reference.groups) == 2  # read again, and not trained again
        after = [path.stat().st_mtime_ns for path in (place / "features").glob("group-*")]
        assert before == after
        yield found


def findings(audit):
    return {finding["rule"]: finding for finding in audit["findings"]}


def test_columns_of_the_data_are_audited(audits):
    found = findings(audits["toy_affine"])
    assert found["shares of side"]["effect"] is not None
    assert found["shares of side"]["controls"] == {"positive": "fail", "negative": "pass"}
    out = audits["toy_affine"]["left_out"]
    assert set(out) == {"serial", "shares of coin"}
    assert out["serial"] == f"it has {N} different values; 2 to 50 can be read off"
    assert "where 50% is chance" in out["shares of coin"]
    assert [name.rsplit("-", 1)[0] for name in audits["files"]] == ["group-coin", "group-side"]


def test_rules_that_say_nothing_are_named(audits):
    why = audits["toy_gan"]["left_out"]["membership by loss"]
    assert why == "there is no density to ask for a loss"
    assert "membership by loss" not in findings(audits["toy_gan"])


def test_the_copier_is_caught_by_its_loss(audits):
    assert findings(audits["copier"])["membership by loss"]["outcome"] == "fail"


def test_the_closest_pairs_are_private_and_ordered(audits):
    pairs = audits["nearest"]
    assert set(pairs) == {"order", "samples", "train", "to_train", "to_held_out", "ratio"}
    assert len(pairs["ratio"]) == 8
    assert pairs["ratio"] == sorted(pairs["ratio"])


@pytest.mark.parametrize(
    ("draws", "judged", "count", "taken"), [(1, 40, 40, 1), (32, 60, 500, 3), (1, None, 500, 1)]
)
def test_losses_cost_no_more_than_twice_the_likelihood(draws, judged, count, taken):
    prepared = Prepared.of(lw.load("toy_points", domain="toy_points"))
    asked = {}

    class Model:
        family = SimpleNamespace(
            space=prepared.space,
            claims=SimpleNamespace(density={type(prepared.space): "exact"}),
        )

        def log_mass(self, x, c, *, seed, draws):
            asked.update(x=x, c=c, draws=draws)
            return x[:, 0]

    real = _reference(prepared)
    found = material.losses(prepared, Model(), real, draws=draws, judged=judged)
    assert (len(found.train), len(found.valid) + len(found.test)) == (count, count)
    assert asked["draws"] == taken
    assert len(asked["c"]["label"][0]) == len(asked["x"]) == 2 * count
    assert torch.equal(found.train, real.train[real.asked[:count]][:, 0].double())
    assert torch.equal(found.valid, real.valid[: len(found.valid)][:, 0].double())
    assert torch.equal(found.test, real.test[: len(found.test)][:, 0].double())


def test_records_are_chosen_at_random_where_not_all_are_read(monkeypatch):
    """Data comes sorted by class, so that the first ones would be of one class."""
    records = lw.load("toy_points", domain="toy_points")
    order = sorted(range(N), key=lambda row: records.conditions["label"][row])
    prepared = Prepared.of(records.take(order))
    monkeypatch.setattr(material, "AUDITED", 60)
    real = _reference(prepared)
    assert len(real.valid) == len(real.test) == 60
    for part, known in (("valid", real.valid), ("test", real.test)):
        x, c = prepared.tensors(part)
        where = (x[None] == known[:, None]).all(dim=2).long().argmax(dim=1)
        assert 0.25 < c["label"][0][where].float().mean() < 0.75


def test_of_records_that_repeat_each_other_the_audit_reads_one():
    """Twins stay in one part: with both, held-out records would be nearer than train can be."""
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (200, 8, 8, 1), dtype=np.uint8)
    prepared = Prepared.of(lw.load(np.repeat(pictures, 2, axis=0), domain="images"))
    real = _reference(prepared)
    assert len(real.valid) == len(prepared.split.valid) // 2
    assert len(real.valid.unique(dim=0)) == len(real.valid)
    assert float(real.held_out_to_held_out.min()) > 0.0
    assert len(real.train) == len(prepared.split.train)


def test_of_data_larger_than_memory_the_audit_reads_some_and_says_so(monkeypatch):
    prepared = Prepared.of(lw.load("toy_points", domain="toy_points"))
    count = len(prepared.split.train)
    assert material.unread(prepared) == {}
    monkeypatch.setattr(material, "memory", lambda: material.SHARE * 4 * 2 * 50)
    real = _reference(prepared)
    assert len(real.train) == 50
    whole, _ = prepared.tensors("train")
    assert torch.equal(real.train, whole[torch.arange(50) * count // 50])
    (what, why) = next(iter(material.unread(prepared).items()))
    assert what == f"copies of the other {count - 50:,} training records"
    assert why.startswith(f"memory holds 50 of {count:,} as numbers")

    class Model(SimpleNamespace):
        family = SimpleNamespace(
            space=prepared.space,
            claims=SimpleNamespace(density={type(prepared.space): "exact"}),
        )

        def log_mass(self, x, c, *, seed, draws):
            return x[:, 0]

    found = material.losses(prepared, Model(), real, draws=1, judged=None)
    assert torch.equal(found.train, real.train[real.asked][:, 0].double())


def _reference(prepared):
    from likewise.evaluation.features import FeatureSet
    from likewise.nn.features import RandomNet

    features = FeatureSet(prepared.space, {"random": RandomNet(prepared.space, 4)})
    folder = None  # no column is there to be kept
    return material.reference(prepared, features, folder, fit=None, seed=0, steps=1)
