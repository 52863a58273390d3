"""Dates from one spelling to another: how many held-out ones a transformer gets exactly right.

    python -m benchmarks.translating [--time 60s] [--pairs 20000] [--asked 500] [--out FOLDER]

Pairs such as "Mon, 3 May 2021" and "2021-05-03" are drawn with seed 0, no day twice. A
`transformer` learns the training part within the time, its plan included, as `likewise train`
does; sources of the test part are then translated by beam search, and by the likeliest tokens.
"""

import argparse
import datetime
import json
import os
import platform
import random
import time
from pathlib import Path
from typing import Any

import torch

from likewise.core.contract import Controls
from likewise.store.files import write_json, write_text
from likewise.store.model import Model
from likewise.tasks.translating import translate
from likewise.workbench import verbs
from likewise.workbench.data import Prepared, load

FIRST, DAYS = datetime.date(1900, 1, 1), 73_049  # to the end of 2099
SPELLINGS = (
    "{0:%A}, {0.day} {0:%B} {0.year}",
    "{0.day} {0:%b} {0.year}",
    "{0:%B} {0.day}, {0.year}",
    "{0:%a} {0.day}.{0.month}.{0.year}",
    "{0.day}/{0:%b}/{0:%y} ({0.year})",
)


def dates(n: int, seed: int = 0) -> list[tuple[str, str]]:
    """(spelling, ISO 8601) of n days."""
    rng = random.Random(seed)
    days = [FIRST + datetime.timedelta(days=day) for day in rng.sample(range(DAYS), n)]
    return [(rng.choice(SPELLINGS).format(day), day.isoformat()) for day in days]


def written(pairs: list[tuple[str, str]], path: Path) -> Path:
    """Pairs as rows of JSONL."""
    rows = (json.dumps({"source": source, "target": target}) for source, target in pairs)
    write_text(path, "".join(f"{row}\n" for row in rows))
    return path


def exact(model: Model, sources: list[str], targets: list[str], width: int) -> dict[str, float]:
    """The share of sources that become their targets to the letter, and the seconds of each."""
    start = time.perf_counter()
    controls = Controls(temperature=0.0) if width == 1 else Controls()
    found = translate(model, sources, beams=width, controls=controls)
    seconds = time.perf_counter() - start
    right = sum(one == target for one, target in zip(found, targets, strict=True))
    return {"exact": right / len(sources), "seconds_each": seconds / len(sources)}


def made(given: argparse.Namespace) -> dict[str, Any]:
    """Train and translate; what came of it."""
    records = load(written(dates(given.pairs), given.out / "pairs.jsonl"))
    start = time.perf_counter()
    model = verbs.fit(records, "transformer", time=given.time)
    seconds = time.perf_counter() - start
    test = Prepared.of(records).some("test", given.asked)
    sources, targets = list(test.conditions["source"]), list(test.items)
    return {
        "beams": exact(model, sources, targets, 4),
        "greedy": exact(model, sources, targets, 1),
        "trained_seconds": seconds,
        "parameters": model.parameters,
        "asked": len(sources),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def main() -> None:
    """Train, translate, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--time", default="60s")
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--asked", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/translating"))
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    found = made(given)
    write_json(given.out / "found.json", found)
    for name in ("beams", "greedy"):
        share, each = found[name]["exact"], 1000 * found[name]["seconds_each"]
        print(f"{name:6} {share:.1%} of {found['asked']} exact, {each:.1f} ms each")
    told = f"{found['parameters']:,} parameters, {found['trained_seconds']:.1f} s"
    print(f"{told}, {found['threads']} threads")


if __name__ == "__main__":
    main()
