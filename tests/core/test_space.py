"""Spaces: what fits, what does not, and plain data there and back."""

import pytest
import torch

from likewise.core.errors import DataError
from likewise.core.space import (
    Categorical,
    Column,
    Continuous,
    Mixed,
    Sequence,
    space_from_json,
    space_to_json,
)

PICTURES = Continuous(shape=(1, 2, 2), low=-1.0, high=1.0, step=0.5)
LEVELS = Categorical(shape=(1, 2, 2), categories=5)
WORDS = Sequence(length=4, tokens=6, end=4, pad=5)
ROWS = Mixed(
    columns=(Column(name="age", missing=True), Column(name="c", kind="category", categories=2))
)


@pytest.mark.parametrize("space", [PICTURES, LEVELS, WORDS, ROWS])
def test_a_space_survives_json(space):
    import json

    assert space_from_json(json.loads(json.dumps(space_to_json(space)))) == space


@pytest.mark.parametrize(
    ("space", "x", "message"),
    [
        (PICTURES, torch.zeros(1, 1, 2, 3), r"of shape \(1, 2, 2\); got \(1, 2, 3\)"),
        (PICTURES, torch.zeros(1, 1, 2, 2).double(), "must be torch.float32"),
        (PICTURES, torch.full((1, 1, 2, 2), 2.0), "at most 1; got 2"),
        (PICTURES, torch.full((1, 1, 2, 2), torch.nan), "must be finite"),
        (LEVELS, torch.full((1, 1, 2, 2), 5), r"must be in 0..4; got \(5, 5\)"),
        (WORDS, torch.tensor([[4, 0, 5, 5]]), "nothing but padding after its end"),
        (ROWS, torch.tensor([[0.0, torch.nan]]), "column 'c' must be complete"),
        (ROWS, torch.tensor([[torch.inf, 0.0]]), "column 'age' must be finite"),
        (ROWS, torch.tensor([[0.0, 2.0]]), "column 'c' must be in 0..1"),
    ],
)
def test_what_does_not_fit_is_said_in_words(space, x, message):
    with pytest.raises(DataError, match=message):
        space.check(x)


def test_quantising_lands_on_the_grid():
    x = torch.tensor([-3.0, -0.9, 0.1, 0.3, 7.0])
    assert PICTURES.quantise(x).tolist() == [-1.0, -1.0, 0.0, 0.5, 1.0]
    assert PICTURES.levels == 5


def test_a_sequence_counts_its_end_and_not_its_padding():
    assert WORDS.mask(torch.tensor([[0, 1, 4, 5], [0, 1, 2, 3]])).sum(dim=1).tolist() == [3, 4]


def test_flat_features_have_a_place_for_every_value():
    assert LEVELS.flat(torch.zeros(2, 1, 2, 2, dtype=torch.int64)).shape == (2, 20)
    flat = ROWS.flat(torch.tensor([[torch.nan, 1.0], [3.0, 0.0]]))
    assert flat.tolist() == [[0.0, 1.0, 0.0, 1.0], [3.0, 0.0, 1.0, 0.0]]
