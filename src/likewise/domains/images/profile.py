"""Embedded colour profiles (ICC): what a picture's numbers mean, brought to sRGB.

Transforms are of LittleCMS, through Pillow, by relative colorimetry with the black points matched,
as browsers show pictures.
"""

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

PROFILE = "icc_profile"  # under which Pillow keeps the bytes
SPACES = {"L": {"GRAY": "L", "RGB ": "RGB"}, "RGB": {"RGB ": "RGB"}, "CMYK": {"CMYK": "CMYK"}}
"""For each mode, the spaces of profiles that say something of it, and the mode they take."""
NEAR = 2  # levels: a profile that moves no colour by more is taken for sRGB itself


def to_srgb(picture: "Image.Image") -> tuple["Image.Image", str]:
    """A picture of mode L, RGB, CMYK or LAB by its own profile, as L or RGB in sRGB.

    Returns:
        the picture and what was done: "profile", "unread" (a profile that cannot be used; the
        picture is as it was) or "" (there was none, or it was sRGB).
    """
    data = picture.info.get(PROFILE)
    if picture.mode == "LAB":
        return _transform(b"", "LAB").apply(picture), "profile"
    if not data or picture.mode not in SPACES:
        return picture, ""
    try:
        transform = _transform(data, picture.mode)
    except Exception:  # a damaged profile fails in many ways, and so does a Pillow without CMS
        return picture, "unread"
    if transform is None:
        return picture, ""
    if picture.mode == "L":
        return picture.point(transform), "profile"
    return transform.apply(picture), "profile"


@lru_cache(maxsize=64)
def _transform(data: bytes, mode: str) -> Any:
    """To sRGB from the profile in `data`: a transform, or for "L" a list of 256 levels.

    None if it is sRGB already.
    """
    from PIL import Image, ImageCms

    if mode == "LAB":
        own, taken = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), mode
    else:
        own = ImageCms.ImageCmsProfile(io.BytesIO(data))
        taken = SPACES[mode][own.profile.xcolor_space]
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if mode == "L":  # of greys LittleCMS makes a coarse table unless told not to
        flags |= ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(
        own,
        ImageCms.createProfile("sRGB"),
        taken,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags,
    )
    if mode not in ("L", "RGB"):
        return transform
    probe = _probe(mode)
    moved = np.asarray(transform.apply(Image.fromarray(probe).convert(taken)))
    if np.abs(moved.astype(int) - probe).max() <= NEAR:
        return None
    return moved[0, :, 1].tolist() if mode == "L" else transform


def _probe(mode: str) -> Any:
    """(1, n, 3) uint8: all greys, and for "RGB" also colours all over the cube."""
    greys = np.arange(256)[:, None].repeat(3, axis=1)  # (256,) -> (256, 3)
    steps = np.linspace(0, 255, 9 if mode == "RGB" else 0).round()
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return np.concatenate([greys, cube])[None].astype(np.uint8)
