"""Fitting: one family, or a chain of two, under its plan, into its folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from likewise import __version__
from likewise.core import registry
from likewise.core.chain import Chain, Codes
from likewise.core.condition import Conditions
from likewise.core.config import from_json, override, to_json
from likewise.core.contract import SIZES, Family, Size, Source
from likewise.core.errors import DataError, UsageError, must, nearest
from likewise.core.rng import fold
from likewise.core.space import Space
from likewise.store.model import Model
from likewise.train.counting import count
from likewise.train.job import Checked, Job, Outcome, Progress
from likewise.train.loop import Trainer
from likewise.train.plan import FamilyPlan
from likewise.workbench.continuing import Start
from likewise.workbench.data import Prepared

PASSES = 200


def kinds(name: str) -> list[type[Family[Any]]]:
    """The class of a family, or the two of a chain written "first+second"."""
    names = name.split("+")
    if len(names) > 2:
        raise UsageError(must("a chain", "two families, such as vae+diffusion", name))
    return [registry.get("families", part) for part in names]


def steered(family: type[Family[Any]], conditions: Conditions) -> Conditions:
    """The conditions that a family can be steered by."""
    return tuple(c for c in conditions if isinstance(c, family.claims.conditions))


def build(
    family: type[Family[Any]],
    config: Any,
    space: Space,
    conditions: Conditions,
    *,
    seed: int,
    name: str,
) -> Family[Any]:
    """A family at its random start; the same start for the same seed and name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold(seed, "init", name))
        return family(config, space, conditions)


def preset(family: type[Family[Any]], size: str, space: Space, conditions: Conditions) -> Any:
    """A family's Config at a size; UsageError names the sizes."""
    if size not in SIZES:
        raise UsageError(f"preset {size!r} is unknown; {nearest(size, SIZES)}.")
    chosen: Size = next(s for s in SIZES if s == size)
    return family.preset(chosen, space, steered(family, conditions))


def stage_plan(
    config: Any,
    size: str,
    *,
    steps: int | None,
    seconds: float | None,
    changes: Mapping[str, str] | None = None,
) -> FamilyPlan:
    """The plan of one stage, with `--set` changes."""
    config = override(config, dict(changes or {}))
    return FamilyPlan(
        config=to_json(config),
        preset=size,
        steps=steps or PASSES,
        batch=getattr(config, "batch", 256),
        seconds=seconds,
    )


def space_of(prepared: Prepared, name: str) -> Space:
    """The view that a family (or a chain's first) learns; DataError says why there is none."""
    view = prepared.view(kinds(name)[0])
    if isinstance(view, str):
        raise DataError(f"{name} cannot learn this data: {view}.")
    return view


def fit(
    prepared: Prepared,
    name: str,
    stages: tuple[FamilyPlan, ...],
    *,
    seed: int,
    device: str = "cpu",
    folder: Path | None = None,
    validate: Callable[[Model], Checked] | None = None,
    watch: Callable[[Progress], None] | None = None,
    start: Start | None = None,
) -> tuple[Model, list[Outcome]]:
    """Train a family or a chain under its plan.

    Args:
        prepared: the data.
        name: of the family, or "first+second".
        stages: one plan for each family of the chain.
        seed: of everything.
        device: where it runs.
        folder: where the resumable state is kept, or None.
        validate: measures a model on held-out data; None for no choice of checkpoints.
        watch: told of every step.
        start: whose weights a single family goes on from.

    Raises:
        DataError: the family cannot learn this data.
        TrainingError: there is nothing worth keeping.
    """
    families: list[Family[Any]] = []
    outcomes: list[Outcome] = []
    source: Source = prepared.source("train", space_of(prepared, name), train=True)
    for number, (kind, plan) in enumerate(zip(kinds(name), stages, strict=True)):
        if number:
            source = Codes(source, families[0])
            _refuse(kind, source.space, name)
        config = from_json(kind.Config, dict(plan.config))
        conditions = steered(kind, prepared.domain.conditions())
        stream = name.split("+")[number] if not number else name
        family = build(kind, config, source.space, conditions, seed=seed, name=stream)
        if start is not None:
            start.begin(family, seed=seed)
        families.append(family)
        whole = families[0] if len(families) == 1 else Chain(families[0], family)
        model = Model(name, whole, prepared.domain, prepared.shares, _facts(prepared, seed, start))
        last = number == len(stages) - 1
        asked = (lambda model=model: validate(model)) if validate and last else None
        file = folder / f"state{number}.safetensors" if folder else None
        job = Job(
            name=stream,
            steps=plan.steps,
            batch=plan.batch,
            seed=seed,
            ema=getattr(config, "ema", 0.0),
            arithmetic=plan.arithmetic,
            device=device,
            seconds=plan.seconds,
            shorten=plan.shorten,
        )
        outcomes.append(_train(family, source, job, asked, file, watch))
        if start is not None:
            start.end(family)
        if outcomes[-1].interrupted:
            break
    return model, outcomes


def _train(
    family: Family[Any],
    source: Source,
    job: Job,
    validate: Callable[[], Checked] | None,
    file: Path | None,
    watch: Callable[[Progress], None] | None,
) -> Outcome:
    if family.claims.learning == "counting":
        return count(family, source, job, watch=watch)
    return Trainer(family, source, job, validate=validate, file=file, watch=watch).run()


def _refuse(kind: type[Family[Any]], space: Space, name: str) -> None:
    why = kind.refuses(space)
    if why is not None:
        raise DataError(f"{name} cannot be a chain: {why}.")


def _facts(prepared: Prepared, seed: int, start: Start | None) -> dict[str, Any]:
    return {
        **({} if start is None else {"from": start.digest}),
        "data": prepared.records.fingerprint(),
        "origin": Path(prepared.records.origin).name,
        "seed": seed,
        "version": __version__,
        "torch": torch.__version__,
    }
