"""The verbs of models of texts that fill in and translate: infill, translate."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from likewise.cli.text_verbs import Beams, TextModel
from likewise.cli.words import (
    Device,
    Family,
    MinP,
    Repetition,
    Seed,
    Temperature,
    TopK,
    TopP,
    app,
)
from likewise.core.controls import Controls


@app.command()
def infill(
    model: TextModel,
    text: Annotated[str, typer.Argument(help="With gaps such as [[5]]; - for the input.")],
    family: Family = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Fill the gaps of a text by what stands on both sides of them.

    `[[5]]` is a gap of 5 tokens, which are characters where the model's are. A model of whole
    documents draws how long one gap of a text is that is written `[[]]`.

    Example: `likewise infill runs/plays-… "To be, or not [[6]] the question" --family masked`
    """
    from likewise.tasks.infilling import infill as fill
    from likewise.workbench import verbs
    from likewise.workbench.runs import device_of

    given = sys.stdin.read() if text == "-" else text
    (whole,) = fill(verbs.open(model, family, device=device_of(device)), [given], seed=seed)
    _print([whole])


@app.command()
def translate(
    model: Annotated[Path, typer.Argument(help="A run folder or a model trained on pairs.")],
    sources: Annotated[
        list[str], typer.Argument(help="What to translate; - for the lines of the input.")
    ],
    family: Family = None,
    beams: Beams = 4,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition: Repetition = 1.0,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Translate by a model that was trained on pairs of texts: rows with source and target.

    Examples: `likewise translate runs/dates-… "3 May 2021"` ·
    `likewise translate runs/dates-… - < dates.txt`
    """
    from likewise.tasks.translating import translate as translated
    from likewise.workbench import verbs
    from likewise.workbench.runs import device_of

    controls = Controls(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition=repetition
    )
    piped = sources == ["-"]
    given = sys.stdin.read().splitlines() if piped else sources
    asked = [line for line in given if line.strip() or not piped]  # a blank line stays one
    opened = verbs.open(model, family, device=device_of(device))
    found = iter(translated(opened, asked, beams=beams, controls=controls, seed=seed))
    _print([next(found) if line.strip() else "" for line in given])


def _print(texts: list[str]) -> None:
    for text in texts:
        sys.stdout.write(f"{text}\n")
