"""Inception weights of the user's own, all the way: run, evaluate again, refuse in time."""

import pytest
import torch
from safetensors.torch import save_file

import likewise as lw
from likewise.cli.main import app, guarded
from likewise.cli.show import Terminal
from likewise.core.errors import StoreError, UsageError
from likewise.store.files import read_json
from likewise.workbench.repeat import audit_run, evaluate_run


class Tiny(torch.nn.Module):
    """What Inception looks like from outside, at no cost."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(64, 2048)

    def forward(self, x):
        return self.fc(x[:, 0].flatten(1) / 255)


@pytest.fixture
def weights(monkeypatch, tmp_path):
    monkeypatch.setattr("likewise.nn.inception.Network", Tiny)
    torch.manual_seed(0)
    save_file(Tiny().state_dict(), tmp_path / "inception.safetensors")
    return tmp_path / "inception.safetensors"


def some_digits():
    return lw.load("digits").take(range(420))


def test_a_run_scores_in_inception_and_goes_on_doing_so(weights, tmp_path):
    out = tmp_path / "run"
    board = lw.run(some_digits(), time="6s", families=["gmm"], out=out, inception=weights)
    scores = {row["name"]: row["scores"] for row in board.rows}
    assert set(scores) == {"gmm", "independent", "copier", "real vs real"}
    assert all(row["kd_inception"]["value"] is not None for row in scores.values())
    assert "inception features" in scores["gmm"]["kd_inception"]["how"]
    refused = scores["gmm"]["fd_inception"]
    assert refused["value"] is None
    assert "at least 4096 examples over 2048 features" in refused["why"]
    assert read_json(out / "run.json")["inception"] == str(weights.resolve())
    assert "inception" not in read_json(out / "features" / "features.json")["nets"]
    audited = (out / "gmm" / "audit.json").read_bytes()
    with Terminal(quiet=True) as terminal:
        again = evaluate_run(out, some_digits(), listener=terminal, options={})
        audit_run(out, "gmm", data=some_digits(), listener=terminal)
    assert {row["name"]: row["scores"] for row in again.rows} == scores
    assert (out / "gmm" / "audit.json").read_bytes() == audited


def test_an_older_run_takes_inception_up_and_misses_it_when_it_is_gone(weights, tmp_path):
    out = tmp_path / "run"
    lw.run(some_digits(), time="6s", families=["gmm"], out=out)
    with Terminal(quiet=True) as terminal:
        asked = {"listener": terminal, "options": {}}
        board = evaluate_run(out, some_digits(), inception=weights, **asked)
        assert all("kd_inception" in row["scores"] for row in board.rows)
        weights.unlink()
        with pytest.raises(StoreError, match="could not be read as safetensors"):
            evaluate_run(out, some_digits(), **asked)
    assert read_json(out / "run.json")["states"]["gmm"]["state"] == "done"


def test_a_model_may_be_scored_in_inception(weights, monkeypatch):
    monkeypatch.setattr("likewise.workbench.verbs.FEATURE_STEPS", 4)
    model = lw.fit(some_digits(), "independent", steps=1)
    assert "kd_inception" in lw.evaluate(model, some_digits(), inception=weights)


def test_what_inception_cannot_read_is_said_before_anything_is_written(weights, tmp_path):
    points = lw.load("toy_points", domain="toy_points")
    with pytest.raises(UsageError, match="for pictures with 1 or 3 channels"):
        lw.run(points, time="6s", out=tmp_path / "run", inception=weights)
    assert not (tmp_path / "run").exists()


def test_the_command_line_says_how_to_make_the_file(tmp_path, capsys):
    words = ["run", "digits", "--out", str(tmp_path / "run"), "--inception", "weights.pth"]
    assert guarded(lambda: app(words, standalone_mode=False)) == 1
    said = capsys.readouterr().err
    assert "weights.pth could not be read as safetensors" in said
    assert "convert it once with: python -c" in said
    assert not (tmp_path / "run").exists()
