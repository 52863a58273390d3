"""The leaderboard's headline where its first choice cannot be measured."""

import pytest

import likewise as lw
from likewise.core.errors import StoreError
from likewise.core.results import Score
from likewise.store.files import read_json
from likewise.workbench.board import FALLBACKS, _headline, judged_again
from likewise.workbench.job import Work
from likewise.workbench.listen import Listener
from likewise.workbench.repeat import audit_run


def row(**values):
    facts = {"unit": "1", "better": "lower", "n": 9, "why": ""}
    return {name: Score(value=value, **facts) for name, value in values.items()}


@pytest.mark.parametrize(
    ("rows", "headline"),
    [
        ([row(fd_classifier=1.0, fd_contrastive=2.0)], "fd_classifier"),
        ([row(fd_classifier=None, kd_classifier=1.0, fd_contrastive=2.0)], "fd_contrastive"),
        ([row(fd_classifier=None, nll=3.0), row(fd_random=None, kd_random=0.1)], "kd_random"),
        ([row(fd_classifier=None, nll=3.0)], "nll"),
        ([row(fd_classifier=None)], "fd_classifier"),
    ],
)
def test_the_headline_is_the_first_that_any_row_has(rows, headline):
    assert _headline("fd_classifier", rows) == headline


def test_distances_come_before_likelihood():
    assert FALLBACKS[-1] == "nll"


def test_a_new_hold_takes_the_best_off_leaderboard_report_and_card(tmp_path, monkeypatch):
    data = lw.load("toy_grids", domain="toy_grids")
    board = lw.run(data, time="5s", families="toy_counts", out=tmp_path / "run")
    plain = Work.audit

    def strict(self, name, features):
        return {**plain(self, name, features), "verdict": "hold"}

    def loose(self, name, features):
        return {**plain(self, name, features), "verdict": "release"}

    found = {}
    for said in (loose, strict):
        monkeypatch.setattr(Work, "audit", said)
        audit_run(board.path, "toy_counts", listener=Listener(), data=data)
        found[said] = read_json(board.path / "leaderboard.json")
    assert (found[loose]["best"], found[strict]["best"]) == ("toy_counts", None)
    rows = {row["name"]: row["verdict"] for row in found[strict]["rows"]}
    assert rows["toy_counts"] == "hold"
    assert rows["copier"] == {row["name"]: row["verdict"] for row in board.rows}["copier"]
    for file in ("README.md", "report.html"):
        assert "No family may be released." in (board.path / file).read_text()


def test_a_damaged_leaderboard_is_said_in_words():
    with pytest.raises(StoreError, match="the leaderboard is damaged"):
        judged_again({"rows": [{}]}, {})
