"""EM for Gaussian mixtures against scikit-learn: the same start, the same passes.

    python -m benchmarks.em [--rows 200000] [--threads 2] [--hard]

Both make 6 passes and 1 pass; the difference is 5 passes, free of what either does once (such as
scikit-learn's last E step). Their times alternate, and medians of the repeats are compared. With
one thread it is processor time, which does not depend on what else the machine does.
"""

import argparse
import itertools
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from likewise.nn.mixture import Mixture, Prior, climb

PASSES = 5


def clock() -> float:
    alone = torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def data(n: int, d: int, k: int, hard: bool) -> np.ndarray:
    """Rows of k Gaussians, in the hard case of very different widths."""
    draws = np.random.default_rng(0)
    centres, which = 2 * draws.normal(size=(k, d)), draws.integers(k, size=n)
    turns = np.linalg.qr(draws.normal(size=(k, d, d)))[0]
    low = -6.0 if hard else -1.0
    widths = np.exp(draws.uniform(low, 0.5, size=(k, d)))
    x = draws.normal(size=(n, d))
    for j in range(k):
        x[which == j] = centres[j] + (x[which == j] * widths[j]) @ turns[j]
    return x


def theirs(x: np.ndarray, k: int, passes: int) -> tuple[float, float]:
    from sklearn.mixture import GaussianMixture

    d = x.shape[1]
    model = GaussianMixture(
        k,
        tol=0.0,
        max_iter=passes,
        weights_init=np.full(k, 1 / k, dtype=x.dtype),
        means_init=x[:k],
        precisions_init=np.stack([np.eye(d, dtype=x.dtype)] * k),
    )
    start = clock()
    model.fit(x)
    return clock() - start, float(model.lower_bound_)


def ours(x: torch.Tensor, k: int, passes: int) -> tuple[float, float]:
    d, group = x.shape[1], torch.zeros(len(x), dtype=torch.int64)
    eye = torch.eye(d, dtype=torch.float64).expand(k, d, d)
    weight = torch.full((k,), 1 / k, dtype=torch.float64).log()
    mixture = Mixture(weight, x[:k].double(), eye, torch.zeros(k, dtype=torch.int64))
    rows = list(zip(x.split(8192), group.split(8192), strict=True))
    prior = Prior(torch.zeros(d, d, dtype=torch.float64), 0.0, 1e-6)
    start = clock()
    for _, likelihood in itertools.islice(climb(rows, mixture, prior), passes):
        last = likelihood
    return clock() - start, last


def peak(dtype: torch.dtype, size: int = 2048) -> float:
    """The best of some square matrix products, in 1e9 operations a second."""
    a, b = torch.randn(2, size, size, dtype=dtype).unbind()
    best = min(timed(lambda: a @ b) for _ in range(8))
    return 2 * size**3 / best / 1e9


def timed(work) -> float:
    start = clock()
    work()
    return clock() - start


def memory(n: int, d: int, k: int) -> None:
    """Run in a process of its own: how much memory passes add to the data (Linux)."""
    x = torch.from_numpy(data(n, d, k, False)).float()
    ours(x[:10_000], k, 1)  # libraries are loaded, and their buffers made
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    ours(x, k, 2)
    added, held = resident("VmHWM") - before, x.nbytes / 2**20
    print(f"passes add {added:.0f} MiB to float32 data of {held:.1f} MiB")


def resident(name: str) -> float:
    """MiB, as the system counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--components", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hard", action="store_true", help="narrow Gaussians: float64 is needed")
    parser.add_argument("--memory", action="store_true", help="only what a pass adds to the data")
    options = parser.parse_args()
    n, d, k = options.rows, options.width, options.components
    if options.memory:
        memory(n, d, k)
        return
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        compare(data(n, d, k, options.hard), k, options)
    words = ["--memory", "--rows", str(n), "--width", str(d), "--components", str(k)]
    subprocess.run([sys.executable, "-m", "benchmarks.em", *words], check=True)


def compare(x: np.ndarray, k: int, options: argparse.Namespace) -> None:
    n, d = x.shape
    single, double = torch.from_numpy(x).float(), torch.from_numpy(x)
    ways = {
        "scikit-learn float64": lambda passes: theirs(x, k, passes),
        "scikit-learn float32": lambda passes: theirs(single.numpy(), k, passes),
        "likewise float64": lambda passes: ours(double, k, passes),
        "likewise float32": lambda passes: ours(single, k, passes),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    likelihood: dict[str, float] = {}
    for run in ways.values():
        run(1)  # warm
    for _ in range(options.repeats):
        for name, run in ways.items():
            long, likelihood[name] = run(PASSES + 1)
            seconds[name].append(long - run(1)[0])
    print(
        f"{platform.processor() or platform.machine()}, {options.threads} threads, torch ", end=""
    )
    print(f"{torch.__version__}; n = {n}, d = {d}, k = {k}, {PASSES} passes, full covariances")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        low, high = min(seconds[name]), max(seconds[name])
        print(
            f"{name:22} {value:7.3f} s ({low:.3f} to {high:.3f}); mean log likelihood of the last "
            f"pass {likelihood[name]:.6f}; scikit-learn float64 takes "
            f"{median['scikit-learn float64'] / value:.1f} times as long"
        )
    print(
        "equal float32:",
        f"{median['scikit-learn float32'] / median['likewise float32']:.1f} times",
    )
    features = d * (d + 1) // 2 + d + 1
    work = 2 * 2 * n * k * features * PASSES / 1e9  # two products, an addition and a product each
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        rate, best = work / median[f"likewise {name}"], peak(dtype)
        print(
            f"{name}: {work / PASSES:.1f}e9 operations a pass in products of {features} features, "
            f"{rate:.0f}e9 a second; square products reach {best:.0f}e9 here ({rate / best:.0%})"
        )
    exact = ours(double, k, PASSES + 1)[1]
    off = abs(likelihood["likewise float32"] / exact - 1)
    print(f"likewise float32 differs from float64 by {off:.1e} of the mean log likelihood")


if __name__ == "__main__":
    main()
