"""Tokens a second with a draft and without, of the families of a run, or of saved models.

    python -m benchmarks.drafting RUN [--large transformer] [--drafts ngram] [--tokens 128]

A prompt is continued at three temperatures, without a draft and with it in turn, five times;
medians are compared. Shown too: how many tokens the large model gives for each time that it reads.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from likewise.cli.texts import draft_of
from likewise.core.contract import Controls
from likewise.store.model import Model
from likewise.tasks.texts import complete
from likewise.workbench import verbs


def seconds(model: Model, draft: Model | None, given: argparse.Namespace, heat: float) -> float:
    """Of each token of one prompt."""
    start = time.perf_counter()
    (one,) = complete(
        model, [given.prompt], most=given.tokens, controls=Controls(temperature=heat), draft=draft
    )
    return (time.perf_counter() - start) / len(one.tokens)


def readings(model: Model, draft: Model, given: argparse.Namespace, heat: float) -> float:
    """Tokens for each time that the large model reads."""
    plain, count = model.family.reader, [0]

    def counted(c: object, n: int) -> object:
        reader = plain(c, n)
        extend = reader.extend

        def read(tokens: torch.Tensor) -> torch.Tensor:
            count[0] += 1
            return extend(tokens)

        reader.extend = read
        return reader

    model.family.reader = counted
    try:
        (one,) = complete(
            model,
            [given.prompt],
            most=given.tokens,
            controls=Controls(temperature=heat),
            draft=draft,
        )
    finally:
        model.family.reader = plain
    return len(one.tokens) / (1 + count[0])


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--large", default="transformer")
    parser.add_argument("--drafts", default="ngram")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompt", default="ROMEO:")
    given = parser.parse_args()
    torch.set_num_threads(2)
    model = verbs.open(given.run, given.large)
    for name in given.drafts.split(","):
        draft = draft_of(given.run, name, "cpu")
        for heat in (0.0, 0.7, 1.0):
            pairs = [
                (seconds(model, None, given, heat), seconds(model, draft, given, heat))
                for _ in range(5)
            ]
            alone, pair = (statistics.median(each) for each in zip(*pairs, strict=True))
            print(
                f"{name} at {heat}: {1e3 * alone:.2f} ms a token alone, {1e3 * pair:.2f} with the "
                f"draft: {alone / pair:.2f} times as fast; "
                f"{readings(model, draft, given, heat):.2f} tokens a reading",
                flush=True,
            )


if __name__ == "__main__":
    main()
