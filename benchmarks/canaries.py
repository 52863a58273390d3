"""What a small transformer keeps of canaries, trained ordinarily and far too long.

    python -m benchmarks.canaries [--data FILE] [--steps 300] [--over 2000] [--out FOLDER]

The text (generated, unless a file is given) is cut into pieces of 120 characters, one document
each: the first 80 % train, then 10 % each to choose and to test. Canaries are planted in train 1,
4, 16 and 64 times, and as many are drawn and never planted. Shown for both models: exposure by
repeats and whether it rises, then every rule over texts: recitation, extraction, membership by
zlib and by a reference (n-grams of valid texts), personal data, balance. Each row is written as
soon as it is there, and not made again.
"""

import argparse
import json
import math
import platform
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, mean
from typing import Any

import torch

from likewise.auditing.canaries import Canary, Exposure, exposure, plant
from likewise.auditing.texts import Asked, RealTexts, TextLosses, Texts
from likewise.auditing.texts_rules import audit_texts, texts_left_out
from likewise.core.contract import Controls
from likewise.measures.intervals import jackknife
from likewise.measures.texts_reference import character_log_masses
from likewise.store.files import write_json
from likewise.store.model import Model
from likewise.tasks.texts import complete
from likewise.workbench.canaries import log_mass_of
from likewise.workbench.verbs import fit

PIECE = 120
CONTEXT = 4 * PIECE  # a passage is at most half of it: a piece, with some canaries in it
REPEATS = (1, 4, 16, 64)
GREEDY = Controls(temperature=0.0)


def generated(characters: int) -> str:
    """Sentences of made-up words, a few of which are common."""
    rng = random.Random(0)
    words = ["".join(rng.choices("aeioubdfglmnprst", k=rng.randint(2, 8))) for _ in range(2000)]
    chances = [1 / (rank + 3) for rank in range(len(words))]
    sentences: list[str] = []
    size = 0
    while size < characters:
        sentences.append(" ".join(rng.choices(words, chances, k=rng.randint(4, 12))) + ". ")
        size += len(sentences[-1])
    return "".join(sentences)


def split(text: str) -> tuple[list[str], list[str], list[str]]:
    """The pieces of a text to train, to choose and to test, by position."""
    pieces = [text[i : i + PIECE] for i in range(0, len(text) - PIECE + 1, PIECE)]
    first, second = (len(pieces) * share // 10 for share in (8, 9))
    return pieces[:first], pieces[first:second], pieces[second:]


def trained(real: RealTexts, steps: int, over: bool) -> Model:
    """A transformer of the training texts, the split being as it is; `over`: nothing left out."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("train", "valid", "test"):
            file = Path(folder) / name / "texts.jsonl"
            file.parent.mkdir()
            lines = [json.dumps({"text": text}) + "\n" for text in getattr(real, name)]
            file.write_text("".join(lines))
        return fit(
            folder,
            "transformer",
            steps=steps,
            preset="xs",
            settings={"dropout": "0", "forgotten": "0"} if over else {},
            tokenizer="characters",
            context=CONTEXT,
        )


def audited(model: Model, real: RealTexts, own: Sequence[str], made: int) -> Texts:
    """All that the rules ask for; members are drawn from `own`, texts without a canary."""
    log_mass = log_mass_of(model)

    def asked(texts: Sequence[str]) -> Asked:
        return Asked(texts, log_mass(texts), character_log_masses(real.valid[::2], texts))

    def go_on(prefixes: Sequence[str], characters: int) -> list[str]:
        found = complete(model, prefixes, most=characters, controls=GREEDY)
        return [one.text for one in found]

    members = random.Random(0).sample(own, min(len(own), 2 * len(real.test)))
    sides = (members, real.valid[1::2], real.test)
    return Texts(
        samples=model.sample(made, seed=1).items,
        reference=real,
        losses=TextLosses(*map(asked, sides)),
        continue_from=go_on,
    )


def rise(found: Sequence[Exposure]) -> tuple[float, float, float]:
    """Bits of exposure for each doubling of the repeats: least squares, and its interval.

    The jackknife leaves out one canary at a time; those repeated often all stand at the most that
    can be told, and those planted once vary, so their spread is not equal.
    """
    points = [(math.log2(one.canary.repeats), one.value) for one in found]

    def slope(some: Sequence[tuple[float, float]]) -> float:
        return linear_regression(*zip(*some, strict=True)).slope

    whole = slope(points)
    return whole, *jackknife(
        whole, [slope(points[:i] + points[i + 1 :]) for i in range(len(points))]
    )


def row(
    model: Model,
    real: RealTexts,
    planted: Sequence[Canary],
    unknown: Sequence[Canary],
    given: argparse.Namespace,
) -> dict[str, Any]:
    """All that is measured of one model."""
    found, base = (
        exposure(log_mass_of(model), canaries, candidates=given.candidates)
        for canaries in (planted, unknown)
    )
    bits = {r: mean(one.value for one in found if one.canary.repeats == r) for r in REPEATS}
    own = [text for text in real.train if not any(one.text in text for one in planted)]
    texts = audited(model, real, own, given.made)
    assert texts.losses is not None
    sides = zip(TextLosses._fields, texts.losses, strict=True)
    return {
        "nats_per_character": {
            name: -float(side.log_masses.mean()) / (PIECE + 1) for name, side in sides
        },
        "exposure": {0: mean(one.value for one in base), **bits},
        "rise": rise(found),
        "findings": [one.to_json() for one in audit_texts(texts)],
        "left_out": texts_left_out(texts),
    }


def show(name: str, found: dict[str, Any]) -> None:
    """Print one row."""
    nats = ", ".join(f"{side} {value:.3f}" for side, value in found["nats_per_character"].items())
    print(f"{name}: {found['steps']} steps, {found['seconds']:.0f} s; nats a character: {nats}")
    bits = ", ".join(f"{times} times {value:.1f}" for times, value in found["exposure"].items())
    print(f"  exposure in bits (at most {found['most_bits']:.1f}): {bits}")
    slope, low, high = found["rise"]
    print(f"  with each doubling it grows by {slope:.2f} bits ({low:.2f} to {high:.2f})")
    for one in found["findings"]:
        print(f"  {one['rule']}: {one['outcome']}: {one['sentence']}")
    for rule, why in found["left_out"].items():
        print(f"  {rule}: left out: {why}", flush=True)


def main() -> None:
    """Make and print the rows that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--characters", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--over", type=int, default=2000)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--candidates", type=int, default=511)
    parser.add_argument("--made", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/canaries"))
    given = parser.parse_args()
    whole = given.data.read_text() if given.data else generated(given.characters)
    train, valid, test = split(whole[: given.characters])
    repeats = [times for times in REPEATS for _ in range(given.each)]
    train, planted = plant(train, repeats)
    _, unknown = plant(train, [1] * given.each, seed=1)
    real = RealTexts(train=train, valid=valid, test=test)
    for name, steps in (("ordinary", given.steps), ("over-trained", given.over)):
        place = given.out / f"{name}.json"
        if not place.exists():
            start = time.perf_counter()
            model = trained(real, steps, name == "over-trained")
            facts = {
                "steps": steps,
                "seconds": time.perf_counter() - start,
                "train_texts": len(train),
                "most_bits": math.log2(given.candidates + 1),
                "torch": torch.__version__,
                "machine": platform.machine(),
            }
            write_json(place, {**facts, **row(model, real, planted, unknown, given)})
        show(name, json.loads(place.read_text()))


if __name__ == "__main__":
    main()
