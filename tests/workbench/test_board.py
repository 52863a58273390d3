"""The leaderboard's headline where its first choice cannot be measured."""

import pytest

from likewise.core.results import Score
from likewise.workbench.board import FALLBACKS, _headline


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
