"""How much faster PixelCNN samples with its cache than without, and whether the pictures agree.

    python benchmarks/pixelcnn_sampling.py [--size 28] [--batch 64] [--levels 8] [--width 8]
                                           [--blocks 2] [--runs 5] [--seed 0]

Both samplers get the same draws and the same double precision. The cached one runs `--runs`
times and the median counts; the naive one, a whole pass for each pixel, runs once. The network
is small so that the naive one ends in minutes. Times are processor time of one thread, so that
other work on the machine hardly counts.
"""

import argparse
import statistics
import time

import torch

from likewise.core.rng import Draws
from likewise.core.space import Categorical
from likewise.families.pixelcnn import PixelCNN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    defaults = {"size": 28, "batch": 64, "levels": 8, "width": 8, "blocks": 2, "runs": 5}
    for name, default in {**defaults, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    space = Categorical(shape=(1, args.size, args.size), categories=args.levels)
    config = PixelCNN.Config(width=args.width, blocks=args.blocks, first=2, hidden=32)
    model = PixelCNN(config, space).eval()
    with torch.no_grad():  # as sure of itself as a trained one, more than at its start
        for parameter in model.parameters():
            parameter.mul_(2.0)

    cached_times = []
    for _ in range(args.runs):
        start = time.process_time()
        cached = model.sample(args.batch, rng=Draws(args.seed))
        cached_times.append(time.process_time() - start)
    start = time.process_time()
    naive = model._sample_naively(args.batch, rng=Draws(args.seed))
    naive_time = time.process_time() - start

    median = statistics.median(cached_times)
    agree = (cached == naive).flatten(1).all(dim=1).float().mean()
    print(f"batch {args.batch}, {args.size} x {args.size}, {args.levels} levels")
    print(f"cached: {median:.3f} s, the median of {args.runs} runs")
    print(f"naive: {naive_time:.3f} s, one run")
    print(f"ratio: {naive_time / median:.1f}")
    print(f"pictures that agree: {100 * float(agree):.2f} %")


if __name__ == "__main__":
    main()
