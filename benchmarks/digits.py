"""The main job on digits: does it keep its time, how near real data is the best, who is held.

    python -m benchmarks.digits [--time 3m] [--seeds 0 1 2] [--out runs/benchmark-digits]

Each seed is one `likewise run digits` in a process of its own, whose wall time and peak memory
are measured from outside. One full Gaussian, fitted to the training pictures, is scored in the
same features at the same n. A seed that is finished is not run again.
"""

import argparse
import json
from pathlib import Path

import torch

import likewise as lw
from benchmarks.outside import measured_run, said
from likewise.core.results import Score
from likewise.evaluation.features import FeatureSet
from likewise.evaluation.scorecard import excess, score_samples
from likewise.workbench.data import Prepared


def gaussian(out: Path, n: int, seed: int) -> Score:
    """fd_classifier of one Gaussian with a full covariance, fitted to train."""
    prepared = Prepared.of(lw.load("digits"))
    space = prepared.space
    features = FeatureSet.open(out / "features", space, prepared.domain.conditions())
    train = space.flat(prepared.tensors("train")[0]).double()
    covariance = torch.cov(train.T) + 1e-6 * torch.eye(train.shape[1], dtype=torch.float64)
    torch.manual_seed(seed)
    normal = torch.distributions.MultivariateNormal(train.mean(dim=0), covariance)
    samples = space.quantise(normal.sample((n,)).float().reshape(n, *space.shape))
    real, _ = prepared.tensors("test")
    return score_samples(samples, real, features, n=n, seed=seed)["fd_classifier"]


def row(out: Path, seed: int, budget: str) -> None:
    facts = measured_run("digits", budget, seed, out)
    board = json.loads((out / "leaderboard.json").read_text())
    rows = {r["name"]: r for r in board["rows"]}
    fd = {name: Score(**r["scores"]["fd_classifier"]) for name, r in rows.items()}
    n = fd["independent"].n
    one = gaussian(out, n, seed)
    both = excess(one, fd["real vs real"], fd["independent"])
    print(
        f"\nseed {seed}: wall {facts['wall']:.1f} s, processor {facts['processor']:.0f} s, "
        f"peak memory {facts['peak_mib']:.0f} MiB, n = {n}, best: {board['best']}"
    )
    print("| family | fd_classifier | 95 % | excess | bits/dim | train s | verdict |")
    print("|---|---|---|---|---|---|---|")
    for name, r in rows.items():
        nll = said(r["scores"].get("nll", {}).get("value"), ".2f")
        share = said(r["scores"].get("excess", {}).get("value"), ".1%")
        seconds, score = said(r["seconds"], ".1f"), fd[name]
        print(
            f"| {name} | {score.value:.3f} | {score.low:.3f} to {score.high:.3f} | {share} | "
            f"{nll} | {seconds} | {r['verdict']} |"
        )
    print(
        f"| one full Gaussian | {one.value:.3f} | {one.low:.3f} to {one.high:.3f} | "
        f"{both.value:.1%} | | | |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--time", default="3m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-digits"))
    options = parser.parse_args()
    for seed in options.seeds:
        row(options.out / f"seed{seed}", seed, options.time)


if __name__ == "__main__":
    main()
