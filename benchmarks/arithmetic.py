"""Seconds of a training step in other arithmetic and other layouts, for each gradient family.

    python -m benchmarks.arithmetic [--size 28] [--channels 1] [--families vae,gan] [--compile]

Each variant trains the preset "xs" on made pictures; rounds of steps take turns, and the figures
are medians of five rounds, as shares of the float32 row of the same family. `--compile` also tries
`torch.compile` on every network of the family: it needs a C++ compiler and takes minutes, and the
seconds of the first step, in which it compiles, are told.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from likewise.train.job import Job
from likewise.train.loop import Trainer
from likewise.workbench.data import Prepared, load
from likewise.workbench.fitting import build, kinds, preset, space_of, steered

FAMILIES = ("vae", "gan", "flow", "pixelcnn", "diffusion")
VARIANTS = ("float32", "float32, channels last", "bfloat16", "bfloat16, channels last")
ROUNDS = 5
STEPS = 4


def pictures(side: int, channels: int, n: int = 2000) -> Any:
    """(n, side, side, channels) smooth blobs and two labels."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    centre, width = draw.uniform(0.2, 0.8, (n, 2, 1, 1)), draw.uniform(0.05, 0.2, (n, 1, 1))
    square = (x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2
    grey = 255 * np.exp(-square / width**2)
    return np.repeat(grey[..., None].astype(np.uint8), channels, 3), ["a", "b"] * (n // 2)


def trainer(prepared: Prepared, name: str, arithmetic: str) -> Trainer:
    """A Trainer of one variant, started."""
    kind, space = kinds(name)[0], space_of(prepared, name)
    conditions = prepared.domain.conditions()
    config = preset(kind, "xs", space, conditions)
    family = build(kind, config, space, steered(kind, conditions), seed=0, name=name)
    source = prepared.source("train", space, train=True)
    job = Job(name=name, steps=10_000, batch=config.batch, arithmetic=arithmetic)
    result = Trainer(family, source, job)
    result.start()
    return result


def rounds(trainers: dict[str, Trainer]) -> dict[str, list[float]]:
    """Seconds a step of each variant, round by round; what fails is left out."""
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for name, one in trainers.items():
        start = time.perf_counter()
        one.advance()
        one.advance()
        print(f"    {name}: first two steps {time.perf_counter() - start:.1f} s", flush=True)
    for _ in range(ROUNDS):
        for name, one in trainers.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                one.advance()
            times[name].append((time.perf_counter() - start) / STEPS)
    return times


def main() -> None:
    """Print one block a family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--compile", action="store_true")
    wanted = parser.parse_args()
    prepared = Prepared.of(load(pictures(wanted.size, wanted.channels)))
    print(f"{wanted.size}x{wanted.size}x{wanted.channels}, threads {torch.get_num_threads()}")
    for name in wanted.families.split(","):
        variants = VARIANTS + ("bfloat16, compiled",) * wanted.compile
        print(f"{name}")
        times = rounds({words: trainer(prepared, name, words) for words in variants})
        base = statistics.median(times["float32"])
        for word, seconds in times.items():
            middle = statistics.median(seconds)
            print(f"  {word:<24} {1000 * middle:7.1f} ms  {middle / base:5.2f}", flush=True)


if __name__ == "__main__":
    main()
