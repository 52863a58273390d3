"""The public verbs: load, fit, run, evaluate, audit, report, open.

Each is a few lines: it reads names, hands functions from room to room, and gives back what a
person holds: Records, a Model, a Leaderboard, a scorecard, an audit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from likewise.auditing.texts_balance import Words, checked
from likewise.core import registry
from likewise.core.contract import Domain
from likewise.core.errors import StoreError, UsageError, must
from likewise.core.results import Finding, Score, Verdict
from likewise.evaluation.features import FeatureSet
from likewise.store.files import locked
from likewise.store.model import Model, open_model
from likewise.store.run import Run
from likewise.train.plan import Plan
from likewise.train.plan import seconds as seconds_of
from likewise.train.plan import to_json as plan_to_json
from likewise.workbench.board import Leaderboard
from likewise.workbench.continuing import Start
from likewise.workbench.data import Prepared, load
from likewise.workbench.fitting import fit as fit_stages
from likewise.workbench.fitting import kinds
from likewise.workbench.job import Work
from likewise.workbench.listen import Listener
from likewise.workbench.main_job import FEATURE_STEPS, Clock, families_for, main_job, replayed
from likewise.workbench.runs import command_line, device_of, opened, written
from likewise.workbench.texts import words_file
from likewise.workbench.wishes import Wishes

__all__ = ["audit", "evaluate", "fit", "load", "open", "report", "run"]


def run(
    data: Any,
    *,
    time: str | float = "3m",
    families: Sequence[str] | str | None = None,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    plan: str | Path | None = None,
    inception: str | Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Leaderboard:
    """Train every family within a time, rank them on held-out data, audit them, and report.

    Args:
        data: Records, or whatever `load` reads.
        time: the budget of the whole job, such as "3m".
        families: names, or chains such as "vae+diffusion"; None for all that can.
        seed: of everything.
        device: "auto", "cpu", "cuda" or "mps".
        out: the run folder; None for a new one under runs/.
        plan: another run, whose plan is followed step by step.
        inception: weights of the Inception network as safetensors, for `fd_inception`; see
            `likewise.nn.inception`.
        listener: told of what happens.
        **options: of the data, see `load`.

    Returns:
        the Leaderboard; `.best` is a Model, `.path` the run folder.
    """
    clock = Clock(seconds_of(time))
    listener = listener or Listener()
    prepared = Prepared.of(load(data, **options))
    if isinstance(families, str):
        families = families.split(",")
    names, skipped = families_for(prepared, families)
    weights = inception_file(inception, prepared)
    replay = replayed(Path(plan)) if plan is not None else None
    inputs = {
        "seconds": clock.budget,
        "families": list(families) if families else None,
        "device": device,
        "plan": replay,
        "inception": weights,
        "options": written(options),
    }
    command = command_line(
        "run",
        prepared.records.origin,
        time=time,
        families=",".join(families) if families else None,
        seed=seed,
        inception=weights,
        load=options,
    )
    with opened(
        prepared,
        out=Path(out) if out else None,
        seed=seed,
        inputs=inputs,
        command=command,
        device=device_of(device),
        listener=listener,
    ) as work:
        if replay is not None and "plan" not in work.run.data:
            work.run.update(plan=replay)
        if weights is not None:
            work.run.update(inception=weights)
        return main_job(work, names, skipped, clock)


def fit(
    data: Any,
    family: str,
    *,
    time: str | float | None = None,
    steps: int | None = None,
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
    device: str = "auto",
    start: Model | None = None,
    lora: int | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Model:
    """Train one family on the train part of some data.

    Args:
        data: Records, or whatever `load` reads.
        family: its name, or a chain such as "vae+diffusion".
        time: such as "60s"; or `steps`, not both. One minute if neither is given.
        steps: of training (or passes, of a counted family).
        preset: "xs", "s", "m" or "l"; None for the largest that the time allows.
        settings: changes to the family's Config, such as {"trunk.width": "64"}.
        seed: of everything.
        device: "auto", "cpu", "cuda" or "mps".
        start: a model of the same family that training goes on from; its codec and its settings
            are kept.
        lora: the rank of adapters to train in place of all its weights (Hu et al., 2021).
        listener: told of what happens.
        **options: of the data, see `load`.
    """
    begun = begun_from(start, lora)
    if begun is not None:
        options = begun.options(data, options)
    wishes = Wishes(
        time=time,
        steps=steps,
        preset=preset,
        settings=settings or {},
        seed=seed,
        device=device_of(device),
        start=begun,
    )
    prepared = wishes.prepare(load(data, **options))
    stages, _ = wishes.plan(prepared, family)
    heard = listener or Listener()
    model, outcomes = fit_stages(
        prepared,
        family,
        stages,
        seed=seed,
        device=wishes.device,
        watch=lambda progress: heard.progress(family, progress),
        start=begun,
    )
    for outcome in outcomes:
        for event in outcome.events:
            heard.note(f"{family}: {event}")
    return model


def begun_from(model: Model | None, lora: int | None) -> Start | None:
    """What a training goes on from, if from anything."""
    if model is None:
        if lora is not None:
            raise UsageError("lora needs a model to go on from; name it.")
        return None
    return Start(model, lora)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        verdict: "release", "hold" or "unknown", by the worst finding.
        findings: one for each rule.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]


def inception_file(path: str | Path | None, prepared: Prepared) -> str | None:
    """Where the user's Inception weights are, once they are known to fit; None for none."""
    if path is None:
        return None
    file = Path(path).expanduser().resolve()
    FeatureSet(prepared.space, {}).with_inception(file)
    return str(file)


