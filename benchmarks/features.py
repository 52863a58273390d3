"""What feature nets are worth: linear probes, and the response to real examples made worse.

    python -m benchmarks.features [DATA ...] [--steps 300] [--take 20000]

A probe is a logistic regression from a net's features to the labels, fitted on 3000 training
examples and judged on held-out ones. Seconds are process time of one thread.
"""

import argparse
import time

import torch
from sklearn.linear_model import LogisticRegression

import likewise as lw
from likewise.evaluation.features import FeatureSet, labels_of
from likewise.train.job import Job
from likewise.train.loop import Trainer
from likewise.workbench.data import Prepared

PROBED = 3000


def show(data: str, steps: int, take: int) -> None:
    records = lw.load(data)
    if len(records) > take:
        order = torch.randperm(len(records), generator=torch.Generator().manual_seed(0))
        records = records.take(order[:take].tolist())
    prepared = Prepared.of(records)

    def fit(trainable, source, *, steps, batch, seed) -> None:
        start = time.process_time()
        Trainer(trainable, source, Job(name="features", steps=steps, batch=batch, seed=seed)).run()
        pace = 1000 * (time.process_time() - start) / steps
        print(f"{type(trainable).__name__.lower()}: {steps} steps, {pace:.1f} ms a step")

    start = time.process_time()
    features = FeatureSet.train(
        prepared.source("train"), prepared.space, prepared.domain.conditions(), fit=fit, seed=0,
        n_eval=prepared.most_samples(), held_out=prepared.source("test"), steps=steps,
    )  # fmt: skip
    print(f"{data}: all nets and their check in {time.process_time() - start:.1f} s")
    label = labels_of(prepared.domain.conditions())
    if label is not None:
        (x, c), (held, d) = prepared.tensors("train", PROBED), prepared.tensors("test", PROBED)
        for name, net in features.items():
            probe = LogisticRegression(max_iter=500).fit(net(x), c[label.name][0])
            share = probe.score(net(held), d[label.name][0])
            print(f"| probe of {name}, {features.nets[name].width} features | {share:.3f} |")
    for r in features.responses:
        said = " ".join(f"{value:.3g}" for value in r.distances)
        print(f"| {r.corruption} | {r.net} | {said} | {'rises' if r.rises else 'does not rise'} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="*", default=["digits"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--take", type=int, default=20_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for data in options.data:
        show(data, options.steps, options.take)


if __name__ == "__main__":
    main()
