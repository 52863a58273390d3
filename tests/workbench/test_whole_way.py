"""The whole way on every Space: plan, train, sample, score, audit, rank, report; and again."""

import json
from pathlib import Path

import pytest
import torch

import likewise as lw
from likewise.core.errors import DataError, StoreError, UsageError
from likewise.core.results import Score
from likewise.store.files import read_json, read_tensors
from tests.toys import DOMAINS, FAMILIES

WAYS = {
    "toy_points": ["toy_affine", "toy_gan", "toy_affine+toy_affine"],
    "toy_grids": ["toy_counts"],
    "toy_strings": ["toy_bigram"],
    "toy_rows": ["toy_columns"],
}


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """One run of each toy domain, made on first use."""
    made = {}

    def board(name):
        if name not in made:
            out = tmp_path_factory.mktemp(name) / "run"
            data = lw.load(name, domain=name)
            made[name] = lw.run(data, time="6s", families=WAYS[name], out=out)
        return made[name]

    return board


@pytest.mark.parametrize("name", list(WAYS))
def test_every_space_walks_the_whole_way(name, boards):
    board = boards(name)
    names = {row["name"] for row in board.rows}
    assert names == {*WAYS[name], "independent", "copier", "real vs real"}
    assert board.data["skipped"] == []
    for family in WAYS[name]:
        folder = board.path / family
        for file in ("config.json", "model.safetensors", "codec.json", "log.jsonl",
                     "scorecard.json", "audit.json", "samples/samples.safetensors"):  # fmt: skip
            assert (folder / file).exists(), file
    for file in ("run.json", "leaderboard.json", "report.html", "README.md"):
        assert (board.path / file).exists(), file
    assert not list(board.path.rglob(".unfinished*"))


@pytest.mark.parametrize("name", list(WAYS))
def test_leaderboards_hold_what_others_read(name, boards):
    data = json.loads((boards(name).path / "leaderboard.json").read_text())
    assert data["schema"] == 1
    assert {"data", "budget", "best", "headline", "rows", "skipped"} <= set(data)
    assert data["budget"]["seconds"] == 6.0
    for row in data["rows"]:
        assert row["role"] in ("model", "baseline", "control", "floor")
        assert row["verdict"] in ("release", "hold", "unknown")
        assert {"name", "scores", "seconds", "parameters", "samples_per_second"} <= set(row)
        for score in row["scores"].values():
            assert {"value", "low", "high", "unit", "better", "n"} <= set(score)
            assert score["value"] is not None or score["why"]
    assert data["best"] is None or data["best"] in WAYS[name]


@pytest.mark.parametrize("name", list(WAYS))
def test_the_copier_is_never_best_and_is_held(name, boards):
    rows = {row["name"]: row for row in boards(name).rows}
    assert boards(name).data["best"] != "copier"
    assert rows["copier"]["role"] == "control"
    findings = read_json(boards(name).path / "copier" / "audit.json")["findings"]
    copying = next(finding for finding in findings if finding["rule"] == "copying")
    # Of strings there are so few that repeating one says nothing; points and rows stand so close
    # together that the copier's own noise takes nearly all as far away as new ones.
    assert copying["outcome"] == ("fail" if name == "toy_grids" else "unknown")


def test_a_replayed_plan_gives_the_same_weights_samples_and_scores(boards, tmp_path):
    first = boards("toy_points")
    data = lw.load("toy_points", domain="toy_points")
    again = lw.run(
        data, time="6s", families=WAYS["toy_points"], out=tmp_path / "run", plan=first.path
    )
    for name in [*WAYS["toy_points"], "copier", "independent"]:
        for file in ("model.safetensors", "samples/samples.safetensors"):
            one, _ = read_tensors(first.path / name / file)
            other, _ = read_tensors(again.path / name / file)
            assert one.keys() == other.keys()
            assert [k for k in one if not torch.equal(one[k], other[k])] == [], (name, file)
        for file in ("scorecard.json", "audit.json"):
            one, other = (read_json(run.path / name / file) for run in (first, again))
            for key in ("scores", "findings"):
                assert one.get(key) == other.get(key)


def test_a_finished_run_is_not_done_again(boards):
    board = boards("toy_grids")
    before = {p: p.stat().st_mtime_ns for p in board.path.rglob("model.safetensors")}
    data = lw.load("toy_grids", domain="toy_grids")
    again = lw.run(data, time="6s", families=WAYS["toy_grids"], out=board.path)
    assert again.data["rows"] == board.data["rows"]
    assert before == {p: p.stat().st_mtime_ns for p in board.path.rglob("model.safetensors")}


def test_a_run_folder_of_other_data_is_not_touched(boards):
    data = lw.load("toy_rows", domain="toy_rows")
    with pytest.raises(StoreError, match="holds a run of other data or options"):
        lw.run(data, time="6s", out=boards("toy_grids").path)


def test_no_training_record_is_in_what_may_be_mailed(boards):
    """No tensor of a saved model holds a training example."""
    board = boards("toy_points")
    assert board.data["best"] is None or board.best.name in WAYS["toy_points"]
    with pytest.raises(UsageError, match="copier is a control and holds training records"):
        lw.open(board.path, "copier")


def test_a_control_is_never_saved(boards, tmp_path):
    from likewise.store.model import open_model

    model = open_model(boards("toy_points").path / "copier")
    with pytest.raises(UsageError, match="is a control and holds training records; not saved"):
        model.save(tmp_path / "copier")


