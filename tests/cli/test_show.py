"""Tables of the terminal: columns that tell nothing are not shown."""

from likewise.cli.show import board_table


def board(headline, unit, **more):
    score = {"value": 2.5, "low": 2.4, "high": 2.6, "unit": unit, "better": "lower"}
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
