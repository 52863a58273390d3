"""What an audit costs: the first family of a run, and each further one, which shares its controls.

    python -m benchmarks.audit [--records 20000] [--samples 1000] [--side 28]

Pictures are noise around ten means: only the sizes matter. Times are of the processor.
"""

import argparse
import time

import torch

from likewise.auditing.material import Losses, Material, Reference
from likewise.auditing.rules import audit
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.evaluation.features import FeatureSet
from likewise.nn.features import RandomNet


def pictures(n: int, side: int, start: int) -> torch.Tensor:
    """n pictures around ten means: (n, 1, side, side)."""
    means = Draws(1).normal(10, 1, side, side)
    rng = Draws(0, start)
    return means[rng.integers(10, n)] + 0.5 * rng.normal(n, 1, side, side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--side", type=int, default=28)
    given = parser.parse_args()
    space = Continuous(shape=(1, given.side, given.side))
    real = Reference(
        train=pictures(given.records, given.side, 0),
        valid=pictures(1000, given.side, 10**6),
        test=pictures(1000, given.side, 2 * 10**6),
        features=FeatureSet(space, {"random": RandomNet(space)}),
    )
    print(f"{given.records:,} training records of {space.dimensions}, {given.samples} samples")
    for name in ("first", "second", "third"):
        made = pictures(given.samples, given.side, 3 * 10**6 + len(name) * 10**5)
        losses = Losses(*(Draws(5).normal(500) for _ in range(3)))
        start = time.process_time()
        found = audit(Material(samples=made, reference=real, losses=losses))
        spent = time.process_time() - start
        outcomes = ", ".join(f"{one.rule} {one.outcome}" for one in found)
        print(f"{name} family: {spent:.1f} s ({outcomes})")


if __name__ == "__main__":
    main()
