"""Small generated pictures: discs, bars and crosses with noise, enough to learn from quickly."""

import numpy as np

from likewise.core.records import Records
from likewise.core.rng import fold

COUNT = 160
SIDE = 8
LEVELS = 16
SHAPES = ("bar", "cross", "disc")


def toy(seed: int = 0) -> Records:
    """160 grey pictures of 8x8 in 16 levels, with labels; equal seeds give equal pictures."""
    draw = np.random.default_rng(fold(seed, "images", "toy"))
    labels = [SHAPES[i % len(SHAPES)] for i in range(COUNT)]
    row, column = np.mgrid[0:SIDE, 0:SIDE]
    pictures = []
    for label in labels:
        down, across = draw.uniform(3.0, 4.0, size=2)
        near_row, near_column = np.abs(row - down) < 1, np.abs(column - across) < 1
        within = (row - down) ** 2 + (column - across) ** 2
        shape = {
            "bar": near_column & (row > 0) & (row < SIDE - 1),
            "cross": (near_row | near_column) & (within < 10),
            "disc": within < 7,
        }[label]
        light = draw.uniform(11, 14) * shape + draw.normal(0.5, 0.6, size=shape.shape)
        pictures.append(np.rint(light).clip(0, LEVELS - 1).astype(np.uint8)[:, :, None])
    return Records(
        domain="images",
        items=np.stack(pictures),  # (n, 8, 8, 1)
        ids=tuple(str(i) for i in range(COUNT)),
        conditions={"label": tuple(labels)},
        origin="toy",
        facts={"levels": LEVELS},
    )
