"""How fast a folder of pictures is read, cold and from the cache, and whether batches ever wait.

    python -m benchmarks.loading [ZIP] [--count 10000] [--runs 5] [--seed 0]

Reads 10,000 JPEG files of 32x32 (of the archive ZIP, or random smooth pictures) five times each
way in turn, so that other work on the machine slows all of them, and takes medians: `Images.load`
with an empty cache (decoding, near-duplicates and writing the cache included), again with a full
one, and torch's DataLoader with Pillow over the same files at 0 and at 2 workers, of which the
faster counts. The files are in the system's own cache from the start for all of them.

Then, for each family at its smallest preset, the share of a training step that its batch of 64
takes, in processor time of one thread.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from likewise.core import registry
from likewise.core.contract import Family, Source
from likewise.core.rng import Draws
from likewise.domains.images import Images
from likewise.domains.images.files import FRESH
from likewise.train.job import Job
from likewise.train.loop import Trainer

BATCH, STEPS = 64, 5


class Pictures(Dataset[Tensor]):
    """Files as anyone would read them with Pillow."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip", nargs="?", help="an archive of JPEG files to take them from")
    for name, default in {"count": 10_000, "runs": 5, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ["LIKEWISE_CACHE"] = f"{place}/cache"
        folder = Path(place) / "pictures"
        for name, data in files(args):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        time.sleep(FRESH / 1e9)  # until then contents count, not times
        loading(folder, Path(place) / "cache", args.runs)
        waiting(folder, args.runs)


def files(args: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of as many JPEG files as are wanted."""
    if args.zip:
        with zipfile.ZipFile(args.zip) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
            for name in names[: args.count]:
                yield name, archive.read(name)
        return
    draw = np.random.default_rng(args.seed)
    with tempfile.TemporaryFile() as file:
        for number in range(args.count):
            coarse = draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC)
            file.seek(0)
            file.truncate()
            picture.save(file, "JPEG", quality=90)
            file.seek(0)
            yield f"{number % 10}/{number:05}.jpg", file.read()


def loading(folder: Path, cache: Path, runs: int) -> None:
    def cold() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        Images.load(folder)

    def cached() -> None:
        Images.load(folder)

    def torchs(workers: int) -> Callable[[], None]:
        def read() -> None:
            for _ in DataLoader(Pictures(folder), batch_size=BATCH, num_workers=workers):
                pass

        return read

    # A process that has just forked others pays for it when it writes to its memory, so what
    # forks nothing itself comes after what forked nothing.
    ways = {"cold": cold, "torch, 0": torchs(0), "cached": cached, "torch, 2": torchs(2)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    count = len(Pictures(folder))
    speed = {name: count / statistics.median(taken) for name, taken in seconds.items()}
    for name, value in speed.items():
        print(f"{name}: {value:.0f} pictures/s, the median of {runs} runs")
    best = max(speed["torch, 0"], speed["torch, 2"])
    print(f"cold: {speed['cold'] / best:.2f} times torch's (goal: 1.5)")
    print(f"cached: {speed['cached'] / best:.1f} times torch's (goal: 20)")


def waiting(folder: Path, runs: int) -> None:
    records = Images.load(folder)
    domain = Images()
    domain.fit(records)
    for name in registry.names("families"):
        family = registry.get("families", name)
        space = next((s for s in domain.views() if family.refuses(s) is None), None)
        if space is None or family.learn is not Family.learn:
            continue
        source = domain.source(records, space, train=True)
        config = family.preset("xs", space, domain.conditions())
        batch, step = times(family(config, space, domain.conditions()), source, runs)
        print(f"{name}: batch {1e3 * batch:.2f} ms of a step of {1e3 * step:.1f} ms, "
              f"{100 * batch / step:.2f} % (goal: below 2 %)")  # fmt: skip


def times(trainable: Any, source: Source, runs: int) -> tuple[float, float]:
    """Processor seconds of a batch and of a whole step, medians."""
    trainer = Trainer(trainable, source, Job(name="loading", steps=1000, batch=BATCH))
    trainer.start()
    trainer.advance()
    batches, steps = [], []
    draw = torch.Generator().manual_seed(0)
    for run in range(runs):
        start = time.process_time()
        for _ in range(STEPS):
            trainer.advance()
        steps.append((time.process_time() - start) / STEPS)
        index = torch.randint(len(source), (STEPS, BATCH), generator=draw)
        start = time.process_time()
        for rows in index:
            source.batch(rows, Draws(run))
        batches.append((time.process_time() - start) / STEPS)
    return statistics.median(batches), statistics.median(steps)


if __name__ == "__main__":
    main()
