"""Splits: whole clusters of duplicates and groups, stratified, honest about too little data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core import records as module
from likewise.core.errors import DataError
from likewise.core.records import PARTS, Picked, Records, split


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


@settings(max_examples=100, deadline=None)
@given(data=st.data(), n=st.integers(6, 40), seed=st.integers(0, 9))
def test_duplicates_groups_and_near_duplicates_stay_together(data, n, seed):
    few = st.lists(st.integers(0, n), min_size=n, max_size=n)
    values, groups, near = data.draw(few), data.draw(few), data.draw(few)
    near = tuple(number if number < n // 3 else -1 for number in near)
    held = records(values, groups=tuple(map(str, groups)), near=near)
    try:
        parts = split(held, seed=seed)
    except DataError:
        return  # all hangs together
    home = {row: part for part in PARTS for row in parts.part(part)}
    assert sorted(home) == list(range(n))
    for row in range(n):
        for other in range(row):
            near_by = near[row] == near[other] != -1
            if values[row] == values[other] or groups[row] == groups[other] or near_by:
                assert home[row] == home[other]


def test_without_near_duplicates_the_split_is_as_it_was():
    plain = split(records(range(200)), seed=3)
    looked = split(records(range(200), near=(-1,) * 200), seed=3)
    for part in PARTS:
        assert plain.part(part).tolist() == looked.part(part).tolist()
    # Written down so that the split of old runs stays.
    assert plain.test[:8].tolist() == [7, 8, 11, 18, 20, 25, 41, 45]


def test_some_of_the_records_keep_their_clusters():
    some = records(range(5), near=(0, -1, 0, 1, 1)).take([4, 0, 1])
    assert some.near == (1, 0, -1)


def test_hashes_are_computed_once(monkeypatch):
    calls, real = [], module._hash
    monkeypatch.setattr(module, "_hash", lambda item: calls.append(1) or real(item))
    held = records(range(30))
    split(held, seed=0)
    split(held, seed=1)
    assert held.fingerprint() == held.fingerprint()
    assert len(set(held.hashes())) == len(calls) == 30


def test_rows_of_a_file_are_read_when_they_are_asked_for(tmp_path):
    whole = np.random.default_rng(0).integers(0, 256, (40, 3, 2), dtype=np.uint8)
    np.save(tmp_path / "x.npy", whole)
    held = np.load(tmp_path / "x.npy", mmap_mode="r")
    ids = tuple(map(str, range(40)))
    in_file = Records(domain="toy", items=held, ids=ids)
    in_memory = Records(domain="toy", items=whole, ids=ids)
    assert in_file.fingerprint() == in_memory.fingerprint()
    rows = [30, 2, 2, 7]
    some, wanted = in_file.take(rows), in_memory.take(rows)
    assert isinstance(some.items, Picked)
    assert some.items.whole is held
    assert some.items.shape == wanted.items.shape
    assert some.items.dtype == wanted.items.dtype
    assert some.hashes() == wanted.hashes()
    assert np.array_equal(some.items[1:3], wanted.items[1:3])
    assert np.array_equal(some.items[np.array([3, 0])], wanted.items[[3, 0]])
    assert np.array_equal(np.asarray(some.items), wanted.items)
    assert np.array_equal(np.asarray(some.take([3, 1]).items), wanted.take([3, 1]).items)
    assert some.take([0]).items.whole is held


def test_pieces_that_repeat_do_not_join_their_groups():
    head, bodies = "licence", [f"body {row}" for row in range(30)]
    items = tuple(text for body in bodies for text in (head, body))
    groups = tuple(str(row // 2) for row in range(60))
    ids = tuple(map(str, range(60)))

    def parts(**facts):
        records = Records(domain="toy", items=items, ids=ids, groups=groups, facts=facts)
        return split(records, seed=0)

    with pytest.raises(DataError, match="at least 3 different records"):
        parts()
    found = parts(pieces=True)
    assert len(found.test) > 0
    of = {name: {groups[row] for row in found.part(name)} for name in ("train", "valid", "test")}
    assert not of["train"] & of["test"]


def test_groups_that_are_equal_as_a_whole_stay_together():
    items = tuple(text for row in range(20) for text in ("head", f"body {row % 10}"))
    groups = tuple(str(row // 2) for row in range(40))
    ids = tuple(map(str, range(40)))
    records = Records(domain="toy", items=items, ids=ids, groups=groups, facts={"pieces": True})
    found = split(records, seed=0)
    for name in ("train", "valid", "test"):
        rows = set(found.part(name).tolist())
        assert all(((row + 20) % 40 in rows) for row in rows)


@pytest.mark.parametrize("each", [1, 2, 3, 5, 9, 10])
def test_labels_of_few_records_leave_no_part_short(each):
    labels = tuple(str(row // each) for row in range(300))
    parts = split(records(range(300), conditions={"label": labels}), seed=0, stratify="label")
    sizes = [len(parts.part(name)) for name in PARTS]
    assert sizes == pytest.approx([210, 45, 45], abs=30 if each == 10 else 1)
