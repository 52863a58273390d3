"""Augmentation that keeps a picture's label: small movements, a mirror, a change of light.

What a picture means can change with any of these: a mirrored 2 is no digit, a 6 turned far
enough is a 9, an icon is its colours. A generative model also learns whatever it is shown, so
an augmentation that the data would not itself have made is learned as if it were data (Karras
et al., "Training generative adversarial networks with limited data", 2020, call it leaking).
Hence nothing is switched on but for colour photographs without labels, which are mirrored: the
one change that leaves every value and every neighbourhood as it was. The rest is asked for by
name.

All movements are one affine map per picture and one resampling, and the result is put back on
the levels of the data, so that it stays in the Space.
"""

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.rng import Draws

MOVEMENTS = ("shift", "rotate", "scale", "crop", "flip")
KINDS = (*MOVEMENTS, "colour")

SHIFT = 0.1  # largest shift, as a share of the side, in whole pixels, at least one
ANGLE = 10.0  # largest rotation, in degrees
SCALE = 0.1  # largest change of size, up or down
ZOOM = 0.2  # largest share of the side that a crop takes away
LIGHT = 0.1  # largest change of brightness, as a share of the range
CONTRAST = 0.2  # largest change of contrast and of saturation
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_COLUMNS = 11  # every kind has columns of its own, so that one leaves the draws of the others


def augment(levels: Tensor, top: int, kinds: Collection[str], rng: Draws) -> Tensor:
    """Pictures moved and relit, each by the draws of its own row.

    Args:
        levels: (n, c, h, w) uint8 in 0..top.
        top: the highest level.
        kinds: among `KINDS`.
        rng: row i of its one draw belongs to picture i.

    Returns:
        (n, c, h, w) uint8 in 0..top.
    """
    u = rng.uniform(len(levels), _COLUMNS)
    x = levels.float() / top
    if any(kind in kinds for kind in MOVEMENTS):
        theta = movement(u, levels.shape[-2], levels.shape[-1], kinds)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        # The edge is repeated outwards: mirroring it could put a second object into view.
        x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    if "colour" in kinds:
        x = _relight(x, u)
    return (x * top).round_().clamp_(0, top).to(torch.uint8)


def movement(u: Tensor, height: int, width: int, kinds: Collection[str]) -> Tensor:
    """(n, 2, 3): where in the old picture each place of the new one is read, in [-1, 1].

    The picture is shifted first, so that it is by whole pixels, then cropped, turned and scaled,
    and mirrored last.
    """
    zero = torch.zeros_like(u[:, 0])
    angle = math.radians(ANGLE) * _signed(u[:, 2]) if "rotate" in kinds else zero
    scale = torch.exp(-SCALE * _signed(u[:, 3])) if "scale" in kinds else zero + 1
    crop = ZOOM * u[:, 4] if "crop" in kinds else zero
    mirror = torch.where(u[:, 7] < 0.5, -1.0, 1.0) if "flip" in kinds else zero + 1
    cos, sin = angle.cos() * scale * (1 - crop), angle.sin() * scale * (1 - crop)
    across = crop * _signed(u[:, 5])
    down = crop * _signed(u[:, 6])
    if "shift" in kinds:
        across = across + 2 / width * _whole(u[:, 0], width)
        down = down + 2 / height * _whole(u[:, 1], height)
    # In [-1, 1] a pixel is 2/width across but 2/height down: hence the ratios in a rotation.
    first = torch.stack([mirror * cos, -sin * height / width, across], dim=1)
    second = torch.stack([mirror * sin * width / height, cos, down], dim=1)
    return torch.stack([first, second], dim=1)  # two (n, 3) -> (n, 2, 3)


def _relight(x: Tensor, u: Tensor) -> Tensor:
    """Brightness, contrast and (of colour pictures) saturation; x (n, c, h, w) in [0, 1]."""
    brightness, contrast, saturation = _signed(u[:, 8:]).reshape(-1, 3, 1, 1, 1).unbind(dim=1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (1 + CONTRAST * contrast) * (x - mean) + LIGHT * brightness
    if x.shape[1] == len(LUMA):
        grey = (x * x.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        x = grey + (1 + CONTRAST * saturation) * (x - grey)
    return x


def _signed(u: Tensor) -> Tensor:
    """(0, 1) as (-1, 1)."""
    return 2 * u - 1


def _whole(u: Tensor, side: int) -> Tensor:
    """(0, 1) as whole pixels, each shift up to the largest equally often."""
    most = max(1, round(SHIFT * side))
    return (u * (2 * most + 1)).floor() - most
