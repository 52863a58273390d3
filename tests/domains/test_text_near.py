"""Near-duplicate documents: found against brute force, kept in one part, never too many."""

import numpy as np

from likewise.core.records import split
from likewise.domains.text import Text, near
from likewise.domains.text.corpus import passages_of
from likewise.domains.text.near import near_duplicates

VOCABULARY = [f"w{i}" for i in range(400)]


def texts_of(n=60, size=80, seed=0):
    draw = np.random.default_rng(seed)
    return [list(draw.choice(VOCABULARY, size)) for _ in range(n)]


def clusters_of(texts):
    passages = passages_of(texts)
    return near_duplicates(passages.text, passages.starts, passages.stops)


def similarity(one, other):
    """The Jaccard similarity of the sets of runs of five words, by its definition."""
    runs = [
        {tuple(words[i : i + 5]) for i in range(len(words) - 4)}
        for words in (one.lower().split(), other.lower().split())
    ]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def test_copies_with_changes_are_found_as_brute_force_finds_them():
    draw = np.random.default_rng(1)
    words = texts_of()
    for row, changes in ((40, 1), (41, 2), (42, 6), (43, 15)):
        words[row] = list(words[row - 40])
        for place in draw.integers(0, 80, changes):
            words[row][place] = "new"
    texts = [" ".join(one) for one in words]
    pairs = {tuple(rows) for rows in clusters_of(texts)}
    for row in (40, 41, 42, 43):
        alike = similarity(texts[row - 40], texts[row])
        if abs(alike - near.ALIKE) > 0.1:
            assert ((row - 40, row) in pairs) == (alike > near.ALIKE)
    assert (0, 40) in pairs
    assert len(pairs) <= 3


def test_the_similarity_of_sketches_is_that_of_the_sets():
    draw = np.random.default_rng(2)
    for size in (30, 60):  # every hash is in the sketch: exact
        one = list(draw.choice(VOCABULARY, size))
        for changed in (3, 10):
            other = one[:-changed] + list(draw.choice(VOCABULARY, changed))
            texts = [" ".join(one), " ".join(other)]
            passages = passages_of(texts)
            found, counts = near.sketches(passages.text, passages.starts, passages.stops)
            a, b = (row[:count] for row, count in zip(found, counts, strict=True))
            assert near.resemblance(a, b) == similarity(*texts)


def test_case_and_white_space_are_no_difference_but_equal_texts_are_no_near_ones():
    text = " ".join(texts_of(1)[0])
    assert clusters_of([text, text.upper().replace(" ", "\n ")]) == [[0, 1]]
    assert clusters_of([text, text]) == []


def test_short_texts_say_too_little_and_texts_without_words_are_read_by_characters():
    assert clusters_of(["emma", "emmas", "olivia is here", "olivia is here!"]) == []
    draw = np.random.default_rng(3)
    one = "".join(draw.choice(list("CNO=()1c"), 120))
    other = "".join(draw.choice(list("CNO=()1c"), 120))
    assert clusters_of([one, other, one[:60] + "F" + one[60:]]) == [[0, 2]]


def test_versions_of_a_text_are_one_cluster_though_the_last_is_not_like_the_first():
    base, other = (one[:200] for one in texts_of(2, size=200))
    versions = [" ".join([*["new"] * k, *base[k:]]) for k in range(0, 60, 6)]
    assert similarity(versions[0], versions[-1]) < near.ALIKE
    assert clusters_of([*versions, " ".join(other)]) == [list(range(10))]


def test_letters_of_one_template_are_one_cluster_and_split_with_a_word():
    draw = np.random.default_rng(4)
    base = texts_of(1, size=120)[0]
    letters = [
        " ".join([*base[:k], *draw.choice(VOCABULARY, 3), *base[k + 3 :]]) for k in range(100)
    ]
    assert clusters_of(letters) == [list(range(100))]
    records = Text.load([*letters, *(" ".join(one) for one in texts_of(20, seed=9))])
    assert set(records.near) == {-1}
    assert "One of 100 documents is too large for that and is split" in records.notes[-1]
    held_out = [records.ids[row].split("#")[0] for row in split(records, seed=0).test]
    assert len(set(held_out)) == 18
    few = Text.load([*letters[:8], *(" ".join(one) for one in texts_of(20, seed=9))])
    assert few.near[:8] == (0,) * 8
    assert few.notes[-1].endswith(
        "in 1 cluster: they share 80% of their runs of words. A cluster "
        "stays in one part of the split."
    )


def test_near_documents_stay_in_one_part_and_are_told():
    words = texts_of(40)
    texts = [" ".join(one) for one in words]
    texts += [text + " and so on" for text in texts[:10]]
    records = Text.load(texts, context=128)
    assert len(records) > 2 * len(texts)
    assert records.facts["near"]["pictures"] == 20
    assert records.facts["near"]["clusters"] == 10
    assert all(name in records.ids for pair in records.facts["near"]["examples"] for name in pair)
    assert "20 of 50 documents are near-duplicates, in 10 clusters" in records.notes[-1]
    parts = split(records, seed=0)
    home = {}
    for name in ("train", "valid", "test"):
        for row in parts.part(name):
            home.setdefault(int(records.ids[row].split("#")[0]) % 40, set()).add(name)
    assert all(len(names) == 1 for row, names in home.items() if row < 10)
    assert len({next(iter(names)) for names in home.values()}) == 3
