"""The main job on a set of pictures, beside a Gaussian and mixtures in 64 principal components.

    python -m benchmarks.pictures DATA [--time 30m] [--seeds 0] [--out runs/benchmark-pictures]

Each seed is one `likewise run DATA` in a process of its own, whose wall time and peak memory are
measured from outside. The Gaussian and the mixtures are fitted by scikit-learn to at most 20,000
training pictures, and scored in the features of that run, at its n, against the same held-out
pictures. A seed that is finished is not run again.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import likewise as lw
from benchmarks.outside import measured_run, said
from likewise.core.results import Score
from likewise.evaluation.features import FeatureSet
from likewise.evaluation.scorecard import score_samples
from likewise.workbench.data import Prepared

COMPONENTS = (1, 10, 100)
AXES, FITTED = 64, 20_000
SHOWN = {
    "fd_classifier": ".3f",
    "kd_classifier": ".3f",
    "fd_contrastive": ".3f",
    "fd_random": ".4f",
    "fd_pca": ".2f",
    "label_accuracy": ".1%",
    "nll": ".2f",
}


def references(data: str, out: Path, n: int, seed: int) -> Iterator[tuple[str, dict[str, Score]]]:
    """Scores of one Gaussian and of mixtures in principal components of the training pictures."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    prepared = Prepared.of(lw.load(data))
    space = prepared.space
    features = FeatureSet.open(out / "features", space, prepared.domain.conditions())
    real, _ = prepared.tensors("test")
    train, _ = prepared.tensors("train", FITTED)
    flat = train.flatten(1).numpy()
    axes = PCA(AXES, random_state=seed).fit(flat)
    for count in COMPONENTS:
        mixture = GaussianMixture(count, random_state=seed, reg_covar=1e-4, max_iter=60, tol=1e-2)
        codes, _ = mixture.fit(axes.transform(flat)).sample(n)
        made = torch.from_numpy(axes.inverse_transform(codes).astype(np.float32))
        samples: Tensor = space.quantise(made.reshape(-1, *space.shape).clamp(-1.0, 1.0))
        name = f"{count} Gaussian{'s' * (count > 1)} in PCA-{AXES}"
        yield name, score_samples(samples, real, features, n=n, seed=seed)


def table(data: str, budget: str, seed: int, out: Path) -> None:
    facts = measured_run(data, budget, seed, out)
    board = json.loads((out / "leaderboard.json").read_text())
    rows = {r["name"]: {k: Score(**s) for k, s in r["scores"].items()} for r in board["rows"]}
    verdicts = {r["name"]: (r["verdict"], r["seconds"]) for r in board["rows"]}
    n = next(s.n for s in rows["independent"].values())
    print(
        f"\nseed {seed}: wall {facts['wall']:.0f} s, processor {facts['processor']:.0f} s, "
        f"peak memory {facts['peak_mib']:.0f} MiB, n = {n}, best: {board['best']}"
    )
    shown = [name for name in SHOWN if any(name in scores for scores in rows.values())]
    print("| | " + " | ".join(shown) + " | train s | verdict |")
    print("|---" * (len(shown) + 3) + "|")
    for name, scores in rows.items():
        verdict, seconds = verdicts[name]
        print(f"| {name} | {cells(scores, shown)} | {said(seconds, '.0f')} | {verdict} |")
    for name, scores in references(data, out, n, seed):
        print(f"| {name} | {cells(scores, shown)} | | |", flush=True)


def cells(scores: dict[str, Score], shown: list[str]) -> str:
    return " | ".join(with_interval(scores.get(name), SHOWN[name]) for name in shown)


def with_interval(score: Score | None, form: str) -> str:
    if score is None or score.value is None:
        return ""
    if score.low is None or score.high is None:
        return said(score.value, form)
    return f"{score.value:{form}} ({score.low:{form}} to {score.high:{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--time", default="30m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-pictures"))
    options = parser.parse_args()
    for seed in options.seeds:
        table(options.data, options.time, seed, options.out / f"seed{seed}")


if __name__ == "__main__":
    main()