def evaluate(
    model: Model,
    data: Any,
    *,
    seed: int = 0,
    inception: str | Path | None = None,
    **options: Any,
) -> dict[str, Score]:
    """Score a model against the held-out part of some data; {measure: Score}.

    Args:
        model: of any family.
        data: Records, or whatever `load` reads.
        seed: of samples and feature nets.
        inception: weights of the Inception network as safetensors, for `fd_inception`.
        **options: of the data, see `load`.
    """
    with _bench(model, data, seed, options) as work:
        work.run.update(inception=inception_file(inception, work.prepared))
        card = work.score(model.name, work.judges(work.features()))
    return {name: Score(**score) for name, score in card["scores"].items()}


def audit(
    model: Model, data: Any, *, words: Words | None = None, seed: int = 0, **options: Any
) -> Audit:
    """Judge whether what a model makes may be released, with evidence.

    Args:
        model: of any family.
        data: what it was trained on.
        words: of groups, such as {"women": ["she", "her"], "men": ["he", "him"]}: of texts the
            audit then looks at whether these are written of as often and as kindly as in real
            ones.
        seed: of samples, feature nets and controls.
        **options: of the data, see `load`.
    """
    if words is not None:
        _check_texts(type(model.domain))
    with _bench(model, data, seed, options) as work:
        _check_trained_on(model, work)
        if words is not None:
            work.run.update(words=checked(words))
        features = work.features()
        found = work.audit(model.name, features)
    findings = tuple(Finding(**finding) for finding in found["findings"])
    return Audit(found["verdict"], findings)


def keep_words(path: Path, file: Path) -> None:
    """Note in a run of texts whose balance all its audits look at from now on; see `audit`.

    Raises:
        UsageError: the run is not one of texts, or the words cannot be judged.
        StoreError: there is no run, or the file is no JSON.
    """
    words = words_file(file)
    _check_texts(registry.get("domains", Run.open(path).data["data"].get("domain", "")))
    with locked(path):
        Run.open(path).update(words=words)


def _check_texts(kind: type[Domain]) -> None:
    """Raise UsageError unless the records of a domain are texts."""
    if kind.texts is Domain.texts:
        raise UsageError(
            f"words of groups are looked for in texts, and these are {kind.name}. Leave them out."
        )


