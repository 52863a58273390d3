"""Training by counting: families that learn in passes over the data (EM, histograms, trees)."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from likewise.core.condition import Batch
from likewise.core.contract import Family, Source
from likewise.core.rng import Draws, fold
from likewise.train.job import Job, Outcome, Progress


class Passes:
    """A source as re-iterable batches in its own order: the same batches every pass."""

    def __init__(self, source: Source, batch: int, device: str = "cpu") -> None:
        self.source = source
        self.batch = batch
        self.device = device

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[Tensor, Batch]]:
        for start in range(0, len(self.source), self.batch):
            index = torch.arange(start, min(start + self.batch, len(self.source)))
            x, c = self.source.batch(index, Draws(0, start))
            yield (
                x.to(self.device),
                {k: (v.to(self.device), known.to(self.device)) for k, (v, known) in c.items()},
            )


def count(
    family: Family[Any],
    source: Source,
    job: Job,
    *,
    watch: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Let a counted family learn, `job.steps` passes at most and within `job.seconds`.

    It needs no resumable state: it starts again from its seed and comes to the same bits.
    """
    outcome = Outcome()
    start = clock()
    family.to(job.device)
    passes = Passes(source, job.batch, job.device)
    rng = Draws(fold(job.seed, "learn", job.name), 0, job.device)
    try:
        for objective in family.learn(passes, rng=rng):
            outcome.steps += 1
            outcome.seconds = clock() - start
            row = {"step": outcome.steps, "seconds": round(outcome.seconds, 3)}
            outcome.rows.append({**row, "loss": {"model": objective}})
            if watch:
                losses = {"model": objective}
                watch(Progress(outcome.steps, job.steps, outcome.seconds, losses))
            late = job.seconds is not None and outcome.seconds > job.seconds
            last = job.shorten[1] if job.shorten else job.steps
            if outcome.steps >= last or (late and not job.shorten):
                outcome.shorten = (outcome.steps, outcome.steps)
                break
    except KeyboardInterrupt:
        outcome.interrupted = True
    outcome.seconds = clock() - start
    outcome.best_step = outcome.steps
    family.eval()
    return outcome
