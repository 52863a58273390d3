"""Models: labels dealt in their shares, samples that know their number, bounds that are bounds."""

import pytest
import torch

import likewise as lw
from likewise.store.model import _deal


@pytest.fixture(scope="module")
def model():
    return lw.fit(lw.load("toy_points", domain="toy_points"), "toy_affine", steps=40)


@pytest.mark.parametrize("start", [0, 17, 10_000_000])
@pytest.mark.parametrize("n", [100, 999])
def test_labels_keep_their_shares_in_any_run(start, n):
    shares = (0.5, 0.3, 0.15, 0.05)
    counts = torch.bincount(_deal(shares, n, start, seed=3), minlength=4)
    assert all(
        abs(int(count) - n * share) <= 4 for count, share in zip(counts, shares, strict=True)
    )


def test_a_label_that_never_was_is_never_dealt():
    assert 1 not in _deal((0.5, 0.0, 0.5), 1000, 0, seed=0)


def test_a_sample_is_known_by_its_number(model):
    whole, c = model.draw(20, seed=4)
    part, d = model.draw(5, seed=4, start=10)
    assert torch.equal(c["label"][0][10:15], d["label"][0])
    torch.testing.assert_close(part, whole[10:15])
    small, _ = model.draw(20, seed=4, batch=3)
    torch.testing.assert_close(small, whole)


def test_log_mass_is_the_joint_with_the_label(model):
    x, c = model.draw(6, seed=1)
    joint = model.log_mass(x, c)
    given = model.family.log_prob(x, c).detach()
    shares = torch.tensor(model.shares["label"]).log()[c["label"][0]]
    torch.testing.assert_close(joint, given + shares)
    total = torch.logsumexp(
        torch.stack([
            model.log_mass(x, {"label": (torch.full((6,), k), torch.ones(6, dtype=torch.bool))})
            for k in range(2)
        ]), dim=0)  # fmt: skip
    assert (joint <= total + 1e-6).all()


def test_a_newer_model_is_refused_in_words(model, tmp_path):
    from likewise.core.errors import StoreError
    from likewise.store.files import read_json, write_json

    folder = model.save(tmp_path / "m")
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "schema": 99, "version": "9.0"})
    with pytest.raises(StoreError, match=r"was written by likewise 9\.0, newer than this"):
        lw.open(folder)


def test_a_model_of_version_0_1_0_keeps_opening():
    """A model that was saved once, by the first version, and committed."""
    from pathlib import Path

    model = lw.open(Path(__file__).parent.parent / "data" / "model-0.1.0")
    records = model.sample(4, seed=0)
    assert records.items.shape == (4, 3, 3, 1)
    assert set(records.conditions["label"]) <= {"a", "b"}
    assert records.items.max() <= 3
