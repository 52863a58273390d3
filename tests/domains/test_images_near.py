"""Near-duplicates: copies saved again, resized and relit are found, different pictures are not."""

import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from likewise.core.records import PARTS, split
from likewise.domains.images import Images, near
from likewise.domains.images.near import near_duplicates
from tests.domains.picture_files import encoded, opened


def photographs(n, side=32, seed=0):
    """Random pictures with as much of the coarse and as little of the fine as photographs have."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)) * side
    noise = np.fft.fft2(draw.standard_normal((n, 4, side, side))) / np.maximum(frequency, 1) ** 1.2
    waves = np.fft.ifft2(noise).real
    waves = waves[:, :1] + 0.3 * waves[:, 1:]  # mostly light, a little colour
    waves /= waves.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(128 + 45 * waves, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def saved_again(quality):
    return lambda picture: opened(encoded(picture, "JPEG", quality=quality))


def resized(share):
    def change(picture):
        h, w = picture.shape[:2]
        small = Image.fromarray(picture).resize((round(w * share), round(h * share)), 1)
        return np.array(small.resize((w, h), Image.Resampling.LANCZOS))

    return change


CHANGES = {
    "jpeg 90": saved_again(90),
    "jpeg 75": saved_again(75),
    "twice as large": resized(2),
    "three quarters": resized(0.75),
    "half": resized(0.5),
    "brighter": lambda picture: np.clip(picture.astype(int) + 20, 0, 255).astype(np.uint8),
    "a tenth more light": lambda picture: np.clip(picture * 1.1, 0, 255).astype(np.uint8),
    "darker": lambda picture: (picture * 0.85).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_copies_are_found_and_nothing_else(change):
    items = photographs(400)
    rows = np.arange(0, 400, 8)
    clusters = near_duplicates(np.concatenate([items, [change(items[i]) for i in rows]]), 256)
    wanted = [[int(row), 400 + i] for i, row in enumerate(rows)]
    assert all(cluster in wanted for cluster in clusters)
    assert len(clusters) >= 0.9 * len(wanted)


def test_what_is_found_is_what_comparing_all_pairs_finds():
    items = photographs(300, side=16)
    draw = np.random.default_rng(1)
    for row in range(100, 200):  # from copies that are hardly changed to other pictures
        noise = draw.normal(0, (row - 100) * 0.4, items[row].shape)
        items[row] = np.clip(items[row - 100] + noise, 0, 255)
    pairs = np.stack(np.triu_indices(300, 1), axis=1)
    alike = near._near(items, pairs, near.CLOSE * near._usual(items, np.arange(len(items))), 2.55)
    every = near._around_the_first(pairs[alike])
    found = near_duplicates(items, 256)
    assert 10 < len(every) < 100
    assert all(cluster in every for cluster in found)
    assert len(found) >= 0.85 * len(every), "of those on the very edge some are missed"


def test_different_digits_and_simple_drawings_are_not_near():
    digits = Images.load("digits")
    assert digits.near is None
    assert digits.facts["near"] == {"pictures": 0, "clusters": 0, "examples": []}
    assert near_duplicates(Images.toy().items, 16) == []


def test_strokes_that_differ_and_flat_pictures_are_not_near():
    items = photographs(60)
    items[1] = items[0]
    items[1, 4:7, 4:7] = 255 - items[1, 4:7, 4:7]
    items[2:10] = np.arange(100, 108)[:, None, None, None]
    items[2:10, 0, 0] += 1
    assert near_duplicates(items, 256) == []


def test_exact_copies_are_no_near_duplicates_but_hide_none():
    items = photographs(80)
    items[10:50] = items[0]
    items[70] = CHANGES["jpeg 90"](items[0])
    assert near_duplicates(items, 256) == [[0, 70]]


def test_a_cluster_is_around_its_first_and_does_not_drift():
    ends = photographs(2, seed=3).astype(float)
    mix = np.linspace(0, 1, 60)[:, None, None, None]
    chain = ((1 - mix) * ends[0] + mix * ends[1]).astype(np.uint8)
    items = np.concatenate([chain, photographs(200)])
    clusters = near_duplicates(items, 256)
    assert len(clusters) > 2
    most = near.CLOSE * near._usual(items, np.arange(len(items)))
    for first, *others in clusters:
        pairs = np.array([[first, other] for other in others])
        assert near._near(items, pairs, most, 2.55).all()
    rows = [row for cluster in clusters for row in cluster]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (1, 8, 8, 3), (2, 3, 5, 1), (3, 1, 1, 3)])
def test_few_and_small_pictures(shape):
    items = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert near_duplicates(items, 256) == []
    assert near_duplicates(np.zeros(shape, np.uint8), 256) == []


@pytest.mark.parametrize("size", [(8, 8), (5, 11), (28, 20), (64, 48), (150, 160)])
def test_cells_are_the_sums_over_equal_areas(size):
    h, w = size
    items = np.random.default_rng(0).integers(0, 256, (2, h, w, 3), dtype=np.uint8)
    fine = items.astype(np.int64).sum(axis=3).repeat(8, axis=1).repeat(8, axis=2)
    cells = fine.reshape(2, 8, h, 8, w).sum(axis=(2, 4))
    assert np.array_equal(near._cells(items), cells.reshape(2, 64))


def test_it_takes_as_long_as_sorting():
    def seconds(n):
        items = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
        start = time.process_time()
        near_duplicates(items, 256)
        return time.process_time() - start

    seconds(100)
    small, large = min(seconds(2000) for _ in range(3)), min(seconds(16000) for _ in range(3))
    assert large < 30 * small, "of all pairs it would be 64 times"


def test_files_tell_and_the_cache_remembers_and_a_split_keeps_together(tmp_path):
    items = photographs(60, side=16)
    for i, picture in enumerate(items):
        (tmp_path / f"{i:02}.png").write_bytes(encoded(picture))
    for i in range(0, 40, 4):
        (tmp_path / f"{i:02}-again.jpg").write_bytes(encoded(items[i], "JPEG", quality=92))
        (tmp_path / f"{i:02}-bright.png").write_bytes(encoded(CHANGES["brighter"](items[i])))
    fresh, cached = Images.load(tmp_path), Images.load(tmp_path)
    assert fresh.near == cached.near
    assert fresh.facts == cached.facts
    assert fresh.facts["near"]["pictures"] == 30
    assert fresh.facts["near"]["clusters"] == 10
    assert fresh.facts["near"]["examples"][0] == ["00-again.jpg", "00-bright.png"]
    note = (
        "30 of 80 pictures are near-duplicates, in 10 clusters: one picture saved again, resized"
    )
    assert any(text.startswith(note) for text in fresh.notes)
    for seed in range(5):
        parts = split(fresh, seed=seed)
        homes = [{fresh.ids[row][:2] for row in parts.part(part)} for part in PARTS]
        assert homes[0].isdisjoint(homes[1] | homes[2])
        assert homes[1].isdisjoint(homes[2])
    straddling = split(replace(fresh, near=None), seed=0)
    names = [{fresh.ids[row][:2] for row in straddling.part(part)} for part in PARTS]
    assert not names[0].isdisjoint(names[1] | names[2]), "without `near` they would straddle"