def test_fit_sample_evaluate_audit_save_open(tmp_path):
    data = lw.load("toy_points", domain="toy_points")
    model = lw.fit(data, "toy_affine", steps=80, seed=0)
    some = model.sample(6, where={"label": 1}, seed=1)
    assert len(some) == 6
    assert some.items[:, 0].mean() > 0
    model.save(tmp_path / "model")
    again = lw.open(tmp_path / "model")
    assert (again.sample(6, where={"label": 1}, seed=1).items == some.items).all()
    scores = lw.evaluate(model, data)
    assert isinstance(scores["fd_random"], Score)
    assert lw.audit(model, data).verdict in ("release", "hold", "unknown")


def test_a_chain_is_saved_and_opened(tmp_path):
    data = lw.load("toy_points", domain="toy_points")
    model = lw.fit(data, "toy_affine+toy_affine", steps=5)
    model.save(tmp_path / "chain")
    again = lw.open(tmp_path / "chain")
    assert again.name == "toy_affine+toy_affine"
    assert (again.sample(4, seed=3).items == model.sample(4, seed=3).items).all()


@pytest.mark.parametrize("what", ["preset", "losses", "sample"])
@pytest.mark.parametrize(("name", "other"), [("toy_gan", "toy_affine"), ("toy_affine", "toy_gan")])
def test_a_family_that_breaks_does_not_end_the_run(what, name, other, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr(FAMILIES[name], what, broken)
    data = lw.load("toy_points", domain="toy_points")
    board = lw.run(data, time="5s", families=["toy_affine", "toy_gan"], out=tmp_path / "run")
    assert [item["name"] for item in board.data["skipped"]] == [name]
    assert "no luck" in board.data["skipped"][0]["why"]
    assert any(row["name"] == other for row in board.rows)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: lw.fit(d, "toy_afine", steps=1), UsageError, "did you mean 'toy_affine'"),
        (lambda d: lw.fit(d, "toy_bigram", steps=1), DataError, "it learns sequence data, not"),
        (lambda d: lw.fit(d, "toy_affine", steps=0), UsageError, "steps must be a whole number"),
        (lambda d: lw.fit(d, "toy_affine", time="0s"), UsageError, "time must be at least 5s"),
        (lambda d: lw.fit(d, "toy_affine", time="soon"), UsageError, "such as 90s, 3m"),
        (lambda d: lw.fit(d, "toy_affine", time="5s", steps=3), UsageError, "not both"),
        (lambda d: lw.fit(d, "toy_affine", steps=1, preset="xl"), UsageError, "preset 'xl'"),
        (lambda d: lw.fit(d, "toy_affine", steps=1, settings={"widht": "3"}), UsageError,
         "did you mean 'width'"),
        (lambda d: lw.fit(d, "toy_affine", steps=1, device="tpu"), UsageError, "device must be"),
        (lambda d: lw.fit(d, "toy_gan+toy_affine", steps=1), UsageError, "has no codes"),
        (lambda d: lw.fit(d, "a+b+c", steps=1), UsageError, "must be two families"),
        (lambda d: lw.run(d, families=["copier"]), UsageError, "takes part by itself"),
        (lambda d: lw.run(d, time="1s"), UsageError, "A minute is a sensible start"),
    ],
)  # fmt: skip
def test_wrong_wishes_are_said_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call(lw.load("toy_points", domain="toy_points"))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"label": 7}, "label 7 is not in the training data"),
        ({"colour": 1}, "no condition 'colour'; it can be steered by"),
    ],
)
def test_wrong_conditions_are_said_in_words(where, message):
    model = lw.fit(lw.load("toy_points", domain="toy_points"), "toy_affine", steps=1)
    with pytest.raises(UsageError, match=message):
        model.sample(2, where=where)


def test_a_control_that_is_not_honoured_is_said_in_words():
    from likewise.core.contract import Controls

    model = lw.fit(lw.load("toy_points", domain="toy_points"), "toy_affine", steps=1)
    with pytest.raises(UsageError, match="does not honour guidance; it honours: temperature"):
        model.sample(2, controls=Controls(guidance=2.0))
    with pytest.raises(UsageError, match="n must be a whole number above 0; got 0"):
        model.sample(0)


@pytest.mark.parametrize("file", ["model.safetensors", "codec.json", "config.json"])
def test_a_tampered_model_is_refused(file, tmp_path):
    model = lw.fit(lw.load("toy_points", domain="toy_points"), "toy_affine", steps=1)
    folder = Path(model.save(tmp_path / "model"))
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"is not the file that was saved|is damaged"):
        lw.open(folder)


def test_every_toy_domain_is_walked():
    assert set(WAYS) == set(DOMAINS)


def test_an_audit_needs_the_data_that_the_model_was_trained_on():
    data = lw.load("toy_points", domain="toy_points")
    model = lw.fit(data, "toy_affine", steps=2)
    with pytest.raises(UsageError, match="was trained on other data"):
        lw.audit(model, data.take(range(150)))


def test_an_interrupted_feature_net_is_not_kept(tmp_path, monkeypatch):
    from likewise.nn.features import Classifier

    plain = Classifier.losses

    def stop(self, x, c, *, step):
        if step.index == 3:
            raise KeyboardInterrupt
        return plain(self, x, c, step=step)

    monkeypatch.setattr(Classifier, "losses", stop)
    data = lw.load("toy_strings", domain="toy_strings")
    with pytest.raises(KeyboardInterrupt):
        lw.run(data, time="6s", families=["toy_bigram"], out=tmp_path / "run")
    assert not (tmp_path / "run" / "features" / "features.json").exists()


def test_wrong_types_are_said_in_words():
    data = lw.load("toy_points", domain="toy_points")
    with pytest.raises(UsageError, match="steps must be a whole number"):
        lw.fit(data, "toy_affine", steps=2.5)
    with pytest.raises(UsageError, match="the data has no name"):
        lw.load("")
