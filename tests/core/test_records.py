"""Splits: whole clusters of duplicates and groups, stratified, honest about too little data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.errors import DataError
from likewise.core.records import PARTS, Records, split


def records(values, **more):
    items = np.array(values, dtype=np.int64)[:, None]
    ids = tuple(str(i) for i in range(len(values)))
    return Records(domain="toy", items=items, ids=ids, **more)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.integers(0, 12), min_size=3, max_size=60), seed=st.integers(0, 9))
def test_parts_are_whole_and_duplicates_never_straddle(values, seed):
    data = records(values)
    if len(set(values)) < 3:
        with pytest.raises(DataError, match="at least 3 different records"):
            split(data, seed=seed)
        return
    parts = split(data, seed=seed)
    rows = [row for part in PARTS for row in parts.part(part)]
    assert sorted(rows) == list(range(len(values)))
    assert all(len(parts.part(part)) for part in PARTS)
    held = [{values[row] for row in parts.part(part)} for part in PARTS]
    assert held[0].isdisjoint(held[1])
    assert held[0].isdisjoint(held[2])
    assert held[1].isdisjoint(held[2])


def test_labels_keep_their_shares():
    labels = tuple(["a"] * 900 + ["b"] * 100)
    parts = split(records(range(1000), conditions={"label": labels}), seed=0, stratify="label")
    for part, wanted in zip(PARTS, (70, 15, 15), strict=True):
        assert sum(labels[row] == "b" for row in parts.part(part)) == wanted


def test_groups_stay_together():
    groups = tuple(str(i // 10) for i in range(300))
    parts = split(records(range(300), groups=groups), seed=0)
    homes = [{groups[row] for row in parts.part(part)} for part in PARTS]
    assert homes[0].isdisjoint(homes[1] | homes[2])


def test_a_given_split_is_kept_and_a_duplicate_of_a_test_record_leaves_train():
    values = [*range(20), 0]
    given_ = tuple(["test"] * 5 + ["train"] * 16)
    parts = split(records(values, given=given_), seed=0)
    assert set(range(5)) <= set(parts.test)
    assert 20 in parts.test
    assert len(parts.valid)


def test_a_class_with_one_member_is_split_too():
    labels = tuple(["a"] * 20 + ["b"])
    parts = split(records(range(21), conditions={"label": labels}), seed=0, stratify="label")
    assert sum(len(parts.part(part)) for part in PARTS) == 21


def test_one_record_is_too_few_and_the_message_says_what_to_do():
    with pytest.raises(DataError, match=r"got 1 among 1\. Add more data\."):
        split(records([1]), seed=0)


def test_conditions_must_be_one_per_record():
    with pytest.raises(DataError, match=r"label must be one per record \(3\); got 2\."):
        records([1, 2, 3], conditions={"label": ("a", "b")})


def test_equal_content_has_equal_hashes_and_another_fingerprint_by_label():
    one, other = records([1, 1, 2]), records([1, 1, 2], conditions={"label": ("a", "a", "b")})
    assert one.hashes()[0] == one.hashes()[1] != one.hashes()[2]
    assert one.fingerprint() != other.fingerprint()
