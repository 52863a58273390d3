"""Augmentation: exact movements against numpy, rows of their own, results in the Space."""

import math

import numpy as np
import pytest
import torch

from likewise.core.errors import UsageError
from likewise.core.records import Records
from likewise.core.rng import Draws
from likewise.domains.images import Images
from likewise.domains.images.augment import ANGLE, KINDS, SCALE, ZOOM, augment, movement


def pictures(n=40, c=3, h=12, w=20, top=255):
    return torch.randint(0, top + 1, (n, c, h, w), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )


def test_nothing_asked_for_changes_nothing():
    x = pictures()
    assert torch.equal(augment(x, 255, (), Draws(0)), x)


def test_a_flip_is_a_mirror_or_nothing():
    x = pictures()
    y = augment(x, 255, ("flip",), Draws(0))
    same = (y == x).flatten(1).all(dim=1)
    mirrored = (y == x.flip(-1)).flatten(1).all(dim=1)
    assert bool((same ^ mirrored).all())
    assert 8 < int(mirrored.sum()) < 32


@pytest.mark.parametrize("top", [1, 16, 255])
def test_a_shift_is_whole_pixels_with_the_edge_repeated(top):
    x = pictures(top=top)
    y = augment(x, top, ("shift",), Draws(1)).numpy()
    seen = set()
    for before, after in zip(x.numpy(), y, strict=True):
        wide = np.pad(before, ((0, 0), (1, 1), (2, 2)), mode="edge")
        moves = [
            (i, j)
            for i in range(3)
            for j in range(5)
            if np.array_equal(wide[:, i : i + 12, j : j + 20], after)
        ]
        assert len(moves) == 1
        seen.update(moves)
    assert len(seen) > 8


def test_a_rotation_is_one_in_pixels_of_any_shape():
    u = Draws(0).uniform(50, 11)
    theta = movement(u, 12, 20, ("rotate",))
    assert torch.all(theta[:, :, 2] == 0)
    half = torch.tensor([10.0, 6.0])  # from [-1, 1] to pixels: half the width, half the height
    in_pixels = half[:, None] * theta[:, :, :2] / half[None, :]
    eye = in_pixels @ in_pixels.transpose(1, 2)
    assert torch.allclose(eye, torch.eye(2).expand_as(eye), atol=1e-5)
    angle = torch.atan2(in_pixels[:, 1, 0], in_pixels[:, 0, 0])
    assert float(angle.abs().max()) <= math.radians(ANGLE)
    assert float(angle.std()) > math.radians(ANGLE) / 3


def test_a_crop_stays_within_the_picture_and_a_scale_within_its_range():
    u = Draws(0).uniform(200, 11)
    crop = movement(u, 8, 8, ("crop",))
    corners = torch.tensor([[-1.0, -1.0, 1.0], [1.0, 1.0, 1.0]]).T
    reach = crop @ corners
    assert float(reach.abs().max()) <= 1 + 1e-6
    assert float(crop[:, 0, 0].min()) >= 1 - ZOOM
    scale = movement(u, 8, 8, ("scale",))[:, 0, 0].log()
    assert float(scale.abs().max()) <= SCALE
    assert float(scale.min()) < 0 < float(scale.max())


def test_all_movements_together_are_the_product_of_each():
    """Shifted first and mirrored last, by matrices multiplied one by one."""
    u = Draws(5).uniform(6, 11)
    whole = movement(u, 10, 10, KINDS)

    def square(kind):
        last = torch.tensor([0.0, 0.0, 1.0]).expand(6, 1, 3)
        return torch.cat([movement(u, 10, 10, (kind,)), last], dim=1)

    steps = [square(kind) for kind in ("shift", "crop", "rotate", "flip", "scale")]
    product = steps[0]
    for step in steps[1:]:
        product = product @ step
    mirror = square("flip")
    assert bool((mirror[:, 0, 0] < 0).any())
    assert torch.allclose(whole, product[:, :2], atol=1e-6)


def test_light_changes_but_stays_on_the_levels():
    x = pictures(top=16)
    y = augment(x, 16, ("colour",), Draws(0))
    assert y.dtype == torch.uint8
    assert int(y.max()) <= 16
    assert not torch.equal(x, y)
    grey = pictures(c=1)
    assert augment(grey, 255, ("colour",), Draws(0)).shape == grey.shape


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_has_draws_of_its_own(kind):
    x = pictures(8)
    whole = augment(x, 255, (kind,), Draws(3))
    part = augment(x[5:], 255, (kind,), Draws(3, start=5))
    assert torch.equal(whole[5:], part)
    assert not torch.equal(whole, augment(x, 255, (kind,), Draws(4)))


def test_one_kind_leaves_the_draws_of_the_others():
    u = Draws(0).uniform(9, 11)
    alone, both = movement(u, 8, 8, ("shift",)), movement(u, 8, 8, ("shift", "flip"))
    assert torch.equal(alone[:, :, 2], both[:, :, 2])


def made(items, labels=None, facts=None):
    conditions = {} if labels is None else {"label": tuple(labels)}
    ids = tuple(map(str, range(len(items))))
    return Records(
        domain="images",
        items=items,
        ids=ids,
        conditions=conditions,
        facts={"levels": 256, **(facts or {})},
    )


def kinds(records, **options):
    domain = Images(**options)
    domain.fit(records)
    return domain.state()["augment"]


def test_only_colour_photographs_without_labels_are_augmented_unasked():
    photographs = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    assert kinds(made(photographs)) == ["flip"]
    assert kinds(made(photographs, labels=["a", "b", "a", "b"])) == []
    assert kinds(made(photographs[..., :1])) == []
    drawings = photographs // 128 * 255
    assert kinds(made(drawings)) == []
    assert kinds(Images.load("digits")) == []


def test_what_is_asked_for_is_kept_and_used_in_training_only():
    data = made(pictures(6).permute(0, 2, 3, 1).numpy(), labels="ababab")
    assert kinds(data, augment=("flip", "shift")) == ["shift", "flip"]
    assert kinds(data, augment="none") == []
    asked = Images.load(data.items, augment="rotate,colour")
    assert kinds(asked) == ["rotate", "colour"]
    assert kinds(asked, augment="flip") == ["flip"]
    domain = Images(augment=KINDS)
    domain.fit(data)
    for space in domain.views():
        rows = torch.arange(6)
        still, _ = domain.source(data, space, train=False).batch(rows, Draws(0))
        moved, c = domain.source(data, space, train=True).batch(rows, Draws(0))
        space.check(moved)
        assert not torch.equal(still, moved)
        assert c["label"][0].tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(UsageError, match=r"augment 'flop' is unknown; did you mean 'flip'\?"):
        Images(augment=("flop",))