def report(path: str | Path, *, with_train: bool = False) -> Path:
    """Write the report of a run folder again; returns the HTML file."""
    from likewise.reporting import report as write

    folder = Run.open(Path(path)).path
    if not (folder / "leaderboard.json").exists():
        raise StoreError(
            f"{folder} has nothing to report yet: no leaderboard. Let its run come to its end, or "
            f"score what it has with: likewise evaluate {folder}"
        )
    with locked(folder):
        return write(folder, with_train=with_train)


def open(path: str | Path, name: str | None = None, *, device: str = "cpu") -> Model:
    """A saved model, or a model of a run folder (its best unless named)."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise StoreError(must("a model", "the folder of a run or of a saved model", str(path)))
    if (folder / "run.json").exists():
        return open_run(folder, name, device=device)
    return open_free(folder, device=device)


def open_free(folder: Path, *, device: str = "cpu") -> Model:
    """A saved model that is no control, or a checkpoint in the layout of Hugging Face."""
    from likewise.workbench.exchange import adopt, foreign

    if foreign(folder):
        model = adopt(folder)
        model.family.to(device)
        return model
    model = open_model(folder, device=device)
    if model.family.claims.role == "control":
        raise UsageError(
            f"{model.name} is a control and holds training records; it is not opened."
        )
    return model


def open_run(folder: Path, name: str | None = None, *, device: str = "cpu") -> Model:
    """A model of a run folder: the one named, or its best, or its only one."""
    from likewise.store.files import read_json

    run = Run.open(folder)
    done = [n for n in run.families() if kinds(n)[-1].claims.role == "model"]
    ranked = (folder / "leaderboard.json").exists()
    if name is None and ranked:
        name = read_json(folder / "leaderboard.json")["best"]
    if name is None and len(done) == 1:
        name = done[0]
    if name is None and not any(run.state(one) == "done" for one in done):
        states = ", ".join(f"{one} ({run.state(one)})" for one in done) or "none"
        raise UsageError(f"{folder} has no trained family yet; it has: {states}.")
    if name is None:
        why = "no family may be released, so none is best" if ranked else "it is not ranked yet"
        which = f"Name one of {', '.join(done)}: --family {done[0]}."
        raise UsageError(f"{folder} has several families, and {why}. {which}")
    if run.state(name) != "done" and not (folder / name / "config.json").exists():
        raise UsageError(
            must("family", f"one that {folder} has trained ({', '.join(done)})", name)
        )
    return open_free(folder / name, device=device)


def _check_trained_on(model: Model, work: Work) -> None:
    """Raise UsageError unless a model was trained on this data: copying is judged against it."""
    known, found = model.facts.get("data"), work.run.data["data"]["fingerprint"]
    if known != found:
        raise UsageError(
            f"{model.name} was trained on other data (fingerprint {str(known)[:8]}, here "
            f"{found[:8]}); an audit needs the data that it was trained on."
        )


@contextmanager
def _bench(model: Model, data: Any, seed: int, options: Mapping[str, Any]) -> Iterator[Work]:
    """A run folder, for a moment, that holds one model that is at hand."""
    prepared = Prepared.of(load(data, **options))
    with (
        TemporaryDirectory() as folder,
        opened(
            prepared,
            out=Path(folder) / "run",
            seed=seed,
            inputs={},
            command="",
            device="cpu",
            listener=Listener(),
        ) as work,
    ):
        plan = Plan(
            seconds=None,
            threads=torch.get_num_threads(),
            n=prepared.most_samples(),
            samples=prepared.audited(),
            features=FEATURE_STEPS,
            families={},
        )
        work.run.update(plan=plan_to_json(plan))
        model.write(work.run.folder(model.name))
        work.run.set_state(model.name, "done")
        yield work
