"""Measures of samples against their plain definitions: the same numbers, how much sooner.

    python -m benchmarks.measures [--threads 2] [--repeats 5] [--only frechet]

Fréchet distance against the matrix root of scipy; precision, recall, density and coverage against
NumPy in float64, distances by |a|^2 + |b|^2 - 2 a.b in blocks of rows, radii by np.partition;
nearest neighbours against the same. Times alternate; medians are compared. With one thread it is
processor time, which does not depend on what else the machine does.
"""

import argparse
import platform
import statistics
import time

import numpy as np
import torch

from likewise.measures.frechet import frechet, frechet_distance
from likewise.measures.manifold import Balls, K, coverage, density, precision, recall
from likewise.measures.nearest import nearest


def clock() -> float:
    alone = torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def features(n: int, d: int, seed: int) -> np.ndarray:
    """Correlated features, as nets make them: widths fall with their rank."""
    draws = np.random.default_rng(seed)
    widths = np.arange(1, d + 1) ** -0.5
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(d, d)))[0]
    return ((draws.normal(size=(n, d)) * widths * (1 - 0.05 * seed)) @ turn).astype(np.float32)


def plain_frechet(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    s, t = (np.cov(x, rowvar=False) for x in (a, b))
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(gap @ gap + np.trace(s + t - 2 * np.real(sqrtm(s @ t))))


def distances(a: np.ndarray, b: np.ndarray, rows: int = 1000):
    norms = (b**2).sum(axis=1)
    for i in range(0, len(a), rows):
        part = a[i : i + rows]
        squares = (part**2).sum(axis=1)[:, None] + norms - 2 * part @ b.T
        yield np.sqrt(np.maximum(squares, 0))


def plain_radii(x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.partition(block, K, axis=1)[:, K] for block in distances(x, x)])


def plain_manifold(samples: np.ndarray, reference: np.ndarray) -> list[float]:
    """All four at once: radii once for each side, distances between the sides once."""
    own, other = plain_radii(reference), plain_radii(samples)
    held, reached, recalled = [], np.zeros(len(reference), bool), np.zeros(len(reference), bool)
    for i, block in enumerate(distances(samples, reference)):
        inside = block < own
        held.append(inside.sum(axis=1))
        reached |= inside.any(axis=0)
        recalled |= (block < other[1000 * i : 1000 * (i + 1), None]).any(axis=0)
    count = np.concatenate(held)
    return [float((count > 0).mean()), recalled.mean(), count.mean() / K, reached.mean()]


def our_manifold(samples: torch.Tensor, reference: torch.Tensor) -> list[float]:
    balls = Balls(samples, reference)
    measures = (precision, recall, density, coverage)
    return [measure(samples, reference, balls=balls).value for measure in measures]


def plain_nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([block.min(axis=1) for block in distances(a, b)])


def race(name: str, plain, ours, repeats: int):
    seconds, results = {"plain": [], "ours": []}, {}
    ours()
    for _ in range(repeats):
        for who, work in (("plain", plain), ("ours", ours)):
            start = clock()
            results[who] = work()
            seconds[who].append(clock() - start)
    plain_time, our_time = (statistics.median(values) for values in seconds.values())
    low, high = min(seconds["ours"]), max(seconds["ours"])
    print(
        f"{name}: plain {plain_time:.3f} s, ours {our_time:.3f} s ({low:.3f} to {high:.3f}): "
        f"{plain_time / our_time:.1f} times",
        end="; ",
    )
    return results["plain"], results["ours"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--wide", type=int, default=2048)
    parser.add_argument("--only", choices=("frechet", "manifold", "nearest"))
    options = parser.parse_args()
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(options.threads)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {options.threads} threads, torch {torch.__version__}")
    with threadpool_limits(options.threads):
        if options.only in (None, "frechet"):
            frechet_rows(options)
        if options.only in (None, "manifold"):
            for d in (32, options.wide):
                manifold_rows(options, d)
        if options.only in (None, "nearest"):
            nearest_rows(options)


def frechet_rows(options: argparse.Namespace) -> None:
    d, n = options.wide, 3 * options.wide
    a, b = (features(n, d, seed).astype(np.float64) for seed in (1, 2))
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    name = f"frechet, d = {d}, n = {n} (plain: scipy sqrtm)"
    plain, ours = race(name, lambda: plain_frechet(a, b), lambda: frechet(x, y), options.repeats)
    print(f"relative difference {abs(ours / plain - 1):.1e}")
    x, y = (torch.from_numpy(features(5000, 32, seed)) for seed in (1, 2))
    spent = []
    for _ in range(options.repeats + 1):
        start = clock()
        frechet_distance(x, y)
        spent.append(clock() - start)
    print(f"frechet_distance with interval, d = 32, n = 5000: {statistics.median(spent):.4f} s")


def manifold_rows(options: argparse.Namespace, d: int) -> None:
    a, b = (features(options.rows, d, seed) for seed in (1, 2))
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    plain, ours = race(
        f"precision, recall, density, coverage, d = {d}, n = {len(a)} each",
        lambda: plain_manifold(a.astype(np.float64), b.astype(np.float64)),
        lambda: our_manifold(x, y),
        options.repeats,
    )
    print(f"largest difference {max(abs(p - o) for p, o in zip(plain, ours, strict=True)):.1e}")


def nearest_rows(options: argparse.Namespace) -> None:
    a, b = features(1000, 784, 1), features(6 * options.rows, 784, 2)
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    plain, ours = race(
        f"nearest of {len(b)} for {len(a)} rows, d = 784",
        lambda: plain_nearest(a.astype(np.float64), b.astype(np.float64)),
        lambda: nearest(x, y)[0][:, 0].numpy(),
        options.repeats,
    )
    print(f"largest difference {np.abs(plain - ours).max():.1e}")


if __name__ == "__main__":
    main()
