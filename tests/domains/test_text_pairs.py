"""Pairs of texts: what makes two of them one, and what must stay in one part of the split."""

import json

import numpy as np
import pytest

from likewise.core.records import PARTS, split
from likewise.domains.text import Text

WORDS = np.array([f"w{i}" for i in range(400)])


@pytest.fixture
def loaded(tmp_path):
    """Reads pairs (source, target) from a file of them."""

    def load(pairs):
        path = tmp_path / "pairs.jsonl"
        rows = (json.dumps({"source": source, "target": target}) for source, target in pairs)
        path.write_text("\n".join(rows))
        return Text.load(path)

    return load


def parts_of(records):
    parts = split(records, seed=0)
    return {int(row): name for name in PARTS for row in parts.part(name)}


def test_few_targets_tie_no_pairs_together(loaded):
    pairs = [(f"question {row}", ("yes", "no")[row % 2]) for row in range(60)]
    records = loaded(pairs)
    assert len(set(records.hashes())) == 60
    parts = list(parts_of(records).values())
    assert [parts.count(name) for name in PARTS] == [42, 9, 9]


def test_a_source_stays_in_one_part_with_all_its_targets(loaded):
    pairs = [(f"question {row // 3}", f"answer {row}") for row in range(90)]
    parts = parts_of(loaded(pairs))
    assert {parts[row] for row in range(90)} == set(PARTS)
    for row in range(0, 90, 3):
        assert len({parts[row + more] for more in range(3)}) == 1


def test_pairs_that_are_nearly_alike_stay_together(loaded):
    draw = np.random.default_rng(0)
    pairs = [(" ".join(draw.choice(WORDS, 60)), f"target {row % 3}") for row in range(40)]
    pairs[30] = (f"{pairs[3][0]} more", pairs[3][1])
    records = loaded(pairs)
    assert records.near[3] == records.near[30] >= 0
    assert records.near.count(-1) == 38
    assert records.facts["near"]["clusters"] == 1


def test_equal_pairs_are_duplicates(loaded):
    others = [("c", f"number {i}") for i in range(9)]
    records = loaded([("a", "one two"), ("a", "one two"), ("b", "one two"), *others])
    first, again, other = records.hashes()[:3]
    assert first == again != other
