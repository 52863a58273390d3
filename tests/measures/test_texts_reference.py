"""The independent reference model: it sums to one, and real against real is 0."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest

from likewise.core.errors import UsageError
from likewise.measures import texts_reference
from likewise.measures.texts_reference import (
    ORDER,
    SIGNS,
    character_log_masses,
    reference_distance,
    sizes_in_bytes,
)


def walks(n, seed, stay=0.8, length=40):
    """Texts of letters that follow one another around a ring, or jump."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((n, length)) < stay, 1, rng.integers(0, 20, (n, length)))
    return ["".join(chr(97 + code) for code in row) for row in steps.cumsum(axis=1) % 20]


def plain_log_mass(training, text):
    """Witten and Bell, one sign at a time, with dictionaries."""
    counts = {}
    for known in training:
        signs = ["<", *known, ">"]
        for i in range(1, len(signs)):
            for depth in range(ORDER):
                context = "".join(signs[max(0, i - depth) : i]) if depth else ""
                counts.setdefault((depth, context), Counter())[signs[i]] += 1
    total, signs = 0.0, ["<", *text, ">"]
    for i in range(1, len(signs)):
        p = 1.0 / SIGNS
        for depth in range(ORDER):
            context = "".join(signs[max(0, i - depth) : i]) if depth else ""
            seen = counts.get((depth, context))
            if seen:
                p = (seen[signs[i]] + len(seen) * p) / (seen.total() + len(seen))
        total += math.log(p)
    return total


def test_log_masses_are_those_of_a_plain_implementation():
    training = ["abracadabra", "banana", "", "cab", "a" * 9]
    texts = ["abra", "zebra", "", "bananas", "aaaaaaa"]
    found = character_log_masses(training, texts).tolist()
    assert found == pytest.approx([plain_log_mass(training, text) for text in texts])


def test_masses_of_all_texts_sum_to_one(monkeypatch):
    """In a world of two characters and the end, texts grow until nearly nothing is left."""
    monkeypatch.setattr(texts_reference, "SIGNS", 3)
    training = ["\x00\x01", "\x01", "", "", "\x01\x00"]
    texts = ["".join(p) for n in range(12) for p in product("\x00\x01", repeat=n)]
    assert 0.99 < float(character_log_masses(training, texts).exp().sum()) <= 1.0 + 1e-9


def test_groups_left_out_are_models_of_the_rest():
    training, asked = walks(12, 0, length=9), walks(5, 1, length=9)
    group = np.arange(12) % 3
    runs = texts_reference._runs([*training, *asked])
    rows = np.arange(17)
    groups = np.concatenate([group, np.zeros(5, dtype=np.int64)])
    masses = texts_reference._log_masses(runs, rows < 12, groups, rows >= 12, 3)
    for left_out in range(3):
        rest = [text for text, own in zip(training, group, strict=True) if own != left_out]
        alone = character_log_masses(rest, asked).numpy()
        assert masses[:, 1 + left_out] == pytest.approx(alone)


def test_real_against_real_is_0_and_another_source_is_not():
    hits, far = 0, 0
    for seed in range(20):
        valid, test = walks(100, 3 * seed), walks(100, 3 * seed + 1)
        same = reference_distance(walks(100, 3 * seed + 2), test, valid=valid)
        other = reference_distance(walks(100, 3 * seed + 2, stay=0.3), test, valid=valid)
        hits += same.low <= 0.0 <= same.high
        far += other.low > 0.0
    assert hits >= 18
    assert far >= 18


def test_the_distance_is_the_difference_of_two_models():
    made, valid, test = (walks(120, seed) for seed in range(3))
    score = reference_distance(made, test, valid=valid)
    half = sum(map(len, valid)) // 2
    first, second = made[:60], valid[60:]
    assert half == sum(map(len, first))
    nats = character_log_masses(second, test) - character_log_masses(first, test)
    expected = float(nats.sum()) / math.log(2) / sizes_in_bytes(test).sum()
    assert score.value == pytest.approx(expected)


def test_valid_against_itself_shares_no_character():
    texts = [f"{i:>3}" * (1 + i % 5) for i in range(40)]
    count = sum(map(len, texts)) // 2
    first, last = texts_reference._first(texts, count), texts_reference._last(texts, count)
    assert "".join(first) + "".join(last) == "".join(texts)


def test_collapse_is_seen():
    made = walks(5, 0) * 20
    score = reference_distance(made, walks(100, 1), valid=walks(100, 2))
    assert score.low > 0.0


def test_too_few_characters_are_refused():
    texts = walks(20, 0, length=9)
    assert reference_distance(texts, texts, valid=texts).why == (
        "it reads 2,000 characters, half of what valid texts have or 2,000; generated 180, half "
        "of valid 90."
    )
    whole = ["x" * 1000] * 20
    assert "10 texts to learn of" in reference_distance(["x" * 9000] * 20, whole, valid=whole).why


def test_a_model_of_nothing_is_refused():
    with pytest.raises(UsageError, match="training texts must be at least 1; got 0"):
        character_log_masses([], ["a"])


def test_bytes_count_the_end():
    assert sizes_in_bytes(["", "a", "ä", "\U0001f642"]).tolist() == [1.0, 2.0, 3.0, 5.0]
