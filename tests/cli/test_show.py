"""Tables of the terminal: columns that tell nothing are not shown."""

from rich.console import Console

from likewise.cli.data import show_facts
from likewise.cli.jobs import _effort, _show_board
from likewise.cli.show import board_table
from likewise.workbench.board import Leaderboard


def board(headline, unit, **more):
    score = {"value": 2.5, "low": 2.4, "high": 2.6, "unit": unit, "better": "lower", "n": 9}
    nll = {**score, "unit": "bits/dim"}
    row = {"name": "vae", "role": "model", "verdict": "release", "seconds": 3.0,
           "scores": {headline: score, "nll": nll, **more}}  # fmt: skip
    return {"headline": headline, "best": "vae", "rows": [row]}


def titles(data, width=80):
    return [str(column.header) for column in board_table(data, width).columns]


def test_bits_of_a_dimension_stand_beside_a_distance_alone():
    first = ["family", "fd_classifier ↓", "95 %"]
    assert titles(board("fd_classifier", "features²")) == [*first, "bits/dim ↓", "verdict"]
    assert "bits/dim ↓" not in titles(board("bits_per_byte", "bits/byte"))


def test_a_column_without_a_number_is_left_out():
    share = {"excess": {"value": 0.2}}
    assert "excess ↓" not in titles(board("fd_classifier", "features²"))
    assert "excess ↓" in titles(board("fd_classifier", "features²", **share))


def test_a_wide_terminal_shows_more():
    data = board("bits_per_byte", "bits/byte", coverage={"value": 0.9})
    assert titles(data, 120)[3:] == ["coverage ↑", "train s", "verdict"]
    assert titles(data, 80)[3:] == ["verdict"]


def test_what_a_family_did_is_said_in_its_own_words():
    assert _effort("ngram", 1) == "1 pass over the data"
    assert _effort("gmm", 12) == "12 passes over the data"
    assert [_effort("vae", n) for n in (1, 20)] == ["1 step", "20 steps"]


def test_a_best_family_without_a_verdict_is_not_called_untellable(tmp_path, capsys):
    data = {**board("fd_pca", "1"), "skipped": []}
    data["rows"][0]["verdict"] = "unknown"
    _show_board(Leaderboard(tmp_path, data))
    said = " ".join(capsys.readouterr().out.split())
    assert "best: vae, which is neither released nor held: its verdict is unknown" in said


def test_facts_tell_documents_from_their_pieces():
    console = Console(record=True, width=100)
    facts = {"origin": "talks", "records": 1020, "domain": "text", "refused": "", "counts": {},
             "choice": {}, "sizes": {}, "formats": {}, "classes": {}, "conditions": {},
             "duplicates": 0, "near": None, "captions": None, "columns": [], "notes": [],
             "oddities": []}  # fmt: skip
    show_facts(facts, console)
    show_facts({**facts, "amount": "150 documents in 1,020 passages"}, console)
    said = console.export_text()
    assert "talks  1,020 text" in said
    assert "talks  150 documents in 1,020 passages" in said
