"""Numbers of samples: read from words, one place each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.errors import UsageError
from likewise.store.numbered import blocks, home, merged, parse, stem, there, told

RUNS = st.lists(
    st.tuples(st.integers(0, 60_000), st.integers(1, 15_000)).map(
        lambda pair: range(pair[0], pair[0] + pair[1])
    ),
    min_size=1,
    max_size=5,
)


@given(RUNS)
def test_runs_hold_every_number_once_and_are_read_back(runs):
    numbers = sorted({number for run in runs for number in run})
    assert [number for run in merged(runs) for number in run] == numbers
    assert parse(told(runs)) == merged(runs)


@given(RUNS, st.sampled_from(["made"]))
def test_a_block_lies_in_one_folder(runs, folder):
    from pathlib import Path

    cut = list(blocks(merged(runs)))
    assert [n for run in cut for n in run] == [n for run in merged(runs) for n in run]
    for run in cut:
        assert home(Path(folder), run[0]) == home(Path(folder), run[-1])


@pytest.mark.parametrize("words", ["", "-3", "9-3", "a", "1,,2", "1-2-3", "1.5", "9" * 13, "٣"])
def test_what_is_no_number_is_said(words):
    with pytest.raises(UsageError, match="only must be numbers of samples from 0 on, such as 17"):
        parse(words)


def test_only_numbered_files_are_found(tmp_path):
    for name in ("00003-a.png", "00004.png", "00004.png.likewise.json", "notes.txt", "12.png",
                 "00005", ".00006.png"):  # fmt: skip
        (tmp_path / name).touch()
    (tmp_path / "from-10000").mkdir()
    (tmp_path / "from-10000" / f"{stem(10_002)}.png").touch()
    assert {n: path.name for n, path in there(tmp_path, range(9)).items()} == {
        3: "00003-a.png",
        4: "00004.png",
    }
    assert list(there(tmp_path, range(10_000, 10_500))) == [10_002]
    assert list(there(tmp_path, range(4, 9))) == [4]
    assert there(tmp_path, range(20_000, 20_001)) == {}
